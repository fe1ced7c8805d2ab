//! A hundred definitions of custom resources with schemas as operators have them: how long until each is served, what they
//! cost in memory, and what reading the documents about all of them costs.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use http::Method;
use serde_json::{Value, json};

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::{Call, Connection};
use crate::lab::Lab;
use crate::procs;
use crate::report::{Figure, duration, mebibytes, row};
use crate::sample::{Sample, each};

pub(crate) const SCENARIO: Row = Row {
    name: "crds",
    about: "100 custom resource definitions: time until served, memory, discovery and OpenAPI",
    run: |lab| run(lab).boxed_local(),
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// The group of what is defined here, and of nothing else.
const GROUP: &str = "bench.skiff.dev";
/// Discovery of everything in one document.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// How long a definition may take until it is served.
const PATIENCE: Duration = Duration::from_secs(60);

async fn run(lab: &Lab) -> anyhow::Result<()> {
    let cluster = lab.cluster(Role::Server).await?;
    let count = lab.count(100, 5);
    let outcome = measure(&cluster, count).await;
    // Also after a failure; the failure is what is told.
    let cleaned = clear(&cluster, count).await;
    outcome.and(cleaned)
}

fn plural(number: usize) -> String {
    format!("benches{number}")
}

/// A definition with a schema of some two hundred fields, a status, columns and a rule.
fn definition(number: usize) -> Value {
    let text = |length: usize| json!({ "type": "string", "maxLength": length, "description": "Says what this is for." });
    let fields = |count: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|field| (format!("field{field}"), text(64 + field))).collect()
    };
    let item = json!({ "type": "object", "required": ["name"], "properties": {
        "name": text(63), "options": { "type": "object", "properties": fields(20) },
    } });
    let part = json!({ "type": "object", "properties": fields(40) });
    let spec = json!({
        "type": "object",
        "properties": {
            "replicas": { "type": "integer", "minimum": 0, "default": 1 },
            "parts": { "type": "object", "properties": { "a": part, "b": part, "c": part } },
            "items": {
                "type": "array", "maxItems": 100, "items": item, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
        "x-kubernetes-validations": [{ "rule": "self.replicas <= 100", "message": "too many" }],
    });
    let status = json!({ "type": "object", "properties": fields(20) });
    let kind = format!("Bench{number}");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{GROUP}", plural(number)) },
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": { "plural": plural(number), "singular": kind.to_lowercase(), "kind": kind },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas" },
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": spec, "status": status },
                } },
            }],
        },
    })
}

async fn measure(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let mut connection = cluster.connect().await?;
    // What is made once and kept is no cost of what is defined here.
    documents(&mut connection).await?;
    let before = procs::memory(&cluster.pids)?;
    let meter = cluster.meter()?;
    let begin = Instant::now();
    let mut walls = Vec::new();
    for number in 0..count {
        let one = Instant::now();
        let body = serde_json::to_vec(&definition(number)).context("encode a definition")?;
        connection.call(Call::new(Method::POST, DEFINITIONS).body(body)).await?;
        served(&mut connection, number).await?;
        walls.push(one.elapsed());
    }
    let (cpu, whole) = (each(meter.spent()?, count), begin.elapsed());
    let sample = Sample::new(walls);
    row(&Figure {
        median: sample.median(),
        p99: sample.percentile(99.0),
        cpu,
        ..Figure::new("CRD created until its first list is answered")
            .note(format!("{count} of them, one after the other, in {}", duration(whole)))
    });
    let after = procs::memory(&cluster.pids)?;
    grown(&format!("resident memory for {count} CRDs"), before.resident, after.resident, count);

    let meter = cluster.meter()?;
    let begin = Instant::now();
    let bytes = documents(&mut connection).await?;
    row(&Figure {
        median: Some(begin.elapsed()),
        cpu: Some(meter.spent()?),
        ..Figure::new("discovery and OpenAPI of all, first time").note(mebibytes(bytes))
    });
    let after = procs::memory(&cluster.pids)?;
    grown(
        &format!("resident memory for {count} CRDs, documents read"),
        before.resident,
        after.resident,
        count,
    );
    Ok(())
}

fn grown(name: &str, before: u64, after: u64, count: usize) {
    let more = after.saturating_sub(before);
    let each = more / count.max(1) as u64 / 1024;
    row(&Figure::new(name).note(format!("{} more than before, {each} KiB each", mebibytes(more))));
}

/// Asks until a kind is served: what a client that has just defined it does. There is no signal to wait for that says more
/// than the answer itself.
async fn served(connection: &mut Connection, number: usize) -> anyhow::Result<()> {
    let path = format!("/apis/{GROUP}/v1/{}", plural(number));
    let end = Instant::now() + PATIENCE;
    loop {
        let (status, _) = connection.answer(Call::get(path.clone())).await?;
        if status.is_success() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{path} is not served: {status}");
    }
}

/// Reads what kubectl and controllers read at their start; how many bytes that is.
async fn documents(connection: &mut Connection) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for path in ["/apis", "/openapi/v2", "/openapi/v3"] {
        let accept = if path == "/apis" { DISCOVERY } else { "application/json" };
        bytes += connection.drain(Call::get(path).header("accept", accept)).await?.bytes as u64;
    }
    let group = format!("/openapi/v3/apis/{GROUP}/v1");
    let (status, body) = connection.answer(Call::get(group)).await?;
    // Before there is anything in the group there is no document either.
    Ok(if status.is_success() { bytes + body.len() as u64 } else { bytes })
}

async fn clear(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let mut connection = cluster.connect().await?;
    for number in 0..count {
        let path = format!("{DEFINITIONS}/{}.{GROUP}", plural(number));
        let (status, _) = connection.answer(Call::new(Method::DELETE, path.clone())).await?;
        ensure!(status.is_success() || status.as_u16() == 404, "delete {path}: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_as_large_as_those_of_operators() {
        let size = serde_json::to_vec(&definition(7)).unwrap().len();
        assert!((10_000..100_000).contains(&size), "{size}");
    }
}
