//! `serviceaccounts/token`: a new token for an account, perhaps bound to a pod, a secret or a node (TokenRequest).
//!
//! Follows upstream's `pkg/registry/core/serviceaccount/storage/token.go`.

use futures::future::BoxFuture;
use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use skiff_api::{ApiError, Errors, Object, Resource, meta};
use skiff_store::Key;

use super::{Of, Sub};
use crate::api::Api;
use crate::authn::account::{Bound, Wanted};
use crate::authz::{self, Authorized};
use crate::request::options::WriteOptions;
use crate::verbs::{Context, input};
use crate::wire::{self, Response};

mod node;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("serviceaccounts"),
    name: "token",
    verbs: &["create"],
    kind: Some("TokenRequest"),
    group_version: Some(("authentication.k8s.io", "v1")),
    handle,
};

const HOUR: i64 = 3600;
const LEAST: i64 = 600;
const MOST: i64 = 1 << 32;
/// What the volumes that every pod gets ask for. Old clients do not read their token again, so these live for a year,
/// and those who use them after this time are counted.
const EXTENDED: i64 = HOUR + 7;
const YEAR: i64 = 365 * 24 * HOUR;

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(issue(context, call))
}

async fn issue(context: Context, call: Authorized) -> Result<Response, ApiError> {
    let options = WriteOptions::parse(&call.info.query, "CreateOptions")?;
    let (parts, body) = call.request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let request: TokenRequest =
        input::typed("authentication.k8s.io/v1", "TokenRequest", &json, options.strictness)?.object;
    let (namespace, name) = (&context.target.namespace, &context.target.name);
    let named = request.metadata.name.as_deref().unwrap_or_default();
    if !named.is_empty() && named != name {
        let why = format!("the name of the object ({named}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(why));
    }
    let api = &context.api;
    let mut spec = request.spec.unwrap_or_default();
    let wanted = spec.expiration_seconds.unwrap_or(HOUR);
    spec.expiration_seconds = Some(wanted);
    check(&spec)?;
    let account = context.scope(&call.user).existing().await?;
    if authz::node::name(&call.user).is_some() {
        node::allow(&context, &call.user, &spec).await?;
    }
    let audiences = spec.audiences.get_or_insert_default();
    if audiences.is_empty() {
        audiences.clone_from(&api.issuer.audiences);
    }
    let bound = match &spec.bound_object_ref {
        Some(reference) => bound(api, namespace, name, reference)?,
        None => Vec::new(),
    };
    let now = api.clock.now_seconds();
    let to_itself = *audiences == api.issuer.audiences;
    let lasting = wanted == EXTENDED && to_itself && bound.first().is_some_and(|bound| bound.kind == "pod");
    let token = api.issuer.issue(&Wanted {
        namespace,
        account: name,
        account_uid: &account.meta().uid,
        audiences,
        bound: &bound,
        now: now.as_second(),
        life: if lasting { YEAR } else { wanted },
        warn_after: lasting.then_some(EXTENDED),
    });
    let token = token.ok_or_else(|| ApiError::internal("failed to generate token"))?;
    let ends = now.checked_add(SignedDuration::from_secs(wanted)).unwrap_or(now);
    let answer = TokenRequest {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            creation_timestamp: Some(Time(now)),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: Some(TokenRequestStatus { token: Some(token), expiration_timestamp: Some(Time(ends)) }),
    };
    Ok(wire::encoded(201, &answer))
}

fn check(spec: &TokenRequestSpec) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let seconds = spec.expiration_seconds.unwrap_or(HOUR);
    if seconds < LEAST {
        let why = "may not specify a duration less than 10 minutes";
        errors.invalid("spec.expirationSeconds", &seconds, why);
    }
    if seconds > MOST {
        let why = "may not specify a duration larger than 2^32 seconds";
        errors.invalid("spec.expirationSeconds", &seconds, why);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", errors))
    }
}

/// What the token will be bound to; a pod brings its node with it.
fn bound(
    api: &Api,
    namespace: &str,
    account: &str,
    reference: &BoundObjectReference,
) -> Result<Vec<Bound>, ApiError> {
    let version = reference.api_version.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or_default();
    let name = reference.name.as_deref().unwrap_or_default();
    let (kind, plural, place) = match (version, kind) {
        ("v1" | "", "Pod") => ("pod", "pods", namespace),
        ("v1" | "", "Secret") => ("secret", "secrets", namespace),
        ("v1" | "", "Node") => ("node", "nodes", ""),
        (version, kind) => {
            let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(ApiError::bad_request(why));
        }
    };
    let about = |plural: &str| Resource {
        group: "".into(),
        version: "v1".into(),
        plural: plural.into(),
        kind: reference.kind.as_deref().unwrap_or_default().into(),
        namespaced: !place.is_empty(),
    };
    let key = Key::new(plural, meta::key(Some(place), name));
    let stored = api.store.get(&key).ok_or_else(|| ApiError::not_found(&about(plural), name))?;
    let object = stored.object();
    let mut found = vec![whole(kind, object)];
    if kind == "pod" {
        let pod = object.decode::<Pod>().map_err(ApiError::internal)?;
        let spec = pod.spec.as_ref();
        if spec.and_then(|spec| spec.service_account_name.as_deref()) != Some(account) {
            let why = format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            );
            return Err(ApiError::bad_request(why));
        }
        if let Some(node) = spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()) {
            let stored = api.store.get(&Key::new("nodes", node.as_str()));
            let uid = stored.map(|stored| stored.object().meta().uid.to_string()).unwrap_or_default();
            found.push(Bound { kind: "node", name: node, uid });
        }
    }
    match reference.uid.as_deref() {
        Some(uid) if !uid.is_empty() && uid != found[0].uid => {
            let kind = reference.kind.as_deref().unwrap_or_default();
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            Err(ApiError::conflict(&about(kind), name, why))
        }
        _ => Ok(found),
    }
}

fn whole(kind: &'static str, object: &Object) -> Bound {
    let meta = object.meta();
    Bound { kind, name: meta.name.to_string(), uid: meta.uid.to_string() }
}
