//! The replication controller of 2014: pods by equal labels.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use skiff_api::LabelSelector;
use skiff_client::controller::Itself;

use crate::replicas::{Condition, MemberOf, Replicated, Tally, reconcile};
use crate::shared::adopt::{ORPHANS, OrphanOf, Selects};
use crate::table::{Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "replication-controller",
    component: "replication-controller",
    wakes: &[
        on::<ReplicationController, Itself>(),
        on::<Pod, MemberOf<ReplicationController>>().indexed(&[ORPHANS]),
        on::<Pod, OrphanOf<ReplicationController>>(),
    ],
    may: &[
        ("get", "replicationcontrollers"),
        ("create delete patch", "pods"),
        ("patch", "replicationcontrollers/status"),
        ("update", "replicationcontrollers/finalizers"),
        ("create patch", "events"),
    ],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile::<ReplicationController>(ctx, key)),
};

impl Selects for ReplicationController {
    fn selector(&self) -> Option<LabelSelector> {
        let labels = self.spec.as_ref()?.selector.as_ref().filter(|labels| !labels.is_empty())?;
        Some(LabelSelector::of_map(labels))
    }
}

impl Replicated for ReplicationController {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn conditions(&self) -> Vec<Condition> {
        let conditions = self.status.as_ref().and_then(|status| status.conditions.clone());
        let neutral = |held: ReplicationControllerCondition| Condition {
            type_: held.type_,
            status: held.status,
            reason: held.reason,
            message: held.message,
            last_transition_time: held.last_transition_time,
        };
        conditions.unwrap_or_default().into_iter().map(neutral).collect()
    }

    fn report(&mut self, tally: Tally, conditions: Option<Vec<Condition>>) {
        let own = |condition: Condition| ReplicationControllerCondition {
            type_: condition.type_,
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
            last_transition_time: condition.last_transition_time,
        };
        // Zeros are left out, as upstream's encoding does.
        let some = |number: i32| (number != 0).then_some(number);
        self.status = Some(ReplicationControllerStatus {
            replicas: tally.replicas,
            fully_labeled_replicas: some(tally.fully_labeled),
            ready_replicas: some(tally.ready),
            available_replicas: some(tally.available),
            observed_generation: tally.generation,
            conditions: conditions.map(|all| all.into_iter().map(own).collect()),
        });
    }
}
