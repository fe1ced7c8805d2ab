//! How much of their volumes pods use, as drivers and file systems tell: part of the summary, and metrics by claim.
//!
//! Drivers are asked when somebody asks for the figures, all at once, and none is waited for long.

use std::collections::BTreeMap;
use std::fmt::Write;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_api::volume::claim_name;

use crate::handle::Handle;
use crate::volume::Usage;

/// A volume of a pod.
#[derive(Debug)]
pub(super) struct VolumeUse {
    /// Of the pod that has it.
    uid: String,
    namespace: String,
    name: String,
    /// The claim it is behind.
    claim: Option<String>,
    usage: Usage,
}

/// All volumes here whose use is known.
pub(super) async fn all(handle: &Handle) -> Vec<VolumeUse> {
    let mut asked = Vec::new();
    for view in handle.pods() {
        for volume in view.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let Some(mounts) = view.mounts.clone() else { continue };
            let (pod, volume) = (view.pod.clone(), volume.clone());
            asked.push(async move {
                let usage = mounts.usage(&volume.name).await?;
                let meta = &pod.metadata;
                Some(VolumeUse {
                    uid: meta.uid.clone().unwrap_or_default(),
                    namespace: meta.namespace.clone().unwrap_or_default(),
                    claim: claim_name(&pod, &volume).map(|(claim, _)| claim),
                    name: volume.name,
                    usage,
                })
            });
        }
    }
    join_all(asked).await.into_iter().flatten().collect()
}

/// The volumes of one pod, as the summary has them; upstream writes zeroes for what is not known.
pub(super) fn of_pod(all: &[VolumeUse], uid: &str, now: Timestamp) -> Vec<Value> {
    let own = all.iter().filter(|one| one.uid == uid);
    let told = own.map(|one| {
        let [available, capacity, used] = one.usage.bytes.unwrap_or_default();
        let [inodes_free, inodes, inodes_used] = one.usage.inodes.unwrap_or_default();
        let mut value = json!({
            "time": now, "name": one.name,
            "availableBytes": available, "capacityBytes": capacity, "usedBytes": used,
            "inodesFree": inodes_free, "inodes": inodes, "inodesUsed": inodes_used,
        });
        if let Some(claim) = &one.claim {
            value["pvcRef"] = json!({ "name": claim, "namespace": one.namespace });
        }
        if let Some(abnormal) = one.usage.abnormal {
            value["volumeHealthStats"] = json!({ "abnormal": abnormal });
        }
        value
    });
    told.collect()
}

/// A metric: its name, what it tells, and where that stands.
type Family = (&'static str, &'static str, fn(&Usage) -> Option<u64>);

const FAMILIES: &[Family] = &[
    ("capacity_bytes", "Capacity in bytes of the volume", |it| it.bytes.map(|it| it[1])),
    ("available_bytes", "Number of available bytes in the volume", |it| it.bytes.map(|it| it[0])),
    ("used_bytes", "Number of used bytes in the volume", |it| it.bytes.map(|it| it[2])),
    ("inodes", "Maximum number of inodes in the volume", |it| it.inodes.map(|it| it[1])),
    ("inodes_free", "Number of free inodes in the volume", |it| it.inodes.map(|it| it[0])),
    ("inodes_used", "Number of used inodes in the volume", |it| it.inodes.map(|it| it[2])),
    (
        "health_status_abnormal",
        "Abnormal volume health status. The count is either 1 or 0. 1 indicates the volume is unhealthy, 0 indicates volume is healthy",
        |it| it.abnormal.map(u64::from),
    ),
];

/// `kubelet_volume_stats_*`, by claim: one that several pods use is told once.
pub(super) fn metrics(all: &[VolumeUse]) -> String {
    let by_claim: BTreeMap<(&str, &str), &Usage> = all
        .iter()
        .filter_map(|one| Some(((one.namespace.as_str(), one.claim.as_deref()?), &one.usage)))
        .collect();
    let mut text = String::new();
    for (name, help, value) in FAMILIES {
        let samples: Vec<_> =
            by_claim.iter().filter_map(|(claim, usage)| Some((claim, value(usage)?))).collect();
        if samples.is_empty() {
            continue;
        }
        let name = format!("kubelet_volume_stats_{name}");
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "# HELP {name} [ALPHA] {help}\n# TYPE {name} gauge");
        for ((namespace, claim), value) in samples {
            let labels = format!("{{namespace=\"{namespace}\",persistentvolumeclaim=\"{claim}\"}}");
            let _infallible = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_told_by_pod_and_by_claim() {
        let one = |uid: &str, claim: Option<&str>, abnormal| VolumeUse {
            uid: uid.to_owned(),
            namespace: "n".to_owned(),
            name: "v".to_owned(),
            claim: claim.map(str::to_owned),
            usage: Usage { bytes: Some([1, 3, 2]), inodes: None, abnormal },
        };
        let all = [one("a", Some("c"), Some(false)), one("b", Some("c"), Some(false)), one("a", None, None)];
        let told = of_pod(&all, "a", Timestamp::UNIX_EPOCH);
        assert_eq!(told.len(), 2);
        assert_eq!(told[0]["pvcRef"], json!({ "name": "c", "namespace": "n" }));
        assert_eq!(told[0]["volumeHealthStats"]["abnormal"], false);
        assert_eq!((&told[1]["capacityBytes"], &told[1]["inodes"]), (&json!(3), &json!(0)));
        assert!(told[1].get("pvcRef").is_none() && told[1].get("volumeHealthStats").is_none());
        let text = metrics(&all);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let label = "{namespace=\"n\",persistentvolumeclaim=\"c\"}";
        assert_eq!(samples[0], format!("kubelet_volume_stats_capacity_bytes{label} 3"));
        assert_eq!(samples.len(), 4, "{text}");
    }
}
