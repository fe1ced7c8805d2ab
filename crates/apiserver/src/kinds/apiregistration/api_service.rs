//! APIService: who serves a group and version, this server or one behind a service. What it makes happen is in
//! `aggregate`.
//!
//! Follows upstream's `kube-aggregator/pkg/registry/apiservice/strategy.go` and
//! `pkg/apis/apiregistration/validation/validation.go`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, ServiceReference,
};
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of APIService.
pub(crate) const KIND: Row = Row {
    categories: &["api-extensions"],
    status: true,
    name_rule: names::path_segment,
    unconditional_update: false,
    ..row::<APIService>()
};

/// The condition that says whether requests can be answered.
pub(crate) const AVAILABLE: &str = "Available";

/// The condition of that name, if it is there.
pub(crate) fn available(service: &APIService) -> Option<&APIServiceCondition> {
    let conditions = service.status.as_ref()?.conditions.iter().flatten();
    conditions.into_iter().find(|condition| condition.type_ == AVAILABLE)
}

/// Says how it is with a service's availability; the time changes with the status only.
pub(crate) fn set_available(
    service: &mut APIService,
    status: &str,
    reason: &str,
    message: &str,
    now: Option<Time>,
) {
    let conditions = service.status.get_or_insert_default().conditions.get_or_insert_default();
    let held = conditions.iter().position(|condition| condition.type_ == AVAILABLE);
    let since = held.map(|index| &conditions[index]).filter(|held| held.status == status);
    let condition = APIServiceCondition {
        type_: AVAILABLE.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.map_or(now, |held| held.last_transition_time.clone()),
    };
    match held {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

/// Says that this server itself answers.
pub(crate) fn set_local(service: &mut APIService, now: Option<Time>) {
    set_available(service, "True", "Local", "Local APIServices are always available", now);
}

/// The server behind it; nothing if it is this one.
pub(crate) fn backend(service: &APIService) -> Option<&ServiceReference> {
    service.spec.as_ref()?.service.as_ref()
}

impl Kind for APIService {
    fn set_defaults(&mut self) {
        if let Some(service) = self.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
            service.port.get_or_insert(443);
        }
    }

    fn prepare_create(&mut self) {
        self.status = None;
        if backend(self).is_none() {
            let now = self.metadata.creation_timestamp.clone();
            set_local(self, now);
        }
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.metadata.labels.clone_from(&old.metadata.labels);
        self.metadata.annotations.clone_from(&old.metadata.annotations);
        self.metadata.finalizers.clone_from(&old.metadata.finalizers);
        self.metadata.owner_references.clone_from(&old.metadata.owner_references);
    }

    fn validate(&self, errors: &mut Errors) {
        let none = APIServiceSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        let group = spec.group.as_deref().unwrap_or_default();
        let version = spec.version.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let wanted = format!("{version}.{group}");
        if name != wanted && names::path_segment(name).is_empty() {
            let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.invalid("metadata.name", name, why);
        }
        errors.at("spec", |errors| {
            if group.is_empty() && version != "v1" {
                let why = "only v1 may have an empty group and it better be legacy kube";
                errors.required("group", why);
            }
            if !group.is_empty() {
                check::named(errors, "group", group, names::dns1123_subdomain(group));
            }
            check::named(errors, "version", version, names::dns1035_label(version));
            if !(1..=20000).contains(&spec.group_priority_minimum) {
                let why = "must be positive and less than 20000";
                errors.invalid("groupPriorityMinimum", &spec.group_priority_minimum, why);
            }
            if !(1..=1000).contains(&spec.version_priority) {
                errors.invalid(
                    "versionPriority",
                    &spec.version_priority,
                    "must be positive and less than 1000",
                );
            }
            trust(spec, errors);
        });
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let conditions = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        for (index, condition) in conditions.enumerate() {
            let field = format!("status.conditions[{index}].status");
            check::one_of(errors, &field, &condition.status, &["False", "True", "Unknown"]);
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column {
                description: "The reference to the service that hosts this API endpoint.",
                ..Column::text("Service", |service, _| match backend(service) {
                    Some(at) => format!(
                        "{}/{}",
                        at.namespace.as_deref().unwrap_or_default(),
                        at.name.as_deref().unwrap_or_default()
                    )
                    .into(),
                    None => "Local".into(),
                })
            },
            Column {
                description: "Whether this service is available.",
                ..Column::text("Available", |service, _| {
                    let Some(condition) = available(service) else { return "Unknown".into() };
                    match condition.reason.as_deref().filter(|reason| !reason.is_empty()) {
                        Some(reason) if condition.status != "True" => {
                            format!("{} ({reason})", condition.status).into()
                        }
                        _ => condition.status.clone().into(),
                    }
                })
            },
            Column::age(),
        ]
    }
}

/// Where the server is and how it must prove to be the right one.
fn trust(spec: &APIServiceSpec, errors: &mut Errors) {
    let bundle = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let skip = spec.insecure_skip_tls_verify == Some(true);
    let Some(service) = &spec.service else {
        if bundle > 0 {
            let shown = format!("{bundle} bytes");
            errors.invalid("caBundle", &shown, "local APIServices may not have a caBundle");
        }
        if skip {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.invalid("insecureSkipTLSVerify", &true, why);
        }
        return;
    };
    errors.at("service", |errors| {
        if service.namespace.as_deref().unwrap_or_default().is_empty() {
            errors.required("namespace", "");
        }
        if service.name.as_deref().unwrap_or_default().is_empty() {
            errors.required("name", "");
        }
        let port = service.port.unwrap_or_default();
        if !(1..=65535).contains(&port) {
            errors.invalid("port", &port, format!("port is not valid: {}", check::PORT_RANGE));
        }
    });
    if skip && bundle > 0 {
        errors.invalid("insecureSkipTLSVerify", &true, "may not be true if caBundle is present");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, faults, printed};

    const NOW: &str = "2026-11-26T10:05:00Z";

    #[test]
    fn services_are_named_after_what_they_serve() {
        assert_eq!(
            faults::<APIService>(
                "{metadata: {name: x}, spec: {group: a.io, version: v1, groupPriorityMinimum: 0, versionPriority: 1001, \
                 service: {port: 0}, caBundle: eA==, insecureSkipTLSVerify: true}}"
            ),
            [
                "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.a.io\"",
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                "spec.service.namespace: Required value",
                "spec.service.name: Required value",
                "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ]
        );
        assert_eq!(
            faults::<APIService>(
                "{metadata: {name: v1beta1.}, spec: {version: v1beta1, groupPriorityMinimum: 1, versionPriority: 1, \
                 caBundle: eA==}}"
            ),
            [
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                "spec.caBundle: Invalid value: \"1 bytes\": local APIServices may not have a caBundle",
            ]
        );
    }

    #[test]
    fn tables_say_who_answers_and_whether_it_does() {
        let local = created::<APIService>("{metadata: {name: v1.a.io}, spec: {group: a.io, version: v1}}");
        assert_eq!(printed(&local, NOW), "Service=Local Available=True Age=<unknown>");
        let mut remote = created::<APIService>(
            "{metadata: {name: v1.a.io}, spec: {group: a.io, version: v1, service: {namespace: ns, name: s}}}",
        );
        assert_eq!(printed(&remote, NOW), "Service=ns/s Available=Unknown Age=<unknown>");
        assert_eq!(backend(&remote).unwrap().port, Some(443));
        set_available(&mut remote, "False", "MissingEndpoints", "", None);
        assert_eq!(printed(&remote, NOW), "Service=ns/s Available=False (MissingEndpoints) Age=<unknown>");
    }
}
