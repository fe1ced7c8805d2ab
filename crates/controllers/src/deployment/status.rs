//! What a deployment's replica sets amount to, and what that means for its conditions; pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::Scene;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// The deadline that means none.
const NO_DEADLINE: i32 = i32::MAX;

/// Something the status must say besides the numbers.
#[derive(Debug)]
pub(super) enum News {
    /// A set of this name was made.
    Created(String),
    /// One could not be made, as the conditions tell it, and why.
    Failed(String, kube::Error),
    /// Its name was taken by a stranger.
    Collision,
}

/// The status as it shall be.
pub(super) fn status(scene: &Scene<'_>, news: Option<&News>, now: Timestamp) -> DeploymentStatus {
    let deployment = scene.deployment;
    let old = deployment.status.clone().unwrap_or_default();
    let of = |set: &k8s_openapi::api::apps::v1::ReplicaSet| set.status.clone().unwrap_or_default();
    let sum = |count: fn(&ReplicaSetStatus) -> i32| scene.all().map(|set| count(&of(set))).sum::<i32>();
    let replicas = sum(|status| status.replicas);
    let ready = sum(|status| status.ready_replicas.unwrap_or(0));
    let available = sum(|status| status.available_replicas.unwrap_or(0));
    // Sets that have not told yet leave the sum unknown.
    let terminating = scene.all().map(|set| of(set).terminating_replicas).sum::<Option<i32>>();
    let updated = scene.new.as_ref().map_or(0, |set| of(set).replicas);
    let total: i32 = scene.all().map(|set| super::plan::replicas(set)).sum();
    // Zeros are left out, as upstream's encoding does.
    let some = |number: i32| (number != 0).then_some(number);
    let collisions = match news {
        Some(News::Collision) => Some(old.collision_count.unwrap_or(0) + 1),
        _ => old.collision_count,
    };
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(replicas),
        updated_replicas: some(updated),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some((total - available).max(0)),
        terminating_replicas: terminating,
        collision_count: collisions,
        conditions: None,
    };
    let mut conditions = Conditions { list: old.conditions.clone().unwrap_or_default(), now };
    if available >= scene.wanted() - scene.slack().1 {
        let message = "Deployment has minimum availability.";
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message.to_owned());
    } else {
        let message = "Deployment does not have minimum availability.";
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message.to_owned());
    }
    progress(scene, &old, &status, news, &mut conditions);
    failure(scene, news, &mut conditions);
    status.conditions = (!conditions.list.is_empty()).then_some(conditions.list);
    status
}

fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != NO_DEADLINE)?;
    Some(SignedDuration::from_secs(i64::from(seconds)))
}

fn progress(
    scene: &Scene<'_>,
    old: &DeploymentStatus,
    new: &DeploymentStatus,
    news: Option<&News>,
    conditions: &mut Conditions,
) {
    let deployment = scene.deployment;
    let Some(deadline) = deadline(deployment) else { return conditions.remove(PROGRESSING) };
    let held = conditions.find(PROGRESSING).cloned();
    let reason = held.as_ref().and_then(|held| held.reason.clone()).unwrap_or_default();
    if deployment.spec.paused == Some(true) {
        if reason != TIMED_OUT && reason != "DeploymentPaused" {
            conditions.set(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".to_owned());
        }
        return;
    }
    if reason == "DeploymentPaused" {
        conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
    }
    match news {
        Some(News::Created(name)) => {
            let message = format!("Created new replica set \"{name}\"");
            return conditions.renew(PROGRESSING, "True", "NewReplicaSetCreated", message);
        }
        Some(News::Failed(why, _)) => {
            return conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", why.clone());
        }
        _ => {}
    }
    let Some(set) = &scene.new else { return };
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let is_done = count(new.updated_replicas) == scene.wanted()
        && count(new.replicas) == scene.wanted()
        && count(new.available_replicas) == scene.wanted();
    let was_done = count(new.replicas) == count(new.updated_replicas) && reason == DONE;
    if was_done {
        return;
    }
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    let moved = count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas);
    if is_done {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        conditions.set(PROGRESSING, "True", DONE, message);
    } else if moved {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        conditions.renew(PROGRESSING, "True", "ReplicaSetUpdated", message);
    } else if held.is_none() {
        let message = format!("Found new replica set \"{name}\"");
        conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
    } else if reason != TIMED_OUT && since(held.as_ref()).is_some_and(|at| at + deadline < conditions.now) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        conditions.set(PROGRESSING, "False", TIMED_OUT, message);
    }
}

fn failure(scene: &Scene<'_>, news: Option<&News>, conditions: &mut Conditions) {
    if let Some(News::Failed(why, _)) = news {
        return conditions.set(REPLICA_FAILURE, "True", "FailedCreate", why.clone());
    }
    let of_set = scene.new.iter().chain(&scene.old).find_map(|set| {
        let list = set.status.as_ref()?.conditions.as_ref()?;
        list.iter().find(|condition| condition.type_.as_deref() == Some(REPLICA_FAILURE))
    });
    match of_set {
        Some(held) => conditions.set(
            REPLICA_FAILURE,
            held.status.as_deref().unwrap_or("True"),
            held.reason.as_deref().unwrap_or_default(),
            held.message.clone().unwrap_or_default(),
        ),
        None => conditions.remove(REPLICA_FAILURE),
    }
}

/// When a condition was last renewed.
fn since(condition: Option<&DeploymentCondition>) -> Option<Timestamp> {
    let condition = condition?;
    condition.last_update_time.as_ref().or(condition.last_transition_time.as_ref()).map(|time| time.0)
}

/// When the roll-out will have taken too long, if it is still under way.
pub(super) fn times_out(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let deadline = deadline(deployment)?;
    let condition = status.conditions.iter().flatten().find(|it| it.type_.as_deref() == Some(PROGRESSING))?;
    let reason = condition.reason.as_deref().unwrap_or_default();
    if [DONE, TIMED_OUT, "DeploymentPaused"].contains(&reason) {
        return None;
    }
    Some(since(Some(condition))? + deadline)
}

struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn find(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_.as_deref() == Some(kind))
    }

    fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.type_.as_deref() != Some(kind));
    }

    /// Sets a condition, unless it says so already.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let same = |held: &DeploymentCondition| {
            held.status.as_deref() == Some(status) && held.reason.as_deref() == Some(reason)
        };
        if !self.find(kind).is_some_and(same) {
            self.renew(kind, status, reason, message);
        }
    }

    /// Sets a condition and notes that it was set now.
    fn renew(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let now = Time(Timestamp::from_second(self.now.as_second()).unwrap_or(self.now));
        let held = self.find(kind).filter(|held| held.status.as_deref() == Some(status));
        let since = held.and_then(|held| held.last_transition_time.clone());
        let fresh = DeploymentCondition {
            type_: Some(kind.to_owned()),
            status: Some(status.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: since.or_else(|| Some(now.clone())),
            last_update_time: Some(now),
        };
        self.remove(kind);
        self.list.push(fresh);
    }
}
