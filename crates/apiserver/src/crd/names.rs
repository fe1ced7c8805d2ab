//! Which names a definition gets, and the conditions that follow: pure.
//!
//! Follows upstream's `pkg/controller/status/naming_controller.go`.

use std::collections::HashSet;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::kinds::apiextensions::custom_resource_definition::{holds, set};

/// Names that others of the group hold.
#[derive(Default)]
struct Taken<'a> {
    resources: HashSet<&'a str>,
    kinds: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn by(others: &'a [CustomResourceDefinitionStatus]) -> Self {
        let mut taken = Self::default();
        for names in others.iter().filter_map(|status| status.accepted_names.as_ref()) {
            taken.resources.insert(&names.plural);
            taken.resources.extend(names.singular.as_deref());
            taken.resources.extend(names.short_names.iter().flatten().map(String::as_str));
            taken.kinds.insert(&names.kind);
            taken.kinds.extend(names.list_kind.as_deref());
        }
        taken
    }
}

/// A conflict: reason and message.
type Conflict = Option<(&'static str, String)>;

/// The names that are accepted now, and the last conflict.
fn accepted(crd: &CustomResourceDefinition, taken: &Taken<'_>) -> (CustomResourceDefinitionNames, Conflict) {
    let wanted = &crd.spec.names;
    let before = crd.status.as_ref().and_then(|status| status.accepted_names.clone()).unwrap_or_default();
    let mut names = before.clone();
    let mut conflict = None;
    let free = |name: &str, before: &str, taken: &HashSet<&str>| name == before || !taken.contains(name);
    let in_use = |name: &str| format!("{name:?} is already in use");
    if free(&wanted.plural, &before.plural, &taken.resources) {
        names.plural.clone_from(&wanted.plural);
    } else {
        conflict = Some(("PluralConflict", in_use(&wanted.plural)));
    }
    let optional = |name: &Option<String>| name.clone().unwrap_or_default();
    if free(&optional(&wanted.singular), &optional(&before.singular), &taken.resources) {
        names.singular.clone_from(&wanted.singular);
    } else {
        conflict = Some(("SingularConflict", in_use(&optional(&wanted.singular))));
    }
    let own = before.short_names.as_deref().unwrap_or_default();
    let clashing: Vec<String> = wanted
        .short_names
        .iter()
        .flatten()
        .filter(|name| !own.contains(name) && taken.resources.contains(name.as_str()))
        .map(|name| in_use(name))
        .collect();
    match clashing.as_slice() {
        [] => names.short_names.clone_from(&wanted.short_names),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        several => conflict = Some(("ShortNamesConflict", format!("[{}]", several.join(", ")))),
    }
    if free(&wanted.kind, &before.kind, &taken.kinds) {
        names.kind.clone_from(&wanted.kind);
    } else {
        conflict = Some(("KindConflict", in_use(&wanted.kind)));
    }
    if free(&optional(&wanted.list_kind), &optional(&before.list_kind), &taken.kinds) {
        names.list_kind.clone_from(&wanted.list_kind);
    } else {
        conflict = Some(("ListKindConflict", in_use(&optional(&wanted.list_kind))));
    }
    names.categories.clone_from(&wanted.categories);
    (names, conflict)
}

/// The status that a definition ought to have.
pub(super) fn status(
    crd: &CustomResourceDefinition,
    others: &[CustomResourceDefinitionStatus],
    now: Timestamp,
) -> CustomResourceDefinitionStatus {
    let (names, conflict) = accepted(crd, &Taken::by(others));
    let mut status = crd.status.clone().unwrap_or_default();
    status.accepted_names = Some(names);
    let condition =
        |name: &str, holds: bool, reason: &str, message: &str| CustomResourceDefinitionCondition {
            type_: name.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(Time(now)),
            observed_generation: None,
        };
    let fine = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".to_owned()));
    set(&mut status, condition("NamesAccepted", fine, reason, &message));
    // Once established, always established: objects may be there.
    if fine {
        set(
            &mut status,
            condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
        );
    } else if !holds(crd, "Established") {
        set(&mut status, condition("Established", false, "NotAccepted", "not all names are accepted"));
    }
    let annotations = crd.metadata.annotations.as_ref();
    let approval = annotations.and_then(|map| map.get("api-approved.kubernetes.io")).map(String::as_str);
    if let (true, Some(approval)) = (protected(&crd.spec.group), approval) {
        let (holds, reason, message) = if approval.starts_with("unapproved") {
            (false, "UnapprovedAnnotation", format!("not approved: {approval:?}"))
        } else {
            (true, "ApprovedAnnotation", format!("approved in {approval}"))
        };
        set(&mut status, condition("KubernetesAPIApprovalPolicyConformant", holds, reason, &message));
    }
    status
}

/// Groups that belong to the community.
pub(crate) fn protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}
