//! VolumeAttachment: the wish that a volume be attached to a node, and what became of it.

use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentStatus, VolumeError};
use skiff_api::{Errors, names};

use crate::kinds::core::persistent_volume;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of VolumeAttachment.
pub(crate) const KIND: Row =
    Row { status: true, unconditional_update: false, answer_deleted: true, ..row::<VolumeAttachment>() };

/// Most bytes of what a driver tells about an attachment, and of its errors.
const LARGEST: usize = 256 * 1024;

fn failure(errors: &mut Errors, field: &str, error: Option<&VolumeError>) {
    let Some(error) = error else { return };
    if error.message.as_ref().is_some_and(|message| message.len() > LARGEST) {
        errors.too_long(&format!("{field}.message"), LARGEST);
    }
    if let Some(code) = error.error_code.filter(|code| *code < 0) {
        let why = "must be between 0 and 2147483647, inclusive";
        errors.invalid(&format!("{field}.errorCode"), &code, why);
    }
}

impl Kind for VolumeAttachment {
    fn prepare_create(&mut self) {
        self.status = Some(VolumeAttachmentStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        errors.at("spec", |errors| {
            let spec = &self.spec;
            super::driver(errors, "attacher", &spec.attacher);
            let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            match (&spec.source.persistent_volume_name, &spec.source.inline_volume_spec) {
                (None, None) => errors.required("source", one),
                (Some(_), Some(_)) => errors.forbidden("source", one),
                (Some(name), None) if name.is_empty() => {
                    let why = "must specify non empty persistentVolumeName";
                    errors.required("source.persistentVolumeName", why);
                }
                (Some(name), None) => {
                    let field = "source.persistentVolumeName";
                    check::named(errors, field, name, names::dns1123_subdomain(name));
                }
                (None, Some(volume)) => {
                    let field = "source.inlineVolumeSpec";
                    errors.at(field, |errors| persistent_volume::spec(volume, true, errors));
                }
            }
            check::named(errors, "nodeName", &spec.node_name, names::dns1123_subdomain(&spec.node_name));
        });
        let Some(status) = &self.status else { return };
        errors.at("status", |errors| {
            let facts = status.attachment_metadata.iter().flatten();
            if facts.map(|(key, value)| key.len() + value.len()).sum::<usize>() > LARGEST {
                errors.too_long("attachmentMetadata", LARGEST);
            }
            failure(errors, "attachError", status.attach_error.as_ref());
            failure(errors, "detachError", status.detach_error.as_ref());
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec", &self.spec, &old.spec);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Attacher", |it, _| it.spec.attacher.as_str().into()),
            Column::<Self>::text("PV", |it, _| {
                it.spec.source.persistent_volume_name.clone().unwrap_or_default().into()
            }),
            Column::<Self>::text("Node", |it, _| it.spec.node_name.as_str().into()),
            Column::<Self>::text("Attached", |it, _| {
                it.status.as_ref().is_some_and(|status| status.attached).into()
            }),
            Column::age(),
        ]
    }
}
