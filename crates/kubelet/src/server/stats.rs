//! What containers and the node use: the summary API and the resource metrics that `kubectl top` is made from.
//!
//! Cores in use are the difference of two readings; the earlier one is remembered from the last request, since nobody reads
//! the figures while nobody asks.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use procfs::{Current, CurrentSI};
use serde_json::{Value, json};

use super::volume_stats::{self, VolumeUse};
use crate::handle::Handle;
use crate::runtime::Stats;

/// Remembers readings between requests.
#[derive(Default)]
pub(super) struct Readings {
    last: Mutex<HashMap<String, (Timestamp, u64)>>,
}

impl Readings {
    /// Billionths of a core in use since the last reading; remembers this one.
    fn rate(&self, id: &str, at: Timestamp, cpu: u64) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, used) = last.insert(id.to_owned(), (at, cpu))?;
        let nanoseconds =
            u128::try_from(at.duration_since(before).as_nanos()).ok().filter(|passed| *passed > 0)?;
        u64::try_from(u128::from(cpu.checked_sub(used)?) * 1_000_000_000 / nanoseconds).ok()
    }

    /// Forgets containers that are gone.
    fn keep(&self, stats: &[Stats]) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|id, _| id == NODE || stats.iter().any(|stats| stats.container == *id));
    }
}

/// The key of the node's own reading; no container has an empty id.
const NODE: &str = "";

struct NodeUse {
    at: Timestamp,
    cpu_nanoseconds: u64,
    memory_available: u64,
    memory_used: u64,
    memory_working_set: u64,
}

fn node_use(at: Timestamp) -> Option<NodeUse> {
    let cpu = procfs::KernelStats::current().ok()?.total;
    let ticks = cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0);
    let memory = procfs::Meminfo::current().ok()?;
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    Some(NodeUse {
        at,
        cpu_nanoseconds: ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1)),
        memory_available: available,
        memory_used: memory.mem_total.saturating_sub(memory.mem_free),
        memory_working_set: memory.mem_total.saturating_sub(available),
    })
}

fn label<'a>(stats: &'a Stats, name: &str) -> &'a str {
    stats.labels.get(&format!("io.kubernetes.pod.{name}")).map_or("", String::as_str)
}

fn by_pod(stats: &[Stats]) -> BTreeMap<(&str, &str, &str), Vec<&Stats>> {
    let mut pods: BTreeMap<_, Vec<&Stats>> = BTreeMap::new();
    for stats in stats {
        pods.entry((label(stats, "namespace"), label(stats, "name"), label(stats, "uid")))
            .or_default()
            .push(stats);
    }
    pods
}

/// `/stats/summary`.
pub(super) fn summary(
    handle: &Handle,
    stats: &[Stats],
    volumes: &[VolumeUse],
    readings: &Readings,
    now: Timestamp,
) -> Value {
    let mut pods = Vec::new();
    for ((namespace, name, uid), stats) in by_pod(stats) {
        let mut total_rate = Some(0_u64);
        let containers: Vec<Value> = stats
            .iter()
            .map(|stats| {
                let rate = readings.rate(&stats.container, stats.at, stats.cpu_nanoseconds);
                total_rate = total_rate.zip(rate).map(|(total, rate)| total + rate);
                json!({
                    "name": stats.name,
                    "cpu": cpu(stats.at, stats.cpu_nanoseconds, rate),
                    "memory": {
                        "time": stats.at, "usageBytes": stats.memory_usage, "rssBytes": stats.memory_rss,
                        "workingSetBytes": stats.memory_working_set, "pageFaults": stats.page_faults,
                        "majorPageFaults": stats.major_page_faults,
                    },
                    "rootfs": { "time": stats.at, "usedBytes": stats.writable_layer_bytes },
                })
            })
            .collect();
        let sum = |one: fn(&Stats) -> u64| stats.iter().map(|stats| one(stats)).sum::<u64>();
        let at = stats.iter().map(|stats| stats.at).max().unwrap_or(now);
        let started = handle
            .pod(namespace, name, Some(uid))
            .and_then(|view| view.pod.status.as_ref()?.start_time.clone());
        let mut told = json!({
            "podRef": { "name": name, "namespace": namespace, "uid": uid },
            "startTime": started,
            "containers": containers,
            "cpu": cpu(at, sum(|stats| stats.cpu_nanoseconds), total_rate),
            "memory": {
                "time": at, "usageBytes": sum(|stats| stats.memory_usage), "rssBytes": sum(|stats| stats.memory_rss),
                "workingSetBytes": sum(|stats| stats.memory_working_set),
            },
        });
        let volumes = volume_stats::of_pod(volumes, uid, now);
        if !volumes.is_empty() {
            told["volume"] = volumes.into();
        }
        pods.push(told);
    }
    readings.keep(stats);
    let mut node = json!({ "nodeName": handle.node_name() });
    if let Some(used) = node_use(now) {
        node["cpu"] = cpu(now, used.cpu_nanoseconds, readings.rate(NODE, now, used.cpu_nanoseconds));
        node["memory"] = json!({
            "time": now, "availableBytes": used.memory_available, "usageBytes": used.memory_used,
            "workingSetBytes": used.memory_working_set,
        });
    }
    json!({ "node": node, "pods": pods })
}

