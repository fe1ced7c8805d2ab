//! PodNodeSelector: the pods of a namespace run on the nodes that an annotation of the namespace selects. Off unless
//! asked for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use skiff_api::ApiError;
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::optional("PodNodeSelector") };

const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>().filter(|_| attempt.creates()) else {
        return Ok(());
    };
    let key = Key::new("namespaces", attempt.scope.namespace);
    let namespace =
        attempt.scope.api.store.get(&key).and_then(|stored| stored.object().decode::<Namespace>().ok());
    let annotations = namespace.as_ref().and_then(|namespace| namespace.metadata.annotations.as_ref());
    let Some(selector) = annotations.and_then(|all| all.get(ANNOTATION)) else { return Ok(()) };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(wanted) = parse(selector) else {
        return Err(attempt.forbidden(&name, format!("invalid node selector {selector:?} of the namespace")));
    };
    let own = pod.spec.get_or_insert_default().node_selector.get_or_insert_default();
    if wanted.iter().any(|(key, value)| own.get(*key).is_some_and(|own| own != value)) {
        let why = "pod node label selector conflicts with its namespace node label selector";
        return Err(attempt.forbidden(&name, why));
    }
    own.extend(wanted.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(())
}

/// `a=b,c=d`
fn parse(text: &str) -> Option<BTreeMap<&str, &str>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').map(|(key, value)| (key.trim(), value.trim()))).collect()
}
