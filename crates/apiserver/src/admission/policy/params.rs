//! The parameters of a policy: objects that a binding names or selects. Follows upstream's `generic.CollectParams`.

use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use serde_json::Value;
use skiff_api::{LabelSelector, meta};
use skiff_store::Key;

use crate::admission::attributes::Attributes;
use crate::kinds::check;

/// One evaluation for each; nothing stands for an evaluation without parameters.
///
/// # Errors
/// Upstream's words.
pub(super) fn collect(
    call: &Attributes<'_>,
    kind: Option<&ParamKind>,
    reference: Option<&ParamRef>,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(vec![None]) };
    let text = kind.api_version.as_deref().unwrap_or_default();
    let (group, version) = text.rsplit_once('/').unwrap_or(("", text));
    let name = kind.kind.as_deref().unwrap_or_default();
    let kinds = call.api.catalog.kinds();
    let entry = kinds
        .entries()
        .iter()
        .find(|entry| {
            let resource = &entry.resource;
            &*resource.group == group && &*resource.version == version && &*resource.kind == name
        })
        .ok_or_else(|| {
            format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={name}'")
        })?;
    let own = check::given(reference.namespace.as_ref());
    let namespace = match (entry.resource.namespaced, own) {
        (false, Some(_)) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        (false, None) => "",
        (true, Some(own)) => own,
        (true, None) if call.namespace.is_empty() => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .to_owned(),
            );
        }
        (true, None) => &call.namespace,
    };
    let stored = if let Some(name) = check::given(reference.name.as_ref()) {
        let key = Key { table: entry.table.clone(), name: meta::key(Some(namespace), name) };
        call.api.store.get(&key).into_iter().collect::<Vec<_>>()
    } else {
        let selector = reference.selector.as_ref().and_then(|selector| LabelSelector::of(selector).ok());
        let selector = selector.unwrap_or_default();
        let snapshot = call.api.store.snapshot(&entry.table);
        let prefix =
            if namespace.is_empty() { String::new() } else { meta::key(Some(namespace), "").to_string() };
        let all = snapshot.beginning(&prefix).map(|(_, stored)| stored.clone());
        all.filter(|stored| selector.matches(&stored.object().meta().labels)).collect()
    };
    if stored.is_empty() {
        return match reference.parameter_not_found_action.as_deref() {
            Some("Allow") => Ok(Vec::new()),
            _ => Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()),
        };
    }
    let json = |object: &skiff_api::Object| object.value().map(Some).map_err(|error| error.to_string());
    stored.iter().map(|stored| json(stored.object())).collect()
}
