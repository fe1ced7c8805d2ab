//! One write beside many watches of other objects, as each node keeps of its Secrets, its ConfigMaps and itself.

use super::Writer;
use crate::cluster::Cluster;
use crate::connection::Form;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::report::{Figure, row};
use crate::sample::{Sample, each};

/// Measures with no watch and with many.
pub(super) async fn measure(lab: &Lab, cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<()> {
    let mut writer = Writer::make(cluster, namespace).await?;
    writes(lab, cluster, &mut writer, 0).await?;
    let full = 1_000;
    let count = lab.count(full, full / 20);
    let path = |number| {
        namespace.path(&format!("configmaps?watch=true&fieldSelector=metadata.name%3Dother-{number}"))
    };
    let watches = super::open(cluster, Form::Json, (0..count).map(path)).await?;
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
