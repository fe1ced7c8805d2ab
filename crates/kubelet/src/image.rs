//! Images for containers: whether to pull, with which password, and what to say about it.
//!
//! One call answers for one container; waiting between failed calls is the worker's matter.

pub(crate) mod keyring;
pub(crate) mod reference;

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, Pod};
use skiff_base::clock::Clock;

use crate::cluster::Cluster;
use crate::pod::text::go_millis;
use crate::pod::{field_path, namespace};
use crate::record::{EventKind, Record};
use crate::runtime::{Image, Runtime, RuntimeError};
use crate::volume::ImageFiles;

/// Why a container has no image, as its status says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFault {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Sees to containers' images.
#[derive(Clone)]
pub(crate) struct Images {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) record: Arc<dyn Record>,
    pub(crate) clock: Clock,
}

impl Images {
    /// The container's image, pulled if its policy says so.
    pub(crate) async fn ensure(&self, pod: &Pod, container: &Container) -> Result<Image, ImageFault> {
        let written = container.image.as_deref().unwrap_or_default();
        let path = field_path(pod, &container.name);
        let say = |kind, reason, message: String| self.record.record(pod, Some(&path), kind, reason, message);
        let name = reference::with_tag(written).map_err(|why| {
            let message = format!("Failed to apply default image tag \"{written}\": {why}");
            say(EventKind::Warning, "InspectFailed", message.clone());
            ImageFault { reason: "InvalidImageName", message }
        })?;
        let present = self.runtime.image_status(&name).await.map_err(|error| {
            let message = format!("Failed to inspect image \"{name}\": {error}");
            say(EventKind::Warning, "InspectFailed", message.clone());
            ImageFault { reason: "ImageInspectError", message }
        })?;
        match (policy(container, &name), present) {
            ("Never", None) => {
                let message =
                    format!("Container image \"{written}\" is not present with pull policy of Never");
                say(EventKind::Warning, "ErrImageNeverPull", message.clone());
                Err(ImageFault { reason: "ErrImageNeverPull", message })
            }
            ("Never" | "IfNotPresent", Some(image)) => {
                let words = "already present on machine and can be accessed by the pod";
                say(EventKind::Normal, "Pulled", format!("Container image \"{written}\" {words}"));
                Ok(image)
            }
            _ => self.pull(pod, &name, written, &say).await,
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        name: &str,
        written: &str,
        say: &(impl Fn(EventKind, &'static str, String) + Sync),
    ) -> Result<Image, ImageFault> {
        say(EventKind::Normal, "Pulling", format!("Pulling image \"{written}\""));
        let begun = self.clock.now();
        match self.fetch(pod, name).await {
            Ok(image) => {
                let took = self.clock.now().duration_since(begun).unsigned_abs();
                let took = go_millis(took);
                let size = image.size;
                let message = format!(
                    "Successfully pulled image \"{written}\" in {took} ({took} including waiting). Image size: {size} bytes."
                );
                say(EventKind::Normal, "Pulled", message);
                Ok(image)
            }
            Err(error) => {
                let message = format!("Failed to pull image \"{written}\": {error}");
                say(EventKind::Warning, "Failed", message.clone());
                Err(ImageFault { reason: "ErrImagePull", message: error.to_string() })
            }
        }
    }

    /// Tries each password that fits, the most particular first, and none at last.
    async fn fetch(&self, pod: &Pod, name: &str) -> Result<Image, RuntimeError> {
        let keys = self.keys(pod, name).await;
        let mut tries: Vec<Option<&_>> = keys.iter().map(Some).collect();
        if tries.is_empty() {
            tries.push(None);
        }
        let mut failure = None;
        for auth in tries {
            match self.runtime.pull_image(name, auth).await {
                Ok(pulled) => {
                    let image = match self.runtime.image_status(&pulled.reference).await? {
                        Some(image) => Some(image),
                        None => self.runtime.image_status(name).await?,
                    };
                    return image
                        .ok_or_else(|| RuntimeError::NotFound(format!("{name} is gone after its pull")));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| RuntimeError::NotFound(name.to_owned())))
    }

    async fn keys(&self, pod: &Pod, name: &str) -> Vec<crate::runtime::Auth> {
        let secrets = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        let mut keys = Vec::new();
        for reference in secrets {
            match self.cluster.secret(namespace(pod), &reference.name).await {
                Ok(Some(secret)) => keys.extend(keyring::matching(&secret, name)),
                Ok(None) => {
                    let (name, namespace) = (&reference.name, namespace(pod));
                    let message = format!(
                        "Unable to retrieve some image pull secrets ({name}); attempting to pull the image may not succeed."
                    );
                    self.record.record(
                        pod,
                        None,
                        EventKind::Warning,
                        "FailedToRetrieveImagePullSecret",
                        message,
                    );
                    tracing::debug!(namespace, secret = name, "image pull secret is missing");
                }
                Err(error) => tracing::warn!(secret = reference.name, %error, "image pull secret not read"),
            }
        }
        keys
    }
}

impl ImageFiles for Images {
    fn show<'a>(
        &'a self,
        pod: &'a Pod,
        volume: &'a str,
        source: &'a ImageVolumeSource,
        target: &'a Path,
    ) -> BoxFuture<'a, Result<(), String>> {
        let container = Container {
            name: volume.to_owned(),
            image: source.reference.clone(),
            image_pull_policy: source.pull_policy.clone(),
            ..Container::default()
        };
        Box::pin(async move {
            let image = self.ensure(pod, &container).await;
            let image = image.map_err(|fault| format!("{}: {}", fault.reason, fault.message))?;
            self.runtime.mount_image(&image.id, target).await.map_err(|error| error.to_string())
        })
    }
}

/// The container's policy, with upstream's default: a moving tag is pulled each time.
fn policy<'a>(container: &'a Container, name: &str) -> &'a str {
    let default = if name.ends_with(":latest") { "Always" } else { "IfNotPresent" };
    container.image_pull_policy.as_deref().unwrap_or(default)
}
