//! Priority: the number behind a pod's priority class, or a pod group's, or behind the class that is everybody's default; of
//! which there is one at most.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use skiff_api::ApiError;
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::{Draft, check};

const TABLE: &str = "scheduling.k8s.io/priorityclasses";

pub(super) const PLUGIN: Plugin = Plugin { mutate, validate, ..Plugin::named("Priority") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    if let Some(group) = draft.as_any_mut().downcast_mut::<PodGroup>() {
        let (name, spec) = (group.metadata.name.clone().unwrap_or_default(), &mut group.spec);
        let given = ("pod group spec", &mut spec.priority_class_name, &mut spec.priority);
        return resolve(attempt, &name, given).map(drop);
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let class = resolve(attempt, &name, ("pod spec", &mut spec.priority_class_name, &mut spec.priority))?;
    let policy = class.and_then(|class| class.preemption_policy.clone());
    let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
    if let Some(own) = spec.preemption_policy.as_ref().filter(|own| **own != policy) {
        let why = format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(attempt.forbidden(&name, why));
    }
    spec.preemption_policy = Some(policy);
    Ok(())
}

/// Writes down the class that is asked for, or everybody's, and what it is worth; the class.
fn resolve(
    attempt: &Attempt<'_>,
    name: &str,
    (place, asked, worth): (&str, &mut Option<String>, &mut Option<i32>),
) -> Result<Option<Arc<PriorityClass>>, ApiError> {
    let class = match check::given(asked.as_ref()) {
        Some(class) => match named(attempt, class) {
            Some(class) => Some(class),
            None => {
                let why = format!("no PriorityClass with name {class} was found");
                return Err(attempt.forbidden(name, why));
            }
        },
        None => default(attempt),
    };
    if asked.as_deref().is_none_or(str::is_empty) {
        *asked = class.as_ref().and_then(|class| class.metadata.name.clone());
    }
    let priority = class.as_ref().and_then(|class| class.value).unwrap_or(0);
    if let Some(own) = worth.filter(|own| *own != priority) {
        let why = format!(
            "the integer value of priority ({own}) must not be provided in {place}; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(attempt.forbidden(name, why));
    }
    *worth = Some(priority);
    Ok(class)
}

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(class) = draft.as_any().downcast_ref::<PriorityClass>() else { return Ok(()) };
    let name = class.metadata.name.as_deref().unwrap_or_default();
    let other = default(attempt).filter(|_| class.global_default == Some(true));
    match other.as_ref().and_then(|other| other.metadata.name.as_deref()).filter(|other| *other != name) {
        Some(other) => {
            let why =
                format!("PriorityClass {other} is already marked as default. Only one default can exist");
            Err(attempt.forbidden(name, why))
        }
        None => Ok(()),
    }
}

fn named(attempt: &Attempt<'_>, class: &str) -> Option<Arc<PriorityClass>> {
    let key = Key { table: TABLE.into(), name: class.into() };
    attempt.scope.api.store.get(&key)?.object().decode().ok()
}

/// The class for pods that name none; of several the one worth least, as upstream.
fn default(attempt: &Attempt<'_>) -> Option<Arc<PriorityClass>> {
    let classes = attempt.scope.api.store.snapshot(TABLE).objects;
    // Asked for each pod; most classes are nobody's default, which is seen without decoding them.
    let may_be =
        |json: &[u8]| std::str::from_utf8(json).is_ok_and(|text| text.contains("\"globalDefault\":true"));
    let classes = classes.iter().filter(|(_, stored)| may_be(stored.object().bytes()));
    let classes = classes.filter_map(|(_, stored)| stored.object().decode::<PriorityClass>().ok());
    classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
}
