//! Pods per second that the scheduler decides on, on one core and without a server: 10,000 pods onto 1,000 and 5,000
//! nodes, plain ones and such as look at each other.

use skiff_scheduler::bench::{Kind, place};

fn main() {
    let mut out = std::io::stdout();
    for (kind, nodes) in
        [(Kind::Plain, 1_000), (Kind::Plain, 5_000), (Kind::Sociable, 1_000), (Kind::Sociable, 5_000)]
    {
        let pods = 10_000;
        let mut rates: Vec<f64> =
            (0..5).map(|_| f64::from(pods) / place(kind, nodes, 10_000).as_secs_f64()).collect();
        rates.sort_by(f64::total_cmp);
        let line = format!(
            "{pods} {kind:?} pods on {nodes} nodes: median {:.0} pods/s (least {:.0}, most {:.0})\n",
            rates[2], rates[0], rates[4]
        );
        // A closed pipe ends the benchmark's only purpose.
        let _closed = std::io::Write::write_all(&mut out, line.as_bytes());
    }
}
