//! The cluster through a [`Link`]: writes through kube, services from a shared feed.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::{Value, json};
use skiff_client::write::{self, Place};
use skiff_client::{Cache, Link};

use super::{Cluster, ClusterError, Result};
use crate::pod::conditions::{PASSING, is_ours};
use crate::pod::{is_static, uid};

/// Fields of a pod's status that this kubelet owns: absent in ours means to be taken away.
const FIELDS: [&str; 15] = [
    "phase",
    "reason",
    "message",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "startTime",
    "qosClass",
    "observedGeneration",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "conditions",
    "resize",
];

/// The cluster behind a link.
pub(crate) struct LinkedCluster {
    link: Link,
    services: Cache,
}

impl LinkedCluster {
    /// `services` follows all services.
    pub(crate) fn new(link: Link, services: Cache) -> Self {
        Self { link, services }
    }
}

fn fault(error: kube::Error) -> ClusterError {
    if write::is_not_found(&error) {
        ClusterError::NotFound(error.to_string())
    } else if write::is_conflict(&error) {
        ClusterError::Conflict(error.to_string())
    } else {
        ClusterError::Failed(error.to_string())
    }
}

/// The status as a strategic merge patch: conditions merge by type, so other writers' stay.
fn status_patch(pod: &Pod, status: &PodStatus) -> Value {
    let mut body = skiff_api::decode::tree(status).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.retain(|key, _| FIELDS.contains(&key.as_str()));
        for field in FIELDS {
            body.entry(field).or_insert(Value::Null);
        }
        if let Some(ips) = body.get_mut("podIPs").and_then(Value::as_array_mut) {
            // The list merges by address: an old one would stay beside the new.
            ips.insert(0, json!({ "$patch": "replace" }));
        }
        if let Some(conditions) = body.get_mut("conditions").and_then(Value::as_array_mut) {
            let statics = is_static(pod);
            conditions.retain(|condition| {
                let kind = condition.get("type").and_then(Value::as_str).unwrap_or_default();
                let reason = condition.get("reason").and_then(Value::as_str);
                is_ours(kind, reason) || (statics && kind == "PodScheduled")
            });
            for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
                for field in ["reason", "message"] {
                    condition.entry(field).or_insert(Value::Null);
                }
            }
            for kind in PASSING {
                if conditions.iter().all(|condition| condition["type"] != kind) {
                    conditions.push(json!({ "type": kind, "$patch": "delete" }));
                }
            }
        }
    }
    if is_static(pod) {
        // The object in the API is the mirror, which has a uid of its own.
        json!({ "status": body })
    } else {
        json!({ "metadata": { "uid": uid(pod) }, "status": body })
    }
}

impl Cluster for LinkedCluster {
    fn write_status<'a>(&'a self, pod: &'a Pod, status: &'a PodStatus) -> BoxFuture<'a, Result<()>> {
        let patch = status_patch(pod, status);
        Box::pin(async move {
            let place = Place::of(pod).part("status");
            write::patch(&self.link, &place, write::Patch::Strategic, &patch).await.map_err(fault)
        })
    }

    fn delete_pod<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut options = write::only(uid(pod));
            options.grace_period_seconds = Some(0);
            write::delete(&self.link, &Place::of(pod), &options).await.map(drop).map_err(fault)
        })
    }

    fn create_mirror<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match write::create_unseen(&self.link, pod).await {
                Ok(()) => Ok(()),
                Err(error) if write::already_exists(&error) => Ok(()),
                Err(error) => Err(fault(error)),
            }
        })
    }

    fn config_map<'a>(&'a self, space: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<ConfigMap>>> {
        Box::pin(async move {
            let place = Place::new(&skiff_api::resource::Resource::of::<ConfigMap>(), Some(space), name);
            found(write::get(&self.link, &place).await)
        })
    }

    fn secret<'a>(&'a self, space: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>>> {
        Box::pin(async move {
            let place = Place::new(&skiff_api::resource::Resource::of::<Secret>(), Some(space), name);
            found(write::get(&self.link, &place).await)
        })
    }

    fn runtime_handler<'a>(&'a self, class: &'a str) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let place = Place::new(&skiff_api::resource::Resource::of::<RuntimeClass>(), None, class);
            let class: RuntimeClass = write::get(&self.link, &place).await.map_err(fault)?;
            Ok(class.handler)
        })
    }

    fn resource_claim<'a>(&'a self, space: &'a str, name: &'a str) -> BoxFuture<'a, Result<ResourceClaim>> {
        Box::pin(async move {
            let place = Place::new(&skiff_api::resource::Resource::of::<ResourceClaim>(), Some(space), name);
            write::get(&self.link, &place).await.map_err(fault)
        })
    }

    fn services<'a>(&'a self, space: &'a str) -> BoxFuture<'a, Vec<Service>> {
        Box::pin(async move {
            self.services.synced().await;
            let own = self.services.within(space);
            let master = self.services.get("default/kubernetes").filter(|_| space != "default");
            let all = own.into_iter().chain(master);
            all.filter_map(|object| object.decode::<Service>().ok().map(|service| Service::clone(&service)))
                .collect()
        })
    }
}

fn found<T>(result: std::result::Result<T, kube::Error>) -> Result<Option<T>> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if write::is_not_found(&error) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_takes_away_what_we_do_not_say_and_leaves_others_alone() {
        let pod: Pod = serde_saphyr::from_str("{metadata: {uid: u}}").unwrap();
        let status: PodStatus = serde_saphyr::from_str(
            "
            phase: Running
            podIPs: [{ip: 10.0.0.2}]
            conditions:
            - {type: Ready, status: 'True'}
            - {type: example.com/gate, status: 'True'}
            ",
        )
        .unwrap();
        let patch = status_patch(&pod, &status);
        assert_eq!(patch["metadata"], json!({ "uid": "u" }));
        let status = &patch["status"];
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["reason"], Value::Null);
        assert!(status.as_object().unwrap().contains_key("reason"));
        assert_eq!(status["podIPs"], json!([{ "$patch": "replace" }, { "ip": "10.0.0.2" }]));
        let conditions = json!([
            { "type": "Ready", "status": "True", "reason": null, "message": null },
            { "type": "PodResizePending", "$patch": "delete" },
            { "type": "PodResizeInProgress", "$patch": "delete" },
        ]);
        assert_eq!(status["conditions"], conditions);
    }
}
