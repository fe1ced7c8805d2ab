//! What a durable write costs: alone, among many, and with a thousand watchers.
//!
//! A plain program: `cargo bench -p skiff-store`. It prints one short table, of medians over several runs.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]
#![allow(missing_docs, reason = "a program")]

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use skiff_store::{Disk, Engine, Expect, Key, Memory, Options, Store, Value, Write};
use tokio::{sync::mpsc, task::JoinSet};

struct Blob(Bytes);

impl Value for Blob {
    fn bytes(&self) -> &Bytes {
        &self.0
    }

    fn load(_: &Key, _: u64, bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(bytes))
    }
}

const SIZE: usize = 1500;
const RUNS: usize = 3;
const TIME: Duration = Duration::from_secs(2);

/// Creates, as `POST` of new objects would, from this many clients for a while: writes a second, latencies.
async fn creates(store: &Store<Blob>, clients: usize) -> (f64, Vec<Duration>) {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let store = store.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while begin.elapsed() < TIME {
                let key =
                    Key::new("pods", format!("default/{}-{client}-{}", store.revision(), latencies.len()));
                let one = Instant::now();
                let blob = Bytes::from(vec![b'x'; SIZE]);
                store.write(Write::put(key, Expect::Absent, |_| Blob(blob))).await.unwrap();
                latencies.push(one.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    latencies.sort_unstable();
    (latencies.len() as f64 / begin.elapsed().as_secs_f64(), latencies)
}

async fn rates(name: &str, open: impl Fn() -> Store<Blob>) {
    for clients in [1, 16, 64] {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let store = open();
            runs.push(creates(&store, clients).await);
            store.close().await.unwrap();
        }
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, latencies) = &runs[RUNS / 2];
        let at = |share: usize| latencies[latencies.len() * share / 1000].as_secs_f64() * 1e3;
        println!("{name:<8} {clients:>7} {rate:>10.0} {:>8.2} {:>8.2}", at(500), at(990));
    }
}

/// One write at a time, each seen by all watchers before the next: until acknowledged, until all have it, and
/// the CPU of the whole process, in microseconds.
async fn watched(store: &Store<Blob>, watchers: usize, writes: usize) -> (f64, f64, f64) {
    let (saw, mut seen) = mpsc::channel(watchers.max(1));
    let mut tasks = JoinSet::new();
    for _ in 0..watchers {
        let (mut watch, saw) = (store.watch("pods", store.revision()).unwrap(), saw.clone());
        tasks.spawn(async move {
            while let Some(Ok(event)) = watch.next().await {
                let _ = saw.send(event.revision).await;
            }
        });
    }
    let (mut acknowledged, mut everywhere) = (Vec::new(), Vec::new());
    let cpu = cpu();
    for _ in 0..writes {
        let begin = Instant::now();
        let blob = Bytes::from(vec![b'x'; SIZE]);
        let write = Write::put(Key::new("pods", "default/one"), Expect::Any, |_| Blob(blob));
        store.write(write).await.unwrap();
        acknowledged.push(begin.elapsed());
        for _ in 0..watchers {
            seen.recv().await.unwrap();
        }
        everywhere.push(begin.elapsed());
    }
    let spent = (self::cpu() - cpu) / writes as f64 * 1e6;
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    (median(&mut acknowledged), median(&mut everywhere), spent)
}

/// Seconds of CPU this process has used; the kernel counts them in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

fn store(engine: impl Engine) -> Store<Blob> {
    Store::open(engine, Options::default()).unwrap()
}

fn fresh(path: &Path) -> Disk {
    let _ = std::fs::remove_file(path);
    Disk::open(path).unwrap()
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or("/var/tmp".into())).unwrap();
    let file = directory.path().join("store");
    opening(&file).await;
    println!("\ncreates of {SIZE} bytes, each durable; median of {RUNS} runs of {} s", TIME.as_secs());
    println!("engine   clients   writes/s   p50 ms   p99 ms");
    rates("redb", || store(fresh(&file))).await;
    rates("memory", || store(Memory::default())).await;

    println!("\none write, microseconds (median)");
    println!("engine   watchers   acknowledged   seen by all   CPU");
    for watchers in [0, 1, 1000] {
        let (acknowledged, everywhere, spent) = watched(&store(fresh(&file)), watchers, 400).await;
        println!("redb     {watchers:>8} {acknowledged:>14.0} {everywhere:>13.0} {spent:>5.0}");
        let (acknowledged, everywhere, spent) = watched(&store(Memory::default()), watchers, 2000).await;
        println!("memory   {watchers:>8} {acknowledged:>14.0} {everywhere:>13.0} {spent:>5.0}");
    }
}

/// A file of 10,000 objects: how long to open, how much memory.
async fn opening(file: &Path) {
    let full = store(fresh(file));
    let mut tasks = JoinSet::new();
    for n in 0..10_000 {
        let full = full.clone();
        tasks.spawn(async move {
            let key = Key::new("pods", format!("default/pod-{n}"));
            let blob = Bytes::from(vec![b'x'; SIZE]);
            full.write(Write::put(key, Expect::Absent, |_| Blob(blob))).await.unwrap();
        });
    }
    tasks.join_all().await;
    full.close().await.unwrap();
    drop(full);
    let size = std::fs::metadata(file).unwrap().len() >> 10;
    let (before, begin) = (resident(), Instant::now());
    let full = store(Disk::open(file).unwrap());
    let (took, after) = (begin.elapsed().as_secs_f64() * 1e3, resident());
    let many = full.snapshot("pods").objects.len();
    println!("opening {many} objects: {took:.1} ms, file {size} KiB, resident {before} to {after} KiB");
    let begin = Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(full.snapshot("pods"));
    }
    println!("a snapshot: {:.0} ns", begin.elapsed().as_secs_f64() * 1e3);
}
