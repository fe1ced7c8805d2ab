//! The IPAddress objects that tell which service has which address.
//!
//! The server writes them itself, beside what it was asked for, and next to the service's own write; so they pass no
//! admission of their own, as no request of anybody's does this.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use skiff_api::{ApiError, Strictness};
use skiff_store::{Expect, Key, Refused, Write};

use super::families::Family;
use crate::api::Api;
use crate::registry::Scope;
use crate::stored::{Change, Stored};
use crate::user::User;

/// Where they are stored.
pub(super) const TABLE: &str = "networking.k8s.io/ipaddresses";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const OURSELVES: &str = "ipallocator.k8s.io";

/// What an address' family is called.
pub(super) fn family(address: IpAddr) -> &'static str {
    Family::of(address).word()
}

/// True for what the server wrote itself.
pub(super) fn is_ours(record: &IPAddress) -> bool {
    label(record, MANAGED_BY) == Some(OURSELVES)
}

/// True if the labels are as the server writes them.
pub(super) fn is_labelled(record: &IPAddress, address: IpAddr) -> bool {
    is_ours(record) && label(record, FAMILY) == Some(family(address))
}

fn label<'a>(record: &'a IPAddress, key: &str) -> Option<&'a str> {
    record.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// The service that an address belongs to: namespace and name; nothing if it belongs to something else.
pub(super) fn service(record: &IPAddress) -> Option<(&str, &str)> {
    let parent = &record.spec.parent_ref;
    let is_service = parent.group.as_deref().unwrap_or_default().is_empty() && parent.resource == "services";
    is_service.then(|| (parent.namespace.as_deref().unwrap_or_default(), parent.name.as_str()))
}

/// Writes that the service has the address.
///
/// # Errors
/// If there is such an object already, or the store fails.
pub(super) async fn add(api: &Api, address: IpAddr, namespace: &str, name: &str) -> Result<(), ApiError> {
    let Some(entry) = &api.catalog.of::<IPAddress>() else { return Ok(()) };
    let labels = [(FAMILY, family(address)), (MANAGED_BY, OURSELVES)];
    let record = IPAddress {
        metadata: ObjectMeta {
            name: Some(address.to_string()),
            uid: Some(uuid::Uuid::new_v4().to_string()),
            creation_timestamp: Some(Time(api.clock.now_seconds())),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: IPAddressSpec {
            parent_ref: ParentReference {
                resource: "services".to_owned(),
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
                ..ParentReference::default()
            },
        },
    };
    let json = serde_json::to_vec(&record).map_err(ApiError::internal)?;
    let decoded = entry.ops.decode(&json, Strictness::Ignore);
    let draft = decoded.map_err(|fault| ApiError::internal(format!("{fault:?}")))?.object;
    let user = User::server();
    let scope = Scope::own(api, entry, &user);
    let frozen = draft.freeze().map_err(ApiError::internal)?;
    let written = scope.put(&address.to_string(), Expect::Absent, frozen, Change::Added).await;
    written.map(|_| ()).map_err(ApiError::internal)
}

/// Removes what says that somebody has the address, if anything does.
pub(super) async fn remove(api: &Api, address: IpAddr) {
    let key = Key::new(Arc::<str>::from(TABLE), address.to_string());
    let write = Write::delete(key, Expect::Present, |revision, last: &Stored| last.tombstone(revision));
    match api.store.write(write).await {
        Ok(_) | Err(Refused::Missing) => {}
        Err(error) => tracing::warn!(%address, %error, "an address' object cannot be removed"),
    }
}
