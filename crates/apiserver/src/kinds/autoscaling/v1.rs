//! HorizontalPodAutoscaler in v1, which knows of processor time only; the rest travels in annotations.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use skiff_api::Errors;

use super::{convert, horizontal_pod_autoscaler as v2};
use crate::kinds::{Between, Column, Kind, Row, check, row};

static CONVERSION: Between<
    k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler,
    HorizontalPodAutoscaler,
> = Between { served: convert::to_v1, stored: convert::to_v2 };

/// The row of the view.
pub(crate) const KIND: Row = Row {
    short: &["hpa"],
    categories: &["all"],
    status: true,
    converts: Some(&CONVERSION),
    ..row::<HorizontalPodAutoscaler>()
};

impl Kind for HorizontalPodAutoscaler {
    fn set_defaults(&mut self) {
        self.spec.min_replicas.get_or_insert(1);
        // What is stored is what is answered: the usual metric is seen in v1 too.
        *self = convert::to_v1(convert::to_v2(self.clone()));
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(Default::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        let spec = |it: &Self| convert::to_v2(it.clone()).spec;
        spec(self) != spec(old)
    }

    fn validate(&self, errors: &mut Errors) {
        // Upstream checks the internal form, whatever the version that came.
        let whole = convert::to_v2(self.clone());
        errors.at("spec", |errors| v2::validate_spec(&whole.spec, errors));
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = self.status.clone().unwrap_or_default();
        check::not_negative(errors, "status.currentReplicas", status.current_replicas);
        check::not_negative(errors, "status.desiredReplicas", status.desired_replicas);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Reference", |it, _| v2::columns_of(&convert::to_v2(it.clone()), 0)),
            Column::<Self>::text("Targets", |it, _| v2::columns_of(&convert::to_v2(it.clone()), 1)),
            Column::<Self>::text("MinPods", |it, _| v2::columns_of(&convert::to_v2(it.clone()), 2)),
            Column::<Self>::text("MaxPods", |it, _| v2::columns_of(&convert::to_v2(it.clone()), 3)),
            Column::<Self>::text("Replicas", |it, _| v2::columns_of(&convert::to_v2(it.clone()), 4)),
            Column::age(),
        ]
    }
}