fn cpu(at: Timestamp, nanoseconds: u64, rate: Option<u64>) -> Value {
    let mut cpu = json!({ "time": at, "usageCoreNanoSeconds": nanoseconds });
    if let Some(rate) = rate {
        cpu["usageNanoCores"] = rate.into();
    }
    cpu
}

/// `/metrics/resource`, from which metrics-server computes what `kubectl top` shows.
pub(super) fn resource_metrics(stats: &[Stats], now: Timestamp) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, kind: &str, samples: &[(String, f64, Timestamp)]| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
        for (labels, value, at) in samples {
            let _infallible = writeln!(text, "{name}{labels} {value} {}", at.as_millisecond());
        }
    };
    let seconds = |nanoseconds: u64| std::time::Duration::from_nanos(nanoseconds).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
    let bytes = |bytes: u64| bytes as f64;
    let containers = |value: &dyn Fn(&Stats) -> f64| -> Vec<_> {
        let of = |stats: &Stats| {
            let (name, pod, namespace) = (&stats.name, label(stats, "name"), label(stats, "namespace"));
            let labels = format!("{{container=\"{name}\",namespace=\"{namespace}\",pod=\"{pod}\"}}");
            (labels, value(stats), stats.at)
        };
        stats.iter().map(of).collect()
    };
    let pods = |value: &dyn Fn(&Stats) -> f64| -> Vec<_> {
        let of = |((namespace, pod, _), stats): (_, Vec<&Stats>)| {
            let labels = format!("{{namespace=\"{namespace}\",pod=\"{pod}\"}}");
            let at = stats.iter().map(|stats| stats.at).max().unwrap_or(now);
            (labels, stats.iter().map(|stats| value(stats)).sum(), at)
        };
        by_pod(stats).into_iter().map(of).collect()
    };
    let cpu = |stats: &Stats| seconds(stats.cpu_nanoseconds);
    let memory = |stats: &Stats| bytes(stats.memory_working_set);
    let cpu_help = "in core-seconds";
    let memory_help = "in bytes";
    family(
        "container_cpu_usage_seconds_total",
        &format!("Cumulative cpu time consumed by the container {cpu_help}"),
        "counter",
        &containers(&cpu),
    );
    family(
        "container_memory_working_set_bytes",
        &format!("Current working set of the container {memory_help}"),
        "gauge",
        &containers(&memory),
    );
    if let Some(used) = node_use(now) {
        let one = |value| vec![(String::new(), value, used.at)];
        family(
            "node_cpu_usage_seconds_total",
            &format!("Cumulative cpu time consumed by the node {cpu_help}"),
            "counter",
            &one(seconds(used.cpu_nanoseconds)),
        );
        family(
            "node_memory_working_set_bytes",
            &format!("Current working set of the node {memory_help}"),
            "gauge",
            &one(bytes(used.memory_working_set)),
        );
    }
    family(
        "pod_cpu_usage_seconds_total",
        &format!("Cumulative cpu time consumed by the pod {cpu_help}"),
        "counter",
        &pods(&cpu),
    );
    family(
        "pod_memory_working_set_bytes",
        &format!("Current working set of the pod {memory_help}"),
        "gauge",
        &pods(&memory),
    );
    family(
        "scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        "gauge",
        &[(String::new(), 0.0, now)],
    );
    text
}
