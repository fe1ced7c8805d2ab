//! PodTemplate: a pod that is not there yet, under a name of its own.

use k8s_openapi::api::core::v1::PodTemplate;
use skiff_api::Errors;

use super::pod;
use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of PodTemplate.
pub(crate) const KIND: Row = Row { answer_deleted: true, ..row::<PodTemplate>() };

impl Kind for PodTemplate {
    fn set_defaults(&mut self) {
        pod::default_template(self.template.get_or_insert_default());
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.template != old.template
    }

    fn validate(&self, errors: &mut Errors) {
        let template = self.template.clone().unwrap_or_default();
        errors.at("template", |errors| pod::validate_template(&template, errors));
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let template = self.template.as_ref();
        template.map(|template| pod::template_warnings(template, "template")).unwrap_or_default()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Containers", |it, _| workload::containers(it.template.as_ref())),
            Column::<Self>::text("Images", |it, _| workload::images(it.template.as_ref())),
            Column::<Self>::text("Pod Labels", |it, _| {
                let meta = it.template.as_ref().and_then(|template| template.metadata.as_ref());
                check::shown_labels(meta.and_then(|meta| meta.labels.as_ref())).into()
            }),
        ]
    }
}
