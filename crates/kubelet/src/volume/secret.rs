//! secret: the keys of a Secret as files.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Secret, Volume};

use super::config_map::Wanted;
use super::kind::{Job, Kind, Place};
use super::payload::{Keys, Payload, add_keys};
use super::{Problem, objects};

pub(super) struct SecretKind;
pub(super) const KIND: SecretKind = SecretKind;

impl Kind for SecretKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/secret"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let mut payload = Payload::default();
            if let Some(source) = &job.volume.secret {
                let name = source.secret_name.as_deref().unwrap_or_default();
                let optional = source.optional.unwrap_or(false);
                let wanted = Wanted { name, items: source.items.as_deref(), optional };
                add(job, &mut payload, &wanted, source.default_mode).await?;
            }
            Ok(Place::Files(payload))
        })
    }
}

/// Adds a Secret's files; projected volumes do so too.
pub(super) async fn add(
    job: &Job<'_>,
    payload: &mut Payload,
    wanted: &Wanted<'_>,
    default_mode: Option<i32>,
) -> Result<(), Problem> {
    let feed = job.inner.objects.secret(job.namespace(), wanted.name);
    match objects::heard(feed).await {
        Some(Some(secret)) => add_keys(payload, &keys(&secret), wanted.items, default_mode, wanted.optional),
        Some(None) if wanted.optional => Ok(()),
        Some(None) => Err(Problem::new(format!("secret {:?} not found", wanted.name))),
        None => Err(Problem::new("failed to sync secret cache: timed out waiting for the condition")),
    }
}

fn keys(secret: &Secret) -> Keys<'_> {
    let values =
        secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
    Keys { values, missing: "references non-existent secret key" }
}
