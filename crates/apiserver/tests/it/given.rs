//! What the tests start from: a cluster, a way to send requests, an object of every kind.

use crate::cluster::Cluster;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use skiff_apiserver::kinds::{ALL, Row};
use skiff_apiserver::server::Handler;
use skiff_apiserver::wire::{self, Response};
use skiff_apiserver::{Options, Peer, RuntimeConfig, User};

/// A cluster and its administrator's requests.
pub(crate) struct Given {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
}

/// Sends requests as one user.
#[derive(Clone)]
pub(crate) struct Client {
    handler: Handler,
    peer: Peer,
    /// Sent with every request.
    headers: Vec<(String, String)>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.body["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["metadata"]["name"].as_str().unwrap())
            .collect()
    }

    /// The answer, if it has this code.
    #[track_caller]
    pub(crate) fn code(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}", self.body);
        self
    }
}

impl Given {
    /// Every kind is served.
    pub(crate) async fn new() -> Self {
        let runtime_config = RuntimeConfig::parse(["api/all=true"]).unwrap();
        let cluster = Cluster::with(Options { runtime_config, ..Options::in_memory() }).await;
        let client = Client::of(&cluster, User::new("admin", ["system:masters"]));
        Self { cluster, client }
    }
}

impl Client {
    pub(crate) fn of(cluster: &Cluster, user: User) -> Self {
        Self { handler: cluster.handler(), peer: Peer::Known(user), headers: Vec::new() }
    }

    /// Somebody without a certificate.
    pub(crate) fn stranger(cluster: &Cluster) -> Self {
        Self { handler: cluster.handler(), peer: Peer::Unknown, headers: Vec::new() }
    }

    /// Somebody with a token.
    pub(crate) fn bearing(cluster: &Cluster, token: &str) -> Self {
        Self::stranger(cluster).with("authorization", &format!("Bearer {token}"))
    }

    /// The same, sending one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The raw answer.
    pub(crate) async fn raw(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let request = request.map(|body| {
            http_body_util::combinators::UnsyncBoxBody::new(
                body.map_err(|never| -> wire::BoxError { match never {} }),
            )
        });
        self.handler.handle(self.peer.clone(), request).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let response = self.raw(method, uri, headers, body).await;
        let code = response.status().as_u16();
        let warnings =
            response.headers().get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code, warnings, body }
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, uri: &str, body: &Value) -> Answer {
        self.send("POST", uri, &[], body.to_string().into_bytes()).await
    }

    pub(crate) async fn put(&self, uri: &str, body: &Value) -> Answer {
        self.send("PUT", uri, &[], body.to_string().into_bytes()).await
    }

    pub(crate) async fn delete(&self, uri: &str) -> Answer {
        self.send("DELETE", uri, &[], Vec::new()).await
    }

    pub(crate) async fn patch(&self, uri: &str, kind: &str, body: &Value) -> Answer {
        let kind = format!("application/{kind}+json");
        self.send("PATCH", uri, &[("content-type", &kind)], body.to_string().into_bytes()).await
    }
}

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) fn map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": value } })
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": { "containers": [{ "name": "c", "image": "busybox" }] },
    })
}

fn template(restart: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "x" } },
        "spec": { "containers": [{ "name": "c", "image": "busybox" }], "restartPolicy": restart },
    })
}

/// A rule that matches nothing there is.
fn none() -> Value {
    json!({ "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"] })
}

/// Every kind whose objects are kept.
pub(crate) fn kept() -> impl Iterator<Item = &'static Row> {
    ALL.iter().copied().filter(|row| row.verbs.contains(&"create"))
}

/// The path of a kind's collection.
pub(crate) fn path(row: &Row) -> String {
    row.resource().path(row.namespaced.then_some("default"))
}

