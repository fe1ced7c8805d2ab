//! What upstream Kubernetes 1.20 with etcd 3.4 needs for the same work, measured on this kind of machine (2 cores,
//! November 2026), and the part of it that Skiff aims at. Server CPU compares across runs; wall times hardly do.

/// One figure of upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Rate or latency, as a text.
    pub(crate) wall: &'static str,
    /// Server CPU for one operation, in milliseconds.
    pub(crate) cpu: Option<f64>,
    /// Ours should be at most one such part of it.
    pub(crate) aim: Option<f64>,
}

const fn row(name: &'static str, wall: &'static str, cpu: f64, aim: f64) -> Row {
    Row { name, wall, cpu: Some(cpu), aim: Some(aim) }
}

const fn wall(name: &'static str, wall: &'static str) -> Row {
    Row { name, wall, cpu: None, aim: None }
}

const ROWS: &[Row] = &[
    row("create ConfigMap, 1 client", "412 per s, p50 2.2 ms", 3.0, 10.0),
    row("create ConfigMap, 16 clients", "987 per s, p50 13 ms", 1.6, 10.0),
    row("create ConfigMap, 64 clients", "1,183 per s, p50 48 ms", 1.5, 10.0),
    row("create pod, 1 client", "260 per s, p50 3.4 ms", 5.1, 10.0),
    row("create pod, 16 clients", "478 per s, p50 29 ms", 3.4, 10.0),
    row("create pod, 64 clients", "629 per s, p50 91 ms", 3.0, 10.0),
    row("deletecollection of ConfigMaps, each", "525 per s", 2.6, 20.0),
    row("deletecollection of pods, each", "257 per s", 6.0, 20.0),
    row("GET ConfigMap, 1 client", "1,244 per s", 0.99, 10.0),
    row("GET ConfigMap, 16 clients", "2,346 per s", 0.67, 10.0),
    row("GET ConfigMap, 64 clients", "2,787 per s", 0.61, 10.0),
    row("GET pod, 1 client", "865 per s", 1.4, 10.0),
    row("GET pod, 16 clients", "2,181 per s", 0.75, 10.0),
    row("GET pod, 64 clients", "2,608 per s", 0.63, 10.0),
    row("PUT pod, 1 client", "246 per s", 5.5, 10.0),
    row("PUT pod, 16 clients", "660 per s", 2.7, 10.0),
    row("PUT pod, 64 clients", "634 per s", 2.9, 10.0),
    row("PATCH (merge) pod, 1 client", "142 per s (busy)", 7.0, 10.0),
    row("PATCH (merge) pod, 16 clients", "190 per s (busy)", 4.9, 10.0),
    row("PATCH (merge) pod, 64 clients", "324 per s (busy)", 3.3, 10.0),
    row("LIST 1000 pods, cached", "53 ms", 49.0, 30.0),
    row("LIST 1000 pods, consistent", "106 ms", 157.0, 30.0),
    row("LIST 10000 pods, cached", "0.79 s", 910.0, 30.0),
    row("LIST 10000 pods, consistent", "1.04 s", 1_250.0, 30.0),
    row("LIST 10000 pods as Table, cached", "0.56 s", 700.0, 10.0),
    row("LIST 10000 pods as Table, consistent", "1.28 s", 1_370.0, 10.0),
    row("LIST 30000 pods, cached", "3.7 s", 4_200.0, 30.0),
    row("LIST 30000 pods, consistent", "2.9 s", 3_500.0, 30.0),
    row("LIST 30000 pods, cached, gzip", "2.3 s", 2_400.0, 5.0),
    row("LIST 30000 pods in pages of 500", "4.4 s", 5_200.0, 30.0),
    row("LIST 1 % of 30000 pods by label, cached", "80 ms", 84.0, 10.0),
    row("LIST 1 % of 30000 pods by label, consistent", "2.6 s", 2_700.0, 100.0),
    row("one write to 100 watchers, paced, each event", "p50 17 ms", 0.17, 10.0),
    row("one write to 1000 watchers, paced, each event", "p50 69 ms", 0.09, 10.0),
    row("writes to 1000 watchers, burst, each event", "p50 580 ms", 0.09, 10.0),
    row("1000 pods onto 100 nodes, POST to bound", "117 per s, p50 0.4 s", 8.3, 10.0),
    row("5000 pods onto 1000 nodes, POST to bound", "66 per s, p50 2.5 s", 13.0, 20.0),
    row("one RC of 1000 replicas, to all bound", "5.1 s", 7.5, 10.0),
    wall("start of the server to /readyz, empty directory", "6.2 s"),
    wall("start of the server to /readyz, again", "5.0 s"),
    wall("resident memory, idle", "492 MiB (4 processes)"),
    wall("resident memory with 10000 pods", "1.7 GiB (2.5 GiB after lists)"),
    wall("resident memory with 30000 pods", "3.5 GiB (5.9 GiB after lists)"),
    Row {
        name: "POST of a pod to Running, one by one",
        wall: "p50 1.0 s, max 3.0 s (busy)",
        cpu: Some(285.0),
        aim: None,
    },
    Row { name: "POST of 30 pods at once to Running", wall: "p50 11.7 s", cpu: Some(234.0), aim: None },
    Row { name: "DELETE with grace 1 s to gone", wall: "p50 10 s", cpu: Some(1_547.0), aim: None },
    Row { name: "exec of `true` through the API", wall: "p50 77 ms (busy)", cpu: Some(36.0), aim: None },
];

/// Upstream's figure of that name.
pub(crate) fn of(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_stands_once() {
        for (place, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[place + 1..].iter().all(|other| other.name != row.name),
                "{} stands twice",
                row.name
            );
        }
    }
}
