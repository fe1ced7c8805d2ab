//! One write to many watchers: when the last of them has it, and what an event costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{FutureExt, StreamExt, TryStreamExt};
use http::Method;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::{Call, Connection, Form, Watch};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::objects::{self, Template, Update};
use crate::procs;
use crate::report::{Figure, duration, mebibytes, row};
use crate::sample::{Sample, each};

mod beside;

pub(crate) const SCENARIO: Row = Row {
    name: "watch",
    about: "one write of 1 KiB to 100 and 1,000 watchers, as Go clients read it too, and beside 1,000 of other objects",
    run: |lab| run(lab).boxed_local(),
};

/// Between two paced writes, after the last watcher had the first.
const PACE: Duration = Duration::from_millis(20);
/// The annotation that numbers the writes, as it stands in an event.
const MARKER: &[u8] = b"bench.skiff.dev/revision";
const PATIENCE: Duration = Duration::from_secs(60);

/// Which write an event told of, and when it was there.
type Seen = (usize, Instant);

async fn run(lab: &Lab) -> anyhow::Result<()> {
    for (full, form) in [(100, Form::Json), (1_000, Form::Json), (1_000, Form::Protobuf)] {
        // A cluster each, so that the memory of 100 watchers is not that of 1,000.
        let cluster = lab.cluster(Role::Server).await?;
        let namespace = Namespace::make(&cluster).await?;
        let outcome = measure(lab, &cluster, &namespace, (full, form)).await;
        outcome.and(namespace.remove(&cluster).await)?;
    }
    let cluster = lab.cluster(Role::Server).await?;
    let namespace = Namespace::make(&cluster).await?;
    let outcome = beside::measure(lab, &cluster, &namespace).await;
    outcome.and(namespace.remove(&cluster).await)
}

async fn measure(
    lab: &Lab,
    cluster: &Cluster,
    namespace: &Namespace,
    (full, form): (usize, Form),
) -> anyhow::Result<()> {
    let watched = match form {
        Form::Json => format!("{full} watchers"),
        Form::Protobuf => format!("{full} watchers in protobuf"),
    };
    let count = lab.count(full, full / 20);
    let mut writer = Writer::make(cluster, namespace).await?;
    let before = procs::memory(&cluster.pids)?;
    let mut watchers = Watchers::open(cluster, namespace, &writer.version, (count, form)).await?;
    let memory = procs::memory(&cluster.pids)?;
    let each_watch = memory.resident.saturating_sub(before.resident) / count.max(1) as u64;
    row(&Figure::new(format!("resident memory with {watched}")).note(format!(
        "{}, {:.1} KiB a watcher",
        mebibytes(memory.resident),
        each_watch as f64 / 1024.0
    )));

    let writes = lab.count(100, 5);
    let mut events = Vec::new();
    let mut lasts = Vec::new();
    let meter = cluster.meter()?;
    for _ in 0..writes {
        let (number, begin) = writer.write().await?;
        let seen = watchers.all_have(number..number + 1).await?;
        let latencies: Sample = seen.iter().map(|(_, at)| at.saturating_duration_since(begin)).collect();
        lasts.extend(latencies.max());
        events.extend(seen.iter().map(|(_, at)| at.saturating_duration_since(begin)));
        tokio::time::sleep(PACE).await;
    }
    let (cpu, lasts) = (meter.spent()?, Sample::new(lasts));
    tell(&format!("one write to {watched}, paced, each event"), events, cpu, String::new());
    row(&Figure {
        median: lasts.median(),
        p99: lasts.percentile(99.0),
        cpu: each(cpu, writes),
        ..Figure::new(format!("one write to {watched}, until all have it")).note(format!("{writes} writes"))
    });

    let meter = cluster.meter()?;
    let begin = Instant::now();
    let mut begins = BTreeMap::new();
    for _ in 0..writes {
        let (number, begin) = writer.write().await?;
        begins.insert(number, begin);
    }
    let (first, last) = (writer.number + 1 - writes, writer.number + 1);
    let seen = watchers.all_have(first..last).await?;
    let wall = begin.elapsed();
    let late = |(number, at): &Seen| Some(at.saturating_duration_since(*begins.get(number)?));
    let note = format!("{writes} writes, all had by all after {}", duration(wall));
    tell(
        &format!("writes to {watched}, burst, each event"),
        seen.iter().filter_map(late).collect(),
        meter.spent()?,
        note,
    );
    Ok(())
}

