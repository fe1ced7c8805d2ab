//! A namespace for one scenario's objects, removed with them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::connection::{Call, Connection};

/// How long to wait for a controller.
const PATIENCE: Duration = Duration::from_secs(300);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A namespace and paths into it.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Makes a namespace and its default service account, without which pods are refused.
    pub(crate) async fn make(cluster: &Cluster) -> anyhow::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("bench-{}-{number}", std::process::id()) };
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name}});
        let mut connection = cluster.connect().await?;
        connection.call(Call::new(Method::POST, "/api/v1/namespaces").body(object.to_string())).await?;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let call = Call::new(Method::POST, namespace.path("serviceaccounts")).body(account.to_string());
        let (status, body) = connection.answer(call).await?;
        // The controller may have been quicker.
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("make a service account: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(namespace)
    }

    /// A path below the namespace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.name)
    }

    /// Deletes all objects of a resource at once, without grace.
    pub(crate) async fn clear(&self, connection: &mut Connection, resource: &str) -> anyhow::Result<()> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
        let call = Call::new(Method::DELETE, self.path(resource)).body(options.to_string());
        connection.drain(call).await.map(drop)
    }

    /// Deletes the namespace and waits until it is gone.
    pub(crate) async fn remove(self, cluster: &Cluster) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.name);
        let selector = format!("/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3D{}", self.name);
        let mut watch = cluster.connect().await?.watch(&selector).await?;
        cluster.connect().await?.call(Call::new(Method::DELETE, path)).await?;
        let gone = async {
            loop {
                let event: Value = serde_json::from_slice(&watch.next().await?).context("read an event")?;
                if event["type"] == "DELETED" {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.context("the namespace did not go")?
    }
}
