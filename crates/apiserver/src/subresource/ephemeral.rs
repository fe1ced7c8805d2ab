//! `pods/ephemeralcontainers`: the only way to add a container to a pod that is there; none may change or go.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use skiff_api::{ApiError, Errors};

use super::pod_part;
use super::{Of, Sub};
use crate::authz::Authorized;
use crate::verbs::Context;
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("pods"),
    name: "ephemeralcontainers",
    verbs: &["get", "patch", "update"],
    kind: None,
    group_version: None,
    handle,
};

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(pod_part::handle(context, call, take))
}

fn take(pod: &mut Pod, wanted: Pod, errors: &mut Errors) {
    let wanted = wanted.spec.and_then(|spec| spec.ephemeral_containers);
    let spec = pod.spec.get_or_insert_default();
    check(spec.ephemeral_containers.as_deref(), wanted.as_deref(), errors);
    spec.ephemeral_containers = wanted;
}

fn check(old: Option<&[EphemeralContainer]>, new: Option<&[EphemeralContainer]>, errors: &mut Errors) {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    errors.at("spec", |errors| {
        for was in old {
            match new.iter().find(|container| container.name == was.name) {
                Some(is) if is == was => {}
                Some(_) => {
                    let why = format!("existing ephemeral containers {:?} may not be changed\n", was.name);
                    errors.forbidden("ephemeralContainers", why);
                }
                None => {
                    let why = format!("existing ephemeral containers {:?} may not be removed\n", was.name);
                    errors.forbidden("ephemeralContainers", why);
                }
            }
        }
        for (index, container) in new.iter().enumerate() {
            errors.item("ephemeralContainers", index, |errors| {
                if container.name.is_empty() {
                    errors.required("name", "");
                }
                if container.image.as_deref().unwrap_or_default().is_empty() {
                    errors.required("image", "");
                }
            });
        }
    });
}
