//! projected: several sources in one volume, a service account's token among them.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection, Volume};

use super::kind::{Job, Kind, Place};
use super::payload::{File, Payload, mode};
use super::{Problem, config_map, downward, ownership, secret};

pub(super) struct ProjectedKind;
pub(super) const KIND: ProjectedKind = ProjectedKind;

impl Kind for ProjectedKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/projected"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move { collect(job).await.map(Place::Files) })
    }
}

async fn collect(job: &Job<'_>) -> Result<Payload, Problem> {
    let mut payload = Payload::default();
    let Some(projected) = &job.volume.projected else { return Ok(payload) };
    let default_mode = projected.default_mode;
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let optional = map.optional.unwrap_or(false);
            let wanted = config_map::Wanted { name: &map.name, items: map.items.as_deref(), optional };
            config_map::add(job, &mut payload, &wanted, default_mode).await?;
        }
        if let Some(one) = &source.secret {
            let optional = one.optional.unwrap_or(false);
            let wanted = config_map::Wanted { name: &one.name, items: one.items.as_deref(), optional };
            secret::add(job, &mut payload, &wanted, default_mode).await?;
        }
        if let Some(downward) = &source.downward_api {
            let items = downward.items.as_deref().unwrap_or_default();
            downward::add(&mut payload, job.pod, job.inner.allocatable, items, default_mode)?;
        }
        if let Some(token) = &source.service_account_token {
            add_token(job, &mut payload, token, default_mode).await?;
        }
        if source.cluster_trust_bundle.is_some() {
            return Err(Problem::new("ClusterTrustBundle projection is not supported by this node"));
        }
        if source.pod_certificate.is_some() {
            return Err(Problem::new("PodCertificate projection is not supported by this node"));
        }
    }
    Ok(payload)
}

async fn add_token(
    job: &Job<'_>,
    payload: &mut Payload,
    wanted: &ServiceAccountTokenProjection,
    default_mode: Option<i32>,
) -> Result<(), Problem> {
    let token = job
        .inner
        .token(job.pod, wanted.audience.as_deref().unwrap_or_default(), wanted.expiration_seconds)
        .await
        .map_err(|error| Problem::new(format!("failed to fetch token: {error}")))?;
    let owner = common_user(job.pod);
    // A token is for the pod's user or group alone where these are known.
    let mode =
        if owner.is_some() || ownership::group(job.pod).is_some() { 0o600 } else { mode(None, default_mode) };
    payload.add(&wanted.path, File { data: token.text.into_bytes(), mode, owner })?;
    payload.refresh_at = match payload.refresh_at {
        Some(before) => Some(before.min(token.refresh_at)),
        None => Some(token.refresh_at),
    };
    Ok(())
}

/// The user all containers run as, if it is the same for all.
fn common_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut users = containers
        .map(|one| one.security_context.as_ref().and_then(|context| context.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}
