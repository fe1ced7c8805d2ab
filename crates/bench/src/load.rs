//! Clients that each send one request after the other, for a bounded time and number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::connection::{Call, Connection};
use crate::sample::{Sample, each};

/// How much load, and when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    /// At most so many requests.
    pub(crate) limit: usize,
    /// At most so long.
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) latencies: Sample,
    pub(crate) wall: Duration,
    /// The server's CPU, in all.
    pub(crate) cpu: Duration,
}

impl Measured {
    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn rate(&self) -> f64 {
        self.count() as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_each(&self) -> Option<Duration> {
        each(self.cpu, self.count())
    }
}

/// Sends what `make` makes of the numbers 0, 1, 2, .. until the load's end. Every answer must be a success.
pub(crate) async fn run<F>(cluster: &Cluster, load: Load, make: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Call + Send + Sync + 'static,
{
    let make = Arc::new(make);
    let next = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Barrier::new(load.clients + 1));
    let mut clients = JoinSet::new();
    for _ in 0..load.clients {
        let connection = cluster.connect().await?;
        clients.spawn(client(connection, load, gate.clone(), next.clone(), make.clone()));
    }
    let meter = cluster.meter()?;
    gate.wait().await;
    let begin = Instant::now();
    let mut latencies = Vec::new();
    while let Some(one) = clients.join_next().await {
        latencies.extend(one.context("a client broke")??);
    }
    Ok(Measured { wall: begin.elapsed(), cpu: meter.spent()?, latencies: Sample::new(latencies) })
}

async fn client<F>(
    mut connection: Connection,
    load: Load,
    gate: Arc<Barrier>,
    next: Arc<AtomicUsize>,
    make: Arc<F>,
) -> anyhow::Result<Vec<Duration>>
where
    F: Fn(usize) -> Call,
{
    let mut latencies = Vec::new();
    gate.wait().await;
    let end = Instant::now() + load.time;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.limit {
            return Ok(latencies);
        }
        let call = make(number);
        let begin = Instant::now();
        if begin > end {
            // Numbers given out are used, so that 0 to count - 1 are without a gap.
            connection.call(call).await?;
            return Ok(latencies.into_iter().chain([begin.elapsed()]).collect());
        }
        connection.call(call).await?;
        latencies.push(begin.elapsed());
    }
}
