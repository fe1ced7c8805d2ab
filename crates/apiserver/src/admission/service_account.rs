//! ServiceAccount: every pod runs as one, `default` unless it says otherwise, and finds the account's token, the cluster's
//! authority and its namespace in a volume; a Secret for a token gets it.
//!
//! The account `default` may be absent still, so that a new namespace takes pods before its controller has run; any
//! other must exist. Follows upstream's `plugin/pkg/admission/serviceaccount` and, for Secrets,
//! `pkg/controller/serviceaccount/tokens_controller.go`, whose half that needs the signing key is here.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, Secret, ServiceAccount,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use skiff_api::{ApiError, meta};
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("ServiceAccount") };

/// Marks a pod that a kubelet mirrors from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// What the name of the volume begins with.
const VOLUME: &str = "kube-api-access-";
/// Where containers find it.
const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long its token lives, in seconds: an hour, and recognisable.
const LIFE: i64 = 3607;
/// The type of a Secret that holds a token.
const TOKEN_SECRET: &str = "kubernetes.io/service-account-token";
/// The annotations that tie such a Secret to its account.
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if let Some(secret) = draft.as_any_mut().downcast_mut::<Secret>() {
        fill(attempt, secret);
        return Ok(());
    }
    if !attempt.creates() {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let mirror = pod.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR);
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let asked =
        spec.service_account_name.clone().or_else(|| spec.service_account.clone()).unwrap_or_default();
    if mirror {
        return match asked.as_str() {
            "" => Ok(()),
            _ => Err(attempt.forbidden(&pod_name, "a mirror pod may not reference service accounts")),
        };
    }
    let name = if asked.is_empty() { "default".to_owned() } else { asked };
    let key = Key::new("serviceaccounts", meta::key(Some(attempt.scope.namespace), &name));
    let account = attempt.scope.api.store.get(&key);
    if account.is_none() && name != "default" {
        let place = attempt.scope.namespace;
        let why =
            format!("error looking up service account {place}/{name}: serviceaccount \"{name}\" not found");
        return Err(attempt.forbidden(&pod_name, why));
    }
    let account = account.and_then(|stored| stored.object().decode::<ServiceAccount>().ok());
    if spec.image_pull_secrets.as_deref().unwrap_or_default().is_empty() {
        spec.image_pull_secrets = account.as_ref().and_then(|account| account.image_pull_secrets.clone());
    }
    spec.service_account_name = Some(name.clone());
    spec.service_account = Some(name);
    let of_account = account.and_then(|account| account.automount_service_account_token);
    if spec.automount_service_account_token.or(of_account).unwrap_or(true) {
        mount(spec);
    }
    Ok(())
}

/// Shows the volume to every container that has nothing at its place.
fn mount(spec: &mut PodSpec) {
    let volumes = spec.volumes.iter().flatten();
    let there = volumes.map(|volume| &volume.name).find(|name| name.starts_with(VOLUME)).cloned();
    let name = there.clone().unwrap_or_else(|| crate::registry::create::generate(VOLUME));
    let mount = VolumeMount {
        name: name.clone(),
        read_only: Some(true),
        mount_path: PATH.to_owned(),
        ..VolumeMount::default()
    };
    let lacks = |container: &&mut Container| {
        !container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == PATH)
    };
    let mut needed = false;
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).filter(lacks) {
        container.volume_mounts.get_or_insert_default().push(mount.clone());
        needed = true;
    }
    if needed && there.is_none() {
        spec.volumes.get_or_insert_default().push(volume(name));
    }
}

fn volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(LIFE),
        ..ServiceAccountTokenProjection::default()
    };
    let authority = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![KeyToPath {
            key: "ca.crt".to_owned(),
            path: "ca.crt".to_owned(),
            ..KeyToPath::default()
        }]),
        ..ConfigMapProjection::default()
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    let projected = ProjectedVolumeSource {
        default_mode: Some(0o644),
        sources: Some(sources),
        ..ProjectedVolumeSource::default()
    };
    Volume { name, projected: Some(projected), ..Volume::default() }
}

/// Puts what it is for into a Secret of the token kind, if its account is there.
fn fill(attempt: &Attempt<'_>, secret: &mut Secret) {
    if secret.type_.as_deref() != Some(TOKEN_SECRET) {
        return;
    }
    let api = attempt.scope.api;
    let namespace = attempt.scope.namespace;
    let annotation = |key: &str| secret.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let Some(account) = annotation(ACCOUNT_NAME) else { return };
    let key = Key::new("serviceaccounts", meta::key(Some(namespace), &account));
    let Some(stored) = api.store.get(&key) else { return };
    let uid = stored.object().meta().uid.to_string();
    if annotation(ACCOUNT_UID).is_some_and(|own| !own.is_empty() && own != uid) {
        return;
    }
    let name = secret.metadata.name.clone().unwrap_or_default();
    let data = secret.data.get_or_insert_default();
    let lacks = |held: Option<&ByteString>| held.is_none_or(|held| held.0.is_empty());
    if lacks(data.get("token"))
        && let Some(token) = api.issuer.issue_legacy(namespace, (&account, &uid), &name)
    {
        data.insert("token".to_owned(), ByteString(token.into_bytes()));
    }
    if let Some(pem) = api.settings.ca_pem.clone().filter(|_| lacks(data.get("ca.crt"))) {
        data.insert("ca.crt".to_owned(), ByteString(pem.into_bytes()));
    }
    if lacks(data.get("namespace")) {
        data.insert("namespace".to_owned(), ByteString(namespace.as_bytes().to_vec()));
    }
    secret.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.to_owned(), uid);
}
