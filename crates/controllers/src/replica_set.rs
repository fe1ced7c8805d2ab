//! Replica sets: pods by a set-based selector; what deployments are made of.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use skiff_api::LabelSelector;
use skiff_client::controller::Itself;

use crate::replicas::{Condition, MemberOf, Replicated, Tally, reconcile};
use crate::shared::adopt::{self, ORPHANS, OrphanOf, Selects};
use crate::table::{Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "replicaset-controller",
    component: "replicaset-controller",
    wakes: &[
        on::<ReplicaSet, Itself>(),
        on::<Pod, MemberOf<ReplicaSet>>().indexed(&[ORPHANS]),
        on::<Pod, OrphanOf<ReplicaSet>>(),
    ],
    may: &[
        ("get", "replicasets"),
        ("create delete patch", "pods"),
        ("patch", "replicasets/status"),
        ("update", "replicasets/finalizers"),
        ("create patch", "events"),
    ],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile::<ReplicaSet>(ctx, key)),
};

impl Selects for ReplicaSet {
    fn selector(&self) -> Option<LabelSelector> {
        adopt::some(&self.spec.selector)
    }
}

impl Replicated for ReplicaSet {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn conditions(&self) -> Vec<Condition> {
        let conditions = self.status.as_ref().and_then(|status| status.conditions.clone());
        let neutral = |held: ReplicaSetCondition| Condition {
            type_: held.type_.unwrap_or_default(),
            status: held.status.unwrap_or_default(),
            reason: held.reason,
            message: held.message,
            last_transition_time: held.last_transition_time,
        };
        conditions.unwrap_or_default().into_iter().map(neutral).collect()
    }

    fn report(&mut self, tally: Tally, conditions: Option<Vec<Condition>>) {
        let own = |condition: Condition| ReplicaSetCondition {
            type_: Some(condition.type_),
            status: Some(condition.status),
            reason: condition.reason,
            message: condition.message,
            last_transition_time: condition.last_transition_time,
        };
        // Zeros are left out, as upstream's encoding does.
        let some = |number: i32| (number != 0).then_some(number);
        self.status = Some(ReplicaSetStatus {
            replicas: tally.replicas,
            fully_labeled_replicas: some(tally.fully_labeled),
            ready_replicas: some(tally.ready),
            available_replicas: some(tally.available),
            observed_generation: tally.generation,
            terminating_replicas: Some(tally.terminating),
            conditions: conditions.map(|all| all.into_iter().map(own).collect()),
        });
    }
}