fn tell(name: &str, latencies: Vec<Duration>, cpu: Duration, note: String) {
    let sample = Sample::new(latencies);
    let cpu = each(cpu, sample.len());
    row(&Figure {
        median: sample.median(),
        p99: sample.percentile(99.0),
        cpu,
        ..Figure::new(name).note(note)
    });
}

/// Changes one ConfigMap again and again.
struct Writer {
    connection: Connection,
    path: String,
    update: Update,
    /// Of the last write.
    number: usize,
    /// The revision before the first write.
    version: String,
}

impl Writer {
    async fn make(cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<Self> {
        let mut connection = cluster.connect().await?;
        let name = objects::name(0, 0);
        let post =
            Call::new(Method::POST, namespace.path("configmaps")).body(Template::config_map().named(&name));
        let stored = connection.call(post).await?;
        let object: serde_json::Value = serde_json::from_slice(&stored).context("read the ConfigMap")?;
        let version =
            object["metadata"]["resourceVersion"].as_str().context("it has no revision")?.to_owned();
        let path = namespace.path(&format!("configmaps/{name}"));
        Ok(Self { connection, path, update: Update::of(&stored)?, number: 0, version })
    }

    /// Writes; the write's number and when it began.
    async fn write(&mut self) -> anyhow::Result<(usize, Instant)> {
        self.number += 1;
        let call = Call::new(Method::PUT, self.path.clone()).body(self.update.body(self.number));
        let begin = Instant::now();
        self.connection.call(call).await?;
        Ok((self.number, begin))
    }
}

/// Opens watches, a connection each.
async fn open(
    cluster: &Cluster,
    form: Form,
    paths: impl Iterator<Item = String>,
) -> anyhow::Result<Vec<Watch>> {
    let open = |path: String| async move { cluster.connect().await?.watch_in(form, &path).await };
    let opened = futures::stream::iter(paths).map(open).buffer_unordered(16);
    opened.try_collect().await.context("open a watch")
}

/// Many watches of the same namespace, a connection each.
struct Watchers {
    count: usize,
    seen: mpsc::UnboundedReceiver<Seen>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Watchers {
    async fn open(
        cluster: &Cluster,
        namespace: &Namespace,
        version: &str,
        (count, form): (usize, Form),
    ) -> anyhow::Result<Self> {
        let path = namespace.path(&format!("configmaps?watch=true&resourceVersion={version}"));
        let watches = open(cluster, form, std::iter::repeat_n(path, count)).await?;
        // Bounded by what is written: a few hundred events for each watcher.
        let (sender, seen) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for watch in watches {
            tasks.spawn(follow(watch, sender.clone()));
        }
        Ok(Self { count, seen, tasks })
    }

    /// Waits until every watcher had each of these writes.
    async fn all_have(&mut self, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<Seen>> {
        let wanted = self.count * numbers.len();
        let mut all = Vec::with_capacity(wanted);
        let collect = async {
            while all.len() < wanted {
                tokio::select! {
                    seen = self.seen.recv() => {
                        let seen = seen.context("all watchers ended")?;
                        ensure!(numbers.contains(&seen.0), "write {} was seen among {numbers:?}", seen.0);
                        all.push(seen);
                    }
                    Some(ended) = self.tasks.join_next() => ended.context("a watcher broke")??,
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, collect).await.context("not every watcher had it in time")??;
        Ok(all)
    }
}

async fn follow(mut watch: Watch, to: mpsc::UnboundedSender<Seen>) -> anyhow::Result<()> {
    loop {
        let line = watch.next().await?;
        let at = Instant::now();
        // The namespace's other events have no number.
        if let Some(number) = number(&line)
            && number > 0
            && to.send((number, at)).is_err()
        {
            return Ok(());
        }
    }
}

/// The number of the write that an event tells of: the ten digits that follow the annotation's name, after a few bytes that
/// the form has between them.
fn number(event: &[u8]) -> Option<usize> {
    let start = event.windows(MARKER.len()).position(|window| window == MARKER)? + MARKER.len();
    let digits = event.get(start..)?.iter().position(u8::is_ascii_digit)? + start;
    std::str::from_utf8(event.get(digits..digits + 10)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_its_write() {
        let stored = Template::config_map().named(&objects::name(0, 0));
        let update = Update::of(&stored).unwrap();
        let event = [b"{\"type\":\"MODIFIED\",\"object\":", update.body(42).as_ref(), b"}\n"].concat();
        assert_eq!(number(&event), Some(42));
        assert_eq!(number(b"\0\0\0\x2ak8s\0bench.skiff.dev/revision\x12\x0a0000000042"), Some(42));
        assert_eq!(number(b"{\"type\":\"ADDED\"}\n"), None);
    }
}
