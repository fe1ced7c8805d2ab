//! One write beside many watches of other objects, as each node keeps of its Secrets, its ConfigMaps and itself.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};

use super::Writer;
use crate::cluster::Cluster;
use crate::connection::Watch;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::report::{Figure, row};
use crate::sample::{Sample, each};

/// Measures with no watch and with many.
pub(super) async fn measure(lab: &Lab, cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<()> {
    let mut writer = Writer::make(cluster, namespace).await?;
    writes(lab, cluster, &mut writer, 0).await?;
    let full = 1_000;
    let open = |number: usize| async move {
        let name = format!("fieldSelector=metadata.name%3Dother-{number}");
        cluster.connect().await?.watch(&namespace.path(&format!("configmaps?watch=true&{name}"))).await
    };
    let count = lab.count(full, full / 20);
    let watches: Vec<Watch> = futures::stream::iter(0..count)
        .map(open)
        .buffer_unordered(16)
        .try_collect()
        .await
        .context("open a watch")?;
    let outcome = writes(lab, cluster, &mut writer, full).await;
    drop(watches);
    outcome
}

async fn writes(lab: &Lab, cluster: &Cluster, writer: &mut Writer, full: usize) -> anyhow::Result<()> {
    let count = lab.count(500, 20);
    let mut latencies = Vec::new();
    let meter = cluster.meter()?;
    for _ in 0..count {
        let (_, begin) = writer.write().await?;
        latencies.push(begin.elapsed());
    }
    let (cpu, sample) = (meter.spent()?, Sample::new(latencies));
    row(&Figure {
        median: sample.median(),
        p99: sample.percentile(99.0),
        cpu: each(cpu, count),
        ..Figure::new(format!("one write beside {full} watches of other objects"))
            .note(format!("{count} writes, one after the other"))
    });
    Ok(())
}
