//! Secrets that hold a service account's token: filled when they lack it, gone with the account.
//!
//! The server signs the token when such a Secret is written (`apiserver/src/admission/service_account.rs`); this
//! controller writes it again if the account came later, and deletes it when the account is gone. Follows upstream's
//! `pkg/controller/serviceaccount/tokens_controller.go`.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::json;
use skiff_api::Object;
use skiff_client::cache::Index;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::write::Patch;
use skiff_client::{Change, write};

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "tokens-controller",
    component: "serviceaccount-token-controller",
    wakes: &[on::<Secret, Itself>().indexed(&[BY_ACCOUNT]), on::<ServiceAccount, ItsTokens>()],
    may: &[("patch delete", "secrets")],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const KIND: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Finds Secrets by `namespace/account`.
const BY_ACCOUNT: Index = Index {
    name: "account",
    values: |object: &Object| {
        // Most Secrets hold something else; those are not decoded.
        if !std::str::from_utf8(object.bytes()).is_ok_and(|text| text.contains(KIND)) {
            return Vec::new();
        }
        let secret = object.decode::<Secret>().ok();
        let name = secret.and_then(|secret| secret.metadata.annotations.as_ref()?.get(ACCOUNT_NAME).cloned());
        let account = name.zip(object.meta().namespace.as_deref());
        account.map(|(name, place)| format!("{place}/{name}").into()).into_iter().collect()
    },
};

/// The Secrets of the account.
struct ItsTokens;

impl How<Settings> for ItsTokens {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let secrets = caches.of::<Secret>().by(&BY_ACCOUNT, &change.latest().meta().key());
        secrets.iter().map(|object| object.meta().key().into()).collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(secret) = ctx.get::<Secret>(&key).filter(|secret| secret.type_.as_deref() == Some(KIND)) else {
        return Ok(Next::Rest);
    };
    if secret.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Rest);
    }
    let annotation = |name: &str| secret.metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let Some(name) = annotation(ACCOUNT_NAME) else { return Ok(Next::Rest) };
    let account = ctx.get::<ServiceAccount>(&Key::new(key.namespace(), &name));
    let wanted = annotation(ACCOUNT_UID).filter(|uid| !uid.is_empty());
    let uid = account.and_then(|account| account.metadata.uid.clone());
    let outcome = match (uid, wanted) {
        (Some(uid), wanted) if wanted.as_ref().is_none_or(|wanted| *wanted == uid) => {
            let whole = ["token", "namespace"].iter().all(|part| {
                secret.data.as_ref().and_then(|data| data.get(*part)).is_some_and(|bytes| !bytes.0.is_empty())
            });
            if whole {
                return Ok(Next::Rest);
            }
            let body = json!({ "metadata": { "annotations": { ACCOUNT_UID: uid } } });
            ctx.patch(&*secret, Patch::Merge, &body).await.map(|_| ())
        }
        _ => {
            let conditions = Preconditions {
                uid: secret.metadata.uid.clone(),
                resource_version: secret.metadata.resource_version.clone(),
            };
            let options = DeleteOptions { preconditions: Some(conditions), ..DeleteOptions::default() };
            ctx.delete(&*secret, options).await
        }
    };
    match outcome {
        Err(error) if write::is_not_found(&error) => Ok(Next::Rest),
        other => Ok(other.map(|()| Next::Rest)?),
    }
}
