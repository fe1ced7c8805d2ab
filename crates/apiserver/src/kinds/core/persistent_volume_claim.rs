//! PersistentVolumeClaim: a namespace's wish for storage; follows upstream's `pkg/registry/core/persistentvolumeclaim`.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedLocalObjectReference,
    TypedObjectReference,
};
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use super::persistent_volume::{access_modes, class_name, shown_modes, volume_mode};
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of PersistentVolumeClaim.
pub(crate) const KIND: Row =
    Row { short: &["pvc"], status: true, answer_deleted: true, ..row::<PersistentVolumeClaim>() };

/// Where the class stood before it had a field.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const RESIZE: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Fills in what a claim, or a template of one, leaves out.
pub(crate) fn defaults(spec: &mut PersistentVolumeClaimSpec) {
    check::default_text(&mut spec.volume_mode, "Filesystem");
    if let Some(resources) = &mut spec.resources {
        check::canonical(resources.requests.as_mut());
        check::canonical(resources.limits.as_mut());
    }
}

/// Where data comes from stands in two fields that say the same.
fn agree_on_source(spec: &mut PersistentVolumeClaimSpec) {
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(local), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: local.api_group.clone(),
                kind: local.kind.clone(),
                name: local.name.clone(),
                namespace: None,
            });
        }
        (None, Some(any)) if any.namespace.as_deref().is_none_or(str::is_empty) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: any.api_group.clone(),
                kind: any.kind.clone(),
                name: any.name.clone(),
            });
        }
        _ => {}
    }
}

fn source(errors: &mut Errors, group: Option<&String>, kind: &str, name: &str) {
    for (field, text) in [("name", name), ("kind", kind)] {
        if text.is_empty() {
            errors.required(field, "");
        }
    }
    match check::given(group) {
        None if kind != "PersistentVolumeClaim" => {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid("", kind, why);
        }
        None => {}
        Some(group) => check::named(errors, "apiGroup", group, names::dns1123_subdomain(group)),
    }
}

/// Checks a claim, or a template of one.
pub(crate) fn spec(spec: &PersistentVolumeClaimSpec, errors: &mut Errors) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required("accessModes", "at least 1 access mode is required");
    }
    if let Some(selector) = &spec.selector {
        check::label_selector(errors, "selector", selector);
    }
    access_modes(errors, modes);
    match asked(spec).map(Quantity::parse) {
        None => errors.required("resources[storage]", ""),
        Some(Err(why)) => {
            errors.invalid("resources[storage]", asked(spec).unwrap_or_default(), why.to_string())
        }
        Some(Ok(amount)) if amount.is_zero() || amount.is_negative() => {
            errors.invalid("resources[storage]", &amount.to_string(), "must be greater than zero");
        }
        Some(Ok(_)) => {}
    }
    class_name(errors, "storageClassName", spec.storage_class_name.as_ref());
    volume_mode(errors, spec.volume_mode.as_ref());
    if let Some(from) = &spec.data_source {
        errors.at("dataSource", |errors| source(errors, from.api_group.as_ref(), &from.kind, &from.name));
    }
    let Some(from) = &spec.data_source_ref else {
        return class_name(errors, "volumeAttributesClassName", spec.volume_attributes_class_name.as_ref());
    };
    errors.at("dataSourceRef", |errors| source(errors, from.api_group.as_ref(), &from.kind, &from.name));
    if let Some(local) = &spec.data_source {
        if check::given(from.namespace.as_ref()).is_some() {
            errors.invalid(
                "",
                "dataSource",
                "may not be specified when dataSourceRef.namespace is specified",
            );
        } else if (&local.api_group, &local.kind, &local.name) != (&from.api_group, &from.kind, &from.name) {
            errors.invalid("", "dataSource", "must match dataSourceRef");
        }
    }
    class_name(errors, "volumeAttributesClassName", spec.volume_attributes_class_name.as_ref());
}

/// How much a claim asks for.
fn asked(spec: &PersistentVolumeClaimSpec) -> Option<&str> {
    Some(spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.as_str())
}

fn beta_class(claim: &PersistentVolumeClaim) -> Option<&String> {
    claim.metadata.annotations.as_ref()?.get(BETA_CLASS)
}