/// The request of `O=blue, CN=alice`, PEM in base64.
const SIGNING_REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIWk1JR0JBZ0VBTUI4eERUQUxCZ05WQkFvTUJHSnNkV1V4RGpBTUJnTlZCQU1NQldGc2FXTmxNRmt3RXdZSApLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFS3pKRGZ6dU5ZbGFHdFFhMDFBZVp4U1grUTZWNEdkS0tEa041CkxaWkh3YXRqOUNUUUdUZzBUVSs1L2k2cDQrek5rZXVHQlY5SzdudUhwOHl6VUZHRGhhQUFNQW9HQ0NxR1NNNDkKQkFNQ0EwY0FNRVFDSUFkRjQ2bDlZbmFwWnlLVmFZRGRsU0NtNEw2T1RCdmcrcUJROW9kdENiZThBaUI2WkVPVwplMGtzamt3NjdOZjhVZnpTeEE5L0FHbXZDci9ZRlNMd1NROFBkUT09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
/// The same as DER.
const STUB_REQUEST: &str = "MIHZMIGBAgEAMB8xDTALBgNVBAoMBGJsdWUxDjAMBgNVBAMMBWFsaWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKzJDfzuNYlaGtQa01AeZxSX+Q6V4GdKKDkN5LZZHwatj9CTQGTg0TU+5/i6p4+zNkeuGBV9K7nuHp8yzUFGDhaAAMAoGCCqGSM49BAMCA0cAMEQCIAdF46l9YnapZyKVaYDdlSCm4L6OTBvg+qBQ9odtCbe8AiB6ZEOWe0ksjkw67Nf8UfzSxA9/AGmvCr/YFSLwSQ8PdQ==";
/// An authority, PEM.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nMIIBezCCASGgAwIBAgIUFIByvIDaw0HIPgIJ8W3ZuqplqlMwCgYIKoZIzj0EAwIw\nEjEQMA4GA1UEAwwHdGVzdC1jYTAgFw0yNjExMjYxMTQzMTBaGA8yMTI2MTEwMjEx\nNDMxMFowEjEQMA4GA1UEAwwHdGVzdC1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH\nA0IABG7yaPjOd5kFcbubODnCxUBvsbrTnM/jYbOrsQQulLu9fQ8AcK4URjoaPy06\nsLAWXsiWCirb2IWPfRCJihQ/cgijUzBRMB0GA1UdDgQWBBQ2IpFvX/x16TdqIQjq\nl/nUtIzzejAfBgNVHSMEGDAWgBQ2IpFvX/x16TdqIQjql/nUtIzzejAPBgNVHRMB\nAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIEiqiQk1mfCRw1///MZhOZyF0SFL\nJJ7B1M8ASXzzoP8PAiEAqSjZXe58ll5QD0ofW8/7IcVTRNNMA/QBEAOi7fYPIX4=\n-----END CERTIFICATE-----\n";

fn device_claim() -> Value {
    json!({ "devices": { "requests": [{ "name": "a", "exactly": { "deviceClassName": "example.com" } }] } })
}

