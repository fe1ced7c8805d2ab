//! What a driver is told with a volume: how it is to be used, secrets, and what it wants to know of the pod.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::storage::v1::CSIDriverSpec;
use serde_json::json;

use super::fault;
use super::wanted::Wanted;
use crate::csi::Driver;
use crate::csi::proto::{AccessMode, BlockVolume, MountVolume, NodePublishVolume, VolumeCapability};
use crate::volume::kind::Job;
use crate::volume::objects::heard;
use crate::volume::{Inner, Problem};

/// What the driver wants to know is under keys that begin so.
const PREFIX: &str = "csi.storage.k8s.io/";

/// How the volume is to be used.
pub(super) fn capability(wanted: &Wanted, driver: &Driver, group: Option<u32>) -> VolumeCapability {
    let mount = || MountVolume {
        fs_type: wanted.fs_type.clone(),
        mount_flags: wanted.mount_flags.clone(),
        volume_mount_group: group
            .filter(|_| driver.takes_group())
            .map(|group| group.to_string())
            .unwrap_or_default(),
    };
    VolumeCapability {
        block: wanted.block.then_some(BlockVolume {}),
        mount: (!wanted.block).then(mount),
        access_mode: Some(AccessMode { mode: wanted.mode.number(driver) }),
    }
}

/// What is in a secret, by namespace and name.
pub(super) async fn secrets(
    inner: &Inner,
    named: Option<&(String, String)>,
) -> Result<HashMap<String, String>, Problem> {
    let Some((namespace, name)) = named else { return Ok(HashMap::new()) };
    let failed = |why: &str| fault("failed to get secret", format!("{namespace}/{name}: {why}"));
    match heard(inner.objects.secret(namespace, name)).await {
        Some(Some(secret)) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(&value.0))).collect())
        }
        Some(None) => Err(failed("not found")),
        None => Err(failed("timed out")),
    }
}

/// What the driver hears of the volume, and of the pod if it wants to.
pub(super) fn context(job: &Job<'_>, wanted: &Wanted, about: &CSIDriverSpec) -> HashMap<String, String> {
    let mut context = wanted.context.clone();
    if about.pod_info_on_mount == Some(true) {
        let meta = &job.pod.metadata;
        let account = job.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        for (key, value) in [
            ("pod.name", meta.name.clone().unwrap_or_default()),
            ("pod.namespace", job.namespace().to_owned()),
            ("pod.uid", meta.uid.clone().unwrap_or_default()),
            ("serviceAccount.name", account.unwrap_or_default()),
            ("ephemeral", wanted.ephemeral.to_string()),
        ] {
            context.insert(format!("{PREFIX}{key}"), value);
        }
    }
    context
}

/// Adds the tokens of the pod's account that the driver asks for, where it wants them. Devices come without, as upstream's do.
pub(super) async fn add_tokens(
    job: &Job<'_>,
    wanted: &Wanted,
    about: &CSIDriverSpec,
    request: &mut NodePublishVolume,
) -> Result<(), Problem> {
    let asked = about.token_requests.as_deref().filter(|asked| !asked.is_empty() && !wanted.block);
    let Some(asked) = asked else { return Ok(()) };
    let mut tokens = BTreeMap::new();
    for one in asked {
        let token = job.inner.token(job.pod, &one.audience, one.expiration_seconds).await;
        let token = token
            .map_err(|why| fault("mounter.SetUpAt failed to get service account token attributes", why))?;
        // To the second, as the API tells times.
        let expires = jiff::Timestamp::from_second(token.expires.as_second()).unwrap_or(token.expires);
        tokens.insert(&one.audience, json!({ "token": token.text, "expirationTimestamp": expires }));
    }
    let key = format!("{PREFIX}serviceAccount.tokens");
    let place = match about.service_account_token_in_secrets {
        Some(true) => &mut request.secrets,
        _ => &mut request.volume_context,
    };
    place.insert(key, json!(tokens).to_string());
    Ok(())
}