/// True if the class may be filled in: there was none, neither as a field nor as a different annotation.
fn class_filled_in(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> bool {
    let class = |claim: &PersistentVolumeClaim| claim.spec.as_ref()?.storage_class_name.clone();
    let Some(wanted) = class(new).filter(|_| class(old).is_none()) else { return false };
    beta_class(old).is_none_or(|given| *given == wanted)
}

fn only_size_changes(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim, errors: &mut Errors) {
    let mut after = new.spec.clone().unwrap_or_default();
    let mut before = old.spec.clone().unwrap_or_default();
    if before.volume_name.as_deref().is_none_or(str::is_empty) {
        before.volume_name.clone_from(&after.volume_name);
    }
    if class_filled_in(new, old) {
        after.storage_class_name.clone_from(&before.storage_class_name);
    }
    if beta_class(new) != beta_class(old) {
        let shown = beta_class(new).cloned().unwrap_or_default();
        errors.invalid(&format!("metadata.annotations[{BETA_CLASS}]"), &shown, "field is immutable");
    }
    let bound = new.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    if bound && let Some(requests) = after.resources.as_mut().and_then(|it| it.requests.as_mut()) {
        let held = before.resources.as_ref().and_then(|it| it.requests.as_ref()?.get("storage"));
        match held {
            Some(held) => requests.insert("storage".to_owned(), held.clone()),
            None => requests.remove("storage"),
        };
    }
    after.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
    if after != before {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden("spec", format!("{why}\n{}", check::difference(&before, &after)));
    }
}

impl Kind for PersistentVolumeClaim {
    fn set_defaults(&mut self) {
        defaults(self.spec.get_or_insert_default());
        check::default_text(&mut self.status.get_or_insert_default().phase, "Pending");
    }

    fn prepare_create(&mut self) {
        agree_on_source(self.spec.get_or_insert_default());
        let phase = Some("Pending".to_owned());
        self.status = Some(PersistentVolumeClaimStatus { phase, ..PersistentVolumeClaimStatus::default() });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        agree_on_source(self.spec.get_or_insert_default());
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let empty = PersistentVolumeClaimSpec::default();
        let given = self.spec.as_ref().unwrap_or(&empty);
        errors.at("spec", |errors| spec(given, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        only_size_changes(self, old, errors);
        let (new, before) = (self.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        let parse = |text: Option<&str>| text.and_then(|text| Quantity::parse(text).ok());
        let given = old.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
        let given = parse(given.map(|amount| amount.0.as_str())).unwrap_or(Quantity::units(0));
        if let (Some(size), Some(was)) = (parse(asked(&new)), parse(asked(&before)))
            && size < was
            && size <= given
        {
            errors.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
        }
        errors.immutable("volumeMode", &new.volume_mode, &before.volume_mode);
        if before.volume_attributes_class_name.is_some() {
            let field = "spec.volumeAttributesClassName";
            match new.volume_attributes_class_name.as_deref() {
                None => errors.forbidden(field, "update from non-nil value to nil is forbidden"),
                Some("") => {
                    errors.forbidden(field, "update from non-nil value to an empty string is forbidden")
                }
                Some(_) => {}
            }
        }
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        for state in status.allocated_resource_statuses.iter().flatten().map(|(_, state)| state) {
            check::one_of(errors, "status.allocatedResourceStatus", state, RESIZE);
        }
        for (field, amounts) in
            [("capacity", &status.capacity), ("allocatedResources", &status.allocated_resources)]
        {
            for (name, amount) in amounts.iter().flatten() {
                if !Quantity::parse(&amount.0).is_ok_and(|amount| !amount.is_negative()) {
                    errors.invalid(&format!("status.{field}[{name}]"), &amount.0, check::NOT_NEGATIVE);
                }
            }
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Status", |claim, _| {
                if claim.metadata.deletion_timestamp.is_some() {
                    return "Terminating".into();
                }
                claim.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default().into()
            }),
            Column::<Self>::text("Volume", |claim, _| volume(claim).into()),
            Column::<Self>::text("Capacity", |claim, _| {
                let Some(status) = claim.status.as_ref().filter(|_| !volume(claim).is_empty()) else {
                    return "".into();
                };
                let storage = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
                storage.map_or("", |amount| amount.0.as_str()).into()
            }),
            Column::<Self>::text("Access Modes", |claim, _| {
                let status = claim.status.as_ref().filter(|_| !volume(claim).is_empty());
                shown_modes(status.and_then(|status| status.access_modes.as_ref())).into()
            }),
            Column::<Self>::text("StorageClass", |claim, _| {
                let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
                beta_class(claim).or(class).cloned().unwrap_or_default().into()
            }),
            Column::<Self>::text("VolumeAttributesClass", |claim, _| {
                let class = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
                class.unwrap_or_else(|| "<unset>".to_owned()).into()
            }),
            Column::age(),
            Column::<Self>::text("VolumeMode", |claim, _| {
                let mode = claim.spec.as_ref().and_then(|spec| spec.volume_mode.clone());
                mode.unwrap_or_else(|| "<unset>".to_owned()).into()
            })
            .wide(),
        ]
    }
}

fn volume(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}