/// A name that the kind allows.
pub(crate) fn name(row: &Row, name: &'static str) -> &'static str {
    match row.kind {
        "IPAddress" => "10.96.1.1",
        "StorageVersion" => "example.com.things",
        // Of no group that the definition below brings along.
        "APIService" => "v1.apis.example.com",
        "CustomResourceDefinition" => "things.example.com",
        _ => name,
    }
}

/// A valid object of any kind.
pub(crate) fn sample(row: &Row, name: &str) -> Value {
    let mut object = match row.kind {
        "Pod" => pod(name),
        "APIService" => json!({ "spec": {
            "group": "apis.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
        } }),
        "CustomResourceDefinition" => json!({ "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "plural": "things", "kind": "Thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                           "schema": { "openAPIV3Schema": { "type": "object" } } }],
        } }),
        "ReplicationController" => json!({ "spec": {
            "replicas": 1, "selector": { "app": "x" },
            "template": { "metadata": { "labels": { "app": "x" } },
                          "spec": { "containers": [{ "name": "c", "image": "busybox" }] } },
        } }),
        "Service" => json!({ "spec": { "selector": { "app": "x" }, "ports": [{ "port": 80 }] } }),
        "Endpoints" => {
            json!({ "subsets": [{ "addresses": [{ "ip": "10.1.2.3" }], "ports": [{ "port": 80 }] }] })
        }
        "EndpointSlice" => json!({
            "addressType": "IPv4", "endpoints": [{ "addresses": ["10.1.2.3"] }], "ports": [{ "name": "", "port": 80 }],
        }),
        "Event" if row.group == "events.k8s.io" => json!({
            "regarding": { "kind": "Pod", "namespace": "default", "name": "a" }, "reason": "Tested", "type": "Normal",
            "note": "a test", "eventTime": "2026-11-22T10:00:00.000000Z", "action": "Testing",
            "reportingController": "test", "reportingInstance": "test-1",
        }),
        "Event" => json!({
            "involvedObject": { "kind": "Pod", "namespace": "default", "name": "a" }, "reason": "Tested", "type": "Normal",
            "message": "a test", "source": { "component": "test" },
        }),
        "ControllerRevision" => json!({ "data": { "spec": {} }, "revision": 1 }),
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" => {
            json!({ "spec": { "selector": { "matchLabels": { "app": "x" } }, "template": template("Always") } })
        }
        "CronJob" => json!({ "spec": {
            "schedule": "0 4 * * *", "jobTemplate": { "spec": { "template": template("Never") } },
        } }),
        "Job" => json!({ "spec": { "template": template("Never") } }),
        "PodDisruptionBudget" => {
            json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "x" } } } })
        }
        "PersistentVolume" => json!({ "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/srv" },
        } }),
        "PersistentVolumeClaim" => json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        } }),
        "PodGroup" => json!({ "spec": { "schedulingPolicy": { "gang": { "minCount": 2 } } } }),
        "Workload" => json!({ "spec": {
            "podGroupTemplates": [{ "name": "t", "schedulingPolicy": { "basic": {} } }],
        } }),
        "CSIDriver" => json!({ "spec": {} }),
        "CSINode" => json!({ "spec": { "drivers": [{ "name": "d", "nodeID": "n" }] } }),
        "CSIStorageCapacity" => json!({ "storageClassName": "c", "capacity": "1Gi" }),
        "StorageClass" => json!({ "provisioner": "example.com/none" }),
        "VolumeAttachment" => json!({ "spec": {
            "attacher": "d", "nodeName": "n", "source": { "persistentVolumeName": "v" },
        } }),
        "VolumeAttributesClass" => json!({ "driverName": "d", "parameters": { "a": "b" } }),
        "LimitRange" => json!({ "spec": { "limits": [{ "type": "Container", "default": { "cpu": "1" } }] } }),
        "ResourceQuota" => json!({ "spec": { "hard": { "count/jobs.batch": "1000" } } }),
        "PriorityClass" => json!({ "value": 1000, "description": "a test" }),
        "HorizontalPodAutoscaler" => json!({ "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" }, "maxReplicas": 3,
        } }),
        "CertificateSigningRequest" => json!({ "spec": {
            "request": SIGNING_REQUEST, "signerName": "example.com/test", "usages": ["client auth"],
        } }),
        "ClusterTrustBundle" => json!({ "spec": { "trustBundle": AUTHORITY } }),
        "PodCertificateRequest" => json!({ "spec": {
            "signerName": "example.com/test", "stubPKCS10Request": STUB_REQUEST, "podName": "a", "podUID": "1",
            "serviceAccountName": "default", "serviceAccountUID": "2", "nodeName": "n", "nodeUID": "3",
        } }),
        "FlowSchema" => json!({ "spec": { "priorityLevelConfiguration": { "name": "system" } } }),
        "PriorityLevelConfiguration" => {
            json!({ "spec": { "type": "Limited", "limited": { "limitResponse": { "type": "Reject" } } } })
        }
        "DeviceTaintRule" => {
            json!({ "spec": { "taint": { "key": "example.com/a", "effect": "NoSchedule" } } })
        }
        "ResourceClaim" => json!({ "spec": device_claim() }),
        "ResourceClaimTemplate" => json!({ "spec": { "spec": device_claim() } }),
        "ResourceSlice" => json!({ "spec": {
            "driver": "example.com", "nodeName": "n", "devices": [{ "name": "a" }],
            "pool": { "name": "n", "generation": 1, "resourceSliceCount": 1 },
        } }),
        "StorageVersionMigration" => {
            json!({ "spec": { "resource": { "group": "apps", "resource": "deployments" } } })
        }
        "PodTemplate" => json!({ "template": template("Always") }),
        "Ingress" => {
            json!({ "spec": { "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } } })
        }
        "IngressClass" => json!({ "spec": { "controller": "example.com/test" } }),
        "IPAddress" => {
            json!({ "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": "a" } } })
        }
        "NetworkPolicy" => json!({ "spec": { "podSelector": {} } }),
        "ServiceCIDR" => json!({ "spec": { "cidrs": ["10.77.0.0/16"] } }),
        "RuntimeClass" => json!({ "handler": "runc" }),
        "RoleBinding" | "ClusterRoleBinding" => json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "somebody" }],
        }),
        "Role" | "ClusterRole" => {
            json!({ "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] })
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => json!({ "webhooks": [{
            "name": "hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": "https://127.0.0.1:1" }, "failurePolicy": "Ignore",
            "rules": [{
                "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"],
            }],
        }] }),
        "ValidatingAdmissionPolicy" => json!({ "spec": {
            "matchConstraints": { "resourceRules": [none()] }, "validations": [{ "expression": "true" }],
        } }),
        "MutatingAdmissionPolicy" => json!({ "spec": {
            "matchConstraints": { "resourceRules": [none()] }, "reinvocationPolicy": "Never",
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": "[]" } }],
        } }),
        "ValidatingAdmissionPolicyBinding" => {
            json!({ "spec": { "policyName": "none", "validationActions": ["Deny"] } })
        }
        "MutatingAdmissionPolicyBinding" => json!({ "spec": { "policyName": "none" } }),
        "Lease" => json!({ "spec": { "holderIdentity": "one", "leaseDurationSeconds": 40 } }),
        _ => json!({}),
    };
    object["apiVersion"] = row.resource().api_version().into();
    object["kind"] = row.kind.into();
    object["metadata"]["name"] = name.into();
    object["metadata"]["labels"]["app"] = "x".into();
    object
}
