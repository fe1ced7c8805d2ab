//! Pods per second that the scheduler decides on: 10,000 plain pods, 1,000 nodes, no server.

fn main() {
    let (nodes, pods) = (1_000, 10_000);
    let mut rates: Vec<f64> = (0..5)
        .map(|_| f64::from(pods) / skiff_scheduler::bench::place(nodes, 10_000).as_secs_f64())
        .collect();
    rates.sort_by(f64::total_cmp);
    let mut out = std::io::stdout();
    let line = format!(
        "{pods} pods on {nodes} nodes: median {:.0} pods/s (least {:.0}, most {:.0})\n",
        rates[2], rates[0], rates[4]
    );
    // A closed pipe ends the benchmark's only purpose.
    let _closed = std::io::Write::write_all(&mut out, line.as_bytes());
}
