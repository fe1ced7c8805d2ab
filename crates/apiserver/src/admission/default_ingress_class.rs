//! DefaultIngressClass: the class of an ingress that names none.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use skiff_api::ApiError;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

const TABLE: &str = "networking.k8s.io/ingressclasses";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// The annotation that named the class before there was a field for it.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("DefaultIngressClass") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    let Some(ingress) = draft.as_any_mut().downcast_mut::<Ingress>() else { return Ok(()) };
    let old = ingress.metadata.annotations.as_ref().is_some_and(|map| map.contains_key(OLD_CLASS));
    let spec = ingress.spec.get_or_insert_default();
    if !attempt.creates() || old || spec.ingress_class_name.is_some() {
        return Ok(());
    }
    let classes = attempt.scope.api.store.snapshot(TABLE).objects;
    let classes = classes.iter().filter_map(|(_, stored)| stored.object().decode::<IngressClass>().ok());
    let is_default = |class: &IngressClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|map| map.get(DEFAULT)).is_some_and(|value| value == "true")
    };
    // Of several the newest, then the first by name, as upstream.
    let chosen = classes.filter(|class| is_default(class)).min_by(|a, b| {
        let age = |class: &IngressClass| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        age(b).cmp(&age(a)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
    spec.ingress_class_name = chosen.and_then(|class| class.metadata.name.clone());
    Ok(())
}
