//! Lists of many pods: whole, in pages, by label, as a table, compressed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use http::Method;

use super::Row;
use crate::cluster::Cluster;
use crate::connection::{Call, Connection};
use crate::lab::Lab;
use crate::load::{self, Load};
use crate::namespace::Namespace;
use crate::objects::{self, Template};
use crate::procs;
use crate::report::{Figure, mebibytes, row};
use crate::sample::{Sample, each};

pub(crate) const SCENARIO: Row =
    Row { name: "lists", about: "lists of 1,000, 10,000 and 30,000 pods", run: |lab| run(lab).boxed_local() };

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// A list is repeated at most so often.
const REPEATS: usize = 60;

async fn run(lab: &Lab) -> anyhow::Result<()> {
    super::on_nowhere(lab, async |cluster, namespace| measure(lab, cluster, namespace).await).await
}

async fn measure(lab: &Lab, cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<()> {
    let path = namespace.path("pods");
    let mut there = 0;
    for full in [1_000, 10_000, 30_000] {
        let count = lab.count(full, full / 50);
        fill(cluster, &path, there, count).await?;
        there = count;
        let memory = procs::memory(&cluster.pids)?;
        row(&Figure::new(format!("resident memory with {full} pods")).note(mebibytes(memory.resident)));
        let lists = Lists { cluster, path: &path, time: lab.time() };
        lists.both(&format!("LIST {full} pods"), "", "application/json").await?;
        lists.both(&format!("LIST {full} pods as Table"), "", TABLE).await?;
        let get = Call::get(format!("{path}?resourceVersion=0")).header("accept-encoding", "gzip");
        lists.one(&format!("LIST {full} pods, cached, gzip"), get).await?;
        lists.pages(&format!("LIST {full} pods in pages of 500")).await?;
        lists
            .both(
                &format!("LIST 1 % of {full} pods by label"),
                "labelSelector=share%3Done",
                "application/json",
            )
            .await?;
        let memory = procs::memory(&cluster.pids)?;
        row(&Figure::new(format!("resident memory after lists of {full} pods"))
            .note(mebibytes(memory.resident)));
    }
    Ok(())
}

/// Makes pods until there are `count`.
async fn fill(cluster: &Cluster, path: &str, there: usize, count: usize) -> anyhow::Result<()> {
    let (one, rest, path) = (Template::pod("one"), Template::pod("rest"), path.to_owned());
    let load = Load { clients: 32, limit: count - there, time: Duration::from_secs(300) };
    let made = load::run(cluster, load, move |number| {
        let template = if number % 100 == 0 { &one } else { &rest };
        Call::new(Method::POST, path.clone()).body(template.named(&objects::name(0, there + number)))
    });
    let made = made.await.context("make the pods")?.count();
    ensure!(made == count - there, "only {made} pods could be made in time");
    Ok(())
}

/// How one collection is listed.
struct Lists<'a> {
    cluster: &'a Cluster,
    path: &'a str,
    time: Duration,
}

impl Lists<'_> {
    /// From the cache and consistently.
    async fn both(&self, name: &str, query: &str, accept: &'static str) -> anyhow::Result<()> {
        for (how, more) in [("cached", "resourceVersion=0&"), ("consistent", "")] {
            let call = Call::get(format!("{}?{more}{query}", self.path)).header("accept", accept);
            self.one(&format!("{name}, {how}"), call).await?;
        }
        Ok(())
    }

    async fn one(&self, name: &str, call: Call) -> anyhow::Result<()> {
        let mut note = String::new();
        self.repeat(name, &mut note, async |connection, note| {
            let list = connection.drain(call.clone()).await?;
            let encoding = list.encoding.map(|encoding| format!(", {encoding}")).unwrap_or_default();
            *note = format!("{}{encoding}", mebibytes(list.bytes as u64));
            Ok(())
        })
        .await
    }

    async fn pages(&self, name: &str) -> anyhow::Result<()> {
        let mut note = String::new();
        self.repeat(name, &mut note, async |connection, note| {
            let (mut pages, mut bytes, mut next) = (0, 0, String::new());
            loop {
                let page = connection.drain(Call::get(format!("{}?limit=500{next}", self.path))).await?;
                pages += 1;
                bytes += page.bytes as u64;
                match page.field("continue") {
                    // Tokens are base64, of which `=` and `+` mean something in a query.
                    Some(token) => {
                        next = format!("&continue={}", token.replace('+', "%2B").replace('=', "%3D"));
                    }
                    None => break,
                }
                ensure!(pages < 1_000, "the pages do not end");
            }
            *note = format!("{}, {pages} pages", mebibytes(bytes));
            Ok(())
        })
        .await
    }

    async fn repeat(
        &self,
        name: &str,
        note: &mut String,
        mut list: impl AsyncFnMut(&mut Connection, &mut String) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut connection = self.cluster.connect().await?;
        list(&mut connection, note).await.with_context(|| name.to_owned())?;
        let meter = self.cluster.meter()?;
        let mut walls = Vec::new();
        let begin = Instant::now();
        while walls.len() < REPEATS && (walls.len() < 3 || begin.elapsed() < self.time) {
            let one = Instant::now();
            list(&mut connection, note).await.with_context(|| name.to_owned())?;
            walls.push(one.elapsed());
        }
        let cpu = each(meter.spent()?, walls.len());
        let sample = Sample::new(walls);
        let note = format!("{note}, {} times", sample.len());
        row(&Figure {
            median: sample.median(),
            p99: sample.percentile(99.0),
            cpu,
            ..Figure::new(name).note(note)
        });
        Ok(())
    }
}
