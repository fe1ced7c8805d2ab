//! PersistentVolume: a piece of storage with a life of its own; follows upstream's `pkg/registry/core/persistentvolume`.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use skiff_api::Errors;
use skiff_api::quantity::Quantity;

use crate::kinds::core::pod;
use crate::kinds::{Column, Kind, Row, check, row};

mod source;

/// The row of PersistentVolume.
pub(crate) const KIND: Row =
    Row { short: &["pv"], status: true, answer_deleted: true, ..row::<PersistentVolume>() };

/// How a volume may be mounted, and how tables say so, in their order.
const MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
const MODES_SORTED: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Access modes as tables show them.
pub(super) fn shown_modes(modes: Option<&Vec<String>>) -> String {
    let has = |mode: &str| modes.iter().any(|modes| modes.iter().any(|it| it == mode));
    MODES.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// Checks access modes that are there.
pub(super) fn access_modes(errors: &mut Errors, modes: &[String]) {
    for mode in modes {
        check::one_of(errors, "accessModes", mode, MODES_SORTED);
    }
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    let others = modes.iter().any(|mode| mode != "ReadWriteOncePod" && MODES_SORTED.contains(&mode.as_str()));
    if alone && others {
        errors.forbidden("accessModes", "may not use ReadWriteOncePod with other access modes");
    }
}

/// A class's name, if one is given.
pub(super) fn class_name(errors: &mut Errors, field: &str, name: Option<&String>) {
    if let Some(name) = check::given(name) {
        check::named(errors, field, name, skiff_api::names::dns1123_subdomain(name));
    }
}

/// Whether a volume is a file system or a device.
pub(super) fn volume_mode(errors: &mut Errors, mode: Option<&String>) {
    if let Some(mode) = mode {
        check::one_of(errors, "volumeMode", mode, &["Block", "Filesystem"]);
    }
}

fn capacity(spec: &PersistentVolumeSpec, errors: &mut Errors) {
    let amounts = spec.capacity.clone().unwrap_or_default();
    if amounts.is_empty() {
        errors.required("capacity", "");
    }
    if !amounts.contains_key("storage") || amounts.len() > 1 {
        let shown = skiff_api::decode::tree(&amounts).unwrap_or_default();
        errors.not_supported("capacity", &shown, &["storage"]);
    }
    for (name, amount) in &amounts {
        errors.entry("capacity", name, |errors| match Quantity::parse(&amount.0) {
            Err(why) => errors.invalid("", &amount.0, why.to_string()),
            Ok(amount) if amount.is_negative() || amount.is_zero() => {
                errors.invalid("", &amount.to_string(), "must be greater than zero");
            }
            Ok(_) => {}
        });
    }
}

/// Checks a volume; one that stands in an attachment may say less.
pub(crate) fn spec(spec: &PersistentVolumeSpec, inline: bool, errors: &mut Errors) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required("accessModes", "");
    }
    access_modes(errors, modes);
    if inline {
        for (field, given) in [
            ("claimRef", spec.claim_ref.is_some()),
            ("capacity", spec.capacity.is_some()),
            ("nodeAffinity", spec.node_affinity.is_some()),
            ("storageClassName", check::given(spec.storage_class_name.as_ref()).is_some()),
        ] {
            if given {
                errors.forbidden(field, INLINE);
            }
        }
        if spec.csi.is_none() {
            errors.required("csi", "has to be specified in the context of inline volumes");
        }
    } else {
        capacity(spec, errors);
        class_name(errors, "storageClassName", spec.storage_class_name.as_ref());
    }
    let policy = check::given(spec.persistent_volume_reclaim_policy.as_ref());
    if let Some(policy) = policy {
        check::one_of(errors, "persistentVolumeReclaimPolicy", policy, &["Delete", "Recycle", "Retain"]);
    }
    let affinity = spec.node_affinity.as_ref();
    if let Some(affinity) = affinity {
        errors.at("nodeAffinity", |errors| match &affinity.required {
            Some(required) => {
                errors.at("required", |errors| pod::validate_node_selector(required, errors));
            }
            None => errors.required("required", "must specify required node constraints"),
        });
    }
    source::validate(spec, errors);
    if spec.local.is_some() && affinity.is_none_or(|affinity| affinity.required.is_none()) {
        errors.required("nodeAffinity", "Local volume requires node affinity");
    }
    if spec.host_path.as_ref().is_some_and(|path| path.path.trim_end_matches('/').is_empty())
        && policy == Some("Recycle")
    {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden("persistentVolumeReclaimPolicy", why);
    }
    volume_mode(errors, spec.volume_mode.as_ref());
    if let Some(class) = &spec.volume_attributes_class_name {
        if class.is_empty() {
            errors.required("volumeAttributesClassName", "an empty string is disallowed");
        }
        class_name(errors, "volumeAttributesClassName", Some(class));
        if spec.csi.is_none() {
            errors.required("csi", "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn status(volume: &PersistentVolume) -> &str {
    if volume.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

impl Kind for PersistentVolume {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        check::default_text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        check::default_text(&mut spec.volume_mode, "Filesystem");
        check::canonical(spec.capacity.as_mut());
        source::defaults(spec);
        check::default_text(&mut self.status.get_or_insert_default().phase, "Pending");
    }

    fn prepare_create(&mut self) {
        let phase = Some("Pending".to_owned());
        self.status = Some(PersistentVolumeStatus { phase, ..PersistentVolumeStatus::default() });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let empty = PersistentVolumeSpec::default();
        let given = self.spec.as_ref().unwrap_or(&empty);
        errors.at("spec", |errors| spec(given, false, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (new, before) = (self.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        let bare = |spec: &PersistentVolumeSpec| {
            let mut source = source::alone(spec);
            // A secret for growing may be added to a volume that had none.
            if let Some(csi) = &mut source.csi
                && before.csi.as_ref().is_some_and(|csi| csi.controller_expand_secret_ref.is_none())
            {
                csi.controller_expand_secret_ref = None;
            }
            source
        };
        let (wanted, had) = (bare(&new), bare(&before));
        if wanted != had {
            let why = "spec.persistentvolumesource is immutable after creation";
            let diff = check::difference(&had, &wanted);
            errors.forbidden("spec.persistentvolumesource", format!("{why}\n{diff}"));
        }
        errors.immutable("volumeMode", &new.volume_mode, &before.volume_mode);
        if before.node_affinity.is_some() {
            errors.immutable("nodeAffinity", &new.node_affinity, &before.node_affinity);
        }
        if before.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
            let why = "update from non-nil value to nil is forbidden";
            errors.forbidden("spec.volumeAttributesClassName", why);
        }
    }

    fn columns() -> Vec<Column<Self>> {
        fn given(volume: &PersistentVolume, pick: fn(&PersistentVolumeSpec) -> Option<&String>) -> &str {
            volume.spec.as_ref().and_then(pick).map(String::as_str).unwrap_or_default()
        }
        vec![
            Column::<Self>::text("Capacity", |volume, _| {
                let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
                let storage = capacity.and_then(|capacity| capacity.get("storage"));
                storage.map_or("", |amount| amount.0.as_str()).into()
            }),
            Column::<Self>::text("Access Modes", |volume, _| {
                shown_modes(volume.spec.as_ref().and_then(|spec| spec.access_modes.as_ref())).into()
            }),
            Column::<Self>::text("Reclaim Policy", |volume, _| {
                given(volume, |spec| spec.persistent_volume_reclaim_policy.as_ref()).into()
            }),
            Column::<Self>::text("Status", |volume, _| status(volume).into()),
            Column::<Self>::text("Claim", |volume, _| {
                let Some(claim) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
                    return "".into();
                };
                let namespace = claim.namespace.as_deref().unwrap_or_default();
                format!("{namespace}/{}", claim.name.as_deref().unwrap_or_default()).into()
            }),
            Column::<Self>::text("StorageClass", |volume, _| {
                given(volume, |spec| spec.storage_class_name.as_ref()).into()
            }),
            Column::<Self>::text("VolumeAttributesClass", |volume, _| {
                match given(volume, |spec| spec.volume_attributes_class_name.as_ref()) {
                    "" => "<unset>".into(),
                    class => class.into(),
                }
            }),
            Column::<Self>::text("Reason", |volume, _| {
                volume.status.as_ref().and_then(|status| status.reason.clone()).unwrap_or_default().into()
            }),
            Column::age(),
            Column::<Self>::text("VolumeMode", |volume, _| {
                match given(volume, |spec| spec.volume_mode.as_ref()) {
                    "" => "<unset>".into(),
                    mode => mode.into(),
                }
            })
            .wide(),
        ]
    }
}
