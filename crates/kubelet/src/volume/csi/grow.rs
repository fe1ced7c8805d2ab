//! Volumes that have grown: the driver makes it known to the node, and the claim then says so.
//!
//! Whoever makes a volume larger (the driver's resizer) writes its new size into the volume and leaves the rest to the node.
//! Follows upstream's `volume/util/operationexecutor/node_expander.go`: what is to be done is [`plan`]ned from the claim, the volume and
//! the size that it is known to have here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition, PersistentVolumeClaimStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::quantity::Quantity;
use skiff_api::volume;
use tonic::Code;

use super::{Driven, PLUGIN, attached, told, unknown};
use crate::csi::proto::{CapacityRange, NodeExpandVolume};
use crate::plugins::client::Refusal;
use crate::record::EventKind;
use crate::volume::kind::Job;
use crate::volume::{Problem, ownership};

const STORAGE: &str = "storage";
const PENDING: &str = "NodeResizePending";
const IN_PROGRESS: &str = "NodeResizeInProgress";
const INFEASIBLE: &str = "NodeResizeInfeasible";
const NODE_ERROR: &str = "NodeResizeError";
/// What a claim says while it grows; all of it goes when it has grown.
const CONDITIONS: &[&str] = &["Resizing", "FileSystemResizePending", "ControllerResizeError", NODE_ERROR];

/// What is told in the claim when its volume is made larger here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tell {
    /// Nothing: another node told it already.
    Nothing,
    /// The size, when it is done.
    Size,
    /// Also that it is under way, and why it failed: the resizer wants to know.
    Progress,
}

/// How large the driver is to make the volume here, and what is told of it; none if nothing is to be done.
fn plan(claim: &PersistentVolumeClaim, held: &PersistentVolume, here: Quantity) -> Option<(Quantity, Tell)> {
    let size = volume::capacity(held);
    if size <= here {
        return None;
    }
    let status = claim.status.as_ref();
    let state = status.and_then(|status| status.allocated_resource_statuses.as_ref()?.get(STORAGE));
    let has_it = volume::storage(status.and_then(|status| status.capacity.as_ref())) >= size;
    let follows = status.is_some_and(|status| status.allocated_resources.is_some());
    match state.map(String::as_str) {
        None if has_it => Some((size, Tell::Nothing)),
        // A resizer that does not follow what becomes of it.
        None if !follows => Some((size, Tell::Size)),
        Some(PENDING | IN_PROGRESS) => Some((size, Tell::Progress)),
        // The resizer is at it, or has to think again.
        _ => None,
    }
}

/// What came of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It may go well next time.
    Passing,
    /// The driver does not do this while the volume is in use.
    InUse,
    /// The driver said no.
    Refused,
    /// And will always say so.
    Infeasible,
}

fn failure(code: Code) -> Failure {
    match code {
        Code::FailedPrecondition => Failure::InUse,
        Code::InvalidArgument | Code::OutOfRange | Code::NotFound => Failure::Infeasible,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Unavailable
        | Code::ResourceExhausted
        | Code::Aborted => Failure::Passing,
        _ => Failure::Refused,
    }
}

/// The claim while its volume is made larger.
fn under_way(claim: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    with_status(claim, |status| {
        status.allocated_resource_statuses.get_or_insert_default().insert(STORAGE.into(), IN_PROGRESS.into());
    })
}

/// The claim with its new size.
fn finished(claim: &PersistentVolumeClaim, size: Quantity) -> PersistentVolumeClaim {
    with_status(claim, |status| {
        status.capacity.get_or_insert_default().insert(STORAGE.to_owned(), size.to_text());
        if let Some(states) = &mut status.allocated_resource_statuses {
            states.remove(STORAGE);
        }
        status.allocated_resource_statuses.take_if(|states: &mut BTreeMap<_, _>| states.is_empty());
        if let Some(conditions) = &mut status.conditions {
            conditions.retain(|condition| !CONDITIONS.contains(&condition.type_.as_str()));
        }
    })
}

/// The claim after its volume could not be made larger.
fn failed(claim: &PersistentVolumeClaim, why: &str, for_ever: bool, now: Timestamp) -> PersistentVolumeClaim {
    with_status(claim, |status| {
        if for_ever {
            let states = status.allocated_resource_statuses.get_or_insert_default();
            states.insert(STORAGE.to_owned(), INFEASIBLE.to_owned());
        }
        let conditions = status.conditions.get_or_insert_default();
        conditions.retain(|condition| condition.type_ != NODE_ERROR);
        conditions.push(PersistentVolumeClaimCondition {
            type_: NODE_ERROR.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(now)),
            message: Some(format!("failed to expand pvc with {why}")),
            ..PersistentVolumeClaimCondition::default()
        });
    })
}

fn with_status(
    claim: &PersistentVolumeClaim,
    change: impl FnOnce(&mut PersistentVolumeClaimStatus),
) -> PersistentVolumeClaim {
    let mut changed = claim.clone();
    change(changed.status.get_or_insert_default());
    changed
}

/// Whether it failed already, and something else is asked for since: the resizer is to take that up.
fn is_outdated(claim: &PersistentVolumeClaim, size: Quantity) -> bool {
    let conditions = claim.status.iter().flat_map(|status| status.conditions.iter().flatten());
    volume::requested(claim) != size && conditions.into_iter().any(|one| one.type_ == NODE_ERROR)
}

/// Makes the volume as large as it should be when a pod gets it.
pub(super) async fn at_mount(
    job: &Job<'_>,
    driven: &Driven,
    claim: &PersistentVolumeClaim,
    held: &PersistentVolume,
) -> Result<(), Problem> {
    if driven.wanted.read_only {
        let status = claim.status.as_ref().and_then(|status| status.capacity.as_ref());
        if driven.fresh && volume::storage(status) < volume::capacity(held) {
            let why = format!(
                "MountVolume.NodeExpandVolume failed for volume {:?} requested read-only file system",
                driven.wanted.name
            );
            tell(job, claim, EventKind::Warning, "FileSystemResizeFailed", &why);
        }
        return Ok(());
    }
    // A pod that has it need not wait for its driver to come back.
    if !driven.fresh && driven.drivers.find(&driven.wanted.driver).is_none() {
        return Ok(());
    }
    let grown = now(job, driven, claim, held).await;
    grown.map_err(|why| Problem::new(format!("MountVolume.Setup failed while expanding volume: {why}")))
}

/// Makes the volume as large as it should be.
pub(super) async fn now(
    job: &Job<'_>,
    driven: &Driven,
    claim: &PersistentVolumeClaim,
    held: &PersistentVolume,
) -> Result<(), Problem> {
    let Driven { wanted, paths, drivers, .. } = driven;
    let volume = wanted.unique();
    let _turn = drivers.turn(&volume).await;
    let claimed = volume::storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref()));
    let Some((size, telling)) = plan(claim, held, drivers.size(&volume, claimed)) else { return Ok(()) };
    let driver = drivers.find(&wanted.driver).ok_or_else(|| unknown(&wanted.driver))?;
    if !driver.expands() {
        return Ok(());
    }
    let objects = &job.inner.objects;
    let mut told = claim.clone();
    if telling == Tell::Progress {
        let marked = objects.write_claim_status(claim, &under_way(claim)).await;
        told = marked.map_err(|why| {
            let what = "MountVolume.NodeExpandVolume failed to mark node expansion in progress";
            Problem::new(format!("{what}: {why}"))
        })?;
    }
    let request = NodeExpandVolume {
        volume_id: wanted.handle.clone(),
        volume_path: paths.target.display().to_string(),
        capacity_range: Some(CapacityRange { required_bytes: size.value(), limit_bytes: 0 }),
        staging_target_path: wanted.staging(&driver, paths),
        volume_capability: Some(told::capability(wanted, &driver, ownership::group(job.pod))),
        secrets: told::secrets(job.inner, wanted.expand_secret.as_ref()).await?,
    };
    if let Err(refusal) = driver.plugin.expand(request).await {
        return refused(job, &told, (size, telling), refusal).await;
    }
    drivers.grown(&volume, size);
    let node = attached::node_name(job);
    let message = format!("MountVolume.NodeExpandVolume succeeded for volume {:?} {node}", wanted.name);
    tell(job, claim, EventKind::Normal, "FileSystemResizeSuccessful", &message);
    if telling == Tell::Nothing {
        return Ok(());
    }
    let written = objects.write_claim_status(&told, &finished(&told, size)).await;
    written
        .map(drop)
        .map_err(|why| Problem::new(format!("MountVolume.NodeExpandVolume update PVC status failed: {why}")))
}

async fn refused(
    job: &Job<'_>,
    claim: &PersistentVolumeClaim,
    (size, telling): (Quantity, Tell),
    refusal: Refusal,
) -> Result<(), Problem> {
    let failure = failure(refusal.code);
    let why = format!("{PLUGIN}: Expander.NodeExpand failed to expand the volume : {refusal}");
    if telling == Tell::Progress && failure != Failure::Passing {
        let for_ever = failure == Failure::Infeasible || is_outdated(claim, size);
        let failed = failed(claim, &why, for_ever, job.inner.clock.now_seconds());
        if let Err(error) = job.inner.objects.write_claim_status(claim, &failed).await {
            tracing::warn!(%error, "a claim could not be told that its volume does not grow");
        }
    }
    if failure == Failure::InUse {
        // The pod may have it as it is; it grows where nobody uses it.
        tracing::warn!(why, "a volume in use does not grow");
        return Ok(());
    }
    Err(Problem::new(why))
}

fn tell(job: &Job<'_>, claim: &PersistentVolumeClaim, kind: EventKind, reason: &str, message: &str) {
    job.inner.record.record(job.pod, None, kind, reason, message.to_owned());
    job.inner.record.record_claim(claim, kind, reason, message.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(status: &str) -> PersistentVolumeClaim {
        let text = format!("{{spec: {{resources: {{requests: {{storage: 2Gi}}}}}}, status: {{{status}}}}}");
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_volume_grows_here_when_it_is_larger_than_known_and_its_claim_leaves_it_to_the_node() {
        let held: PersistentVolume = serde_saphyr::from_str("{spec: {capacity: {storage: 2Gi}}}").unwrap();
        let gi = |count: i64| Quantity::bytes(count << 30);
        let small = "capacity: {storage: 1Gi}";
        let state = |state: &str| {
            format!(
                "{small}, allocatedResources: {{storage: 2Gi}}, allocatedResourceStatuses: {{storage: {state}}}"
            )
        };
        for (status, here, expected) in [
            (small.to_owned(), 2, None),
            (small.to_owned(), 1, Some(Tell::Size)),
            // On another node it has grown already.
            ("capacity: {storage: 2Gi}".to_owned(), 1, Some(Tell::Nothing)),
            (format!("{small}, allocatedResources: {{storage: 2Gi}}"), 1, None),
            (state("ControllerResizeInProgress"), 1, None),
            (state(PENDING), 1, Some(Tell::Progress)),
            (state(IN_PROGRESS), 1, Some(Tell::Progress)),
            (state(INFEASIBLE), 1, None),
        ] {
            let planned = plan(&claim(&status), &held, gi(here));
            assert_eq!(planned, expected.map(|tell| (gi(2), tell)), "{status}");
        }
    }

    #[test]
    fn a_claim_tells_what_becomes_of_its_volume() {
        let before = claim(
            "capacity: {storage: 1Gi}, allocatedResources: {storage: 2Gi}, allocatedResourceStatuses: {storage: NodeResizePending}, \
             conditions: [{type: FileSystemResizePending, status: 'True'}, {type: Own, status: 'True'}]",
        );
        let state = |claim: &PersistentVolumeClaim| {
            claim
                .status
                .as_ref()
                .unwrap()
                .allocated_resource_statuses
                .clone()
                .map(|mut it| it.remove(STORAGE))
        };
        let conditions = |claim: &PersistentVolumeClaim| -> Vec<String> {
            let status = claim.status.as_ref().unwrap();
            status.conditions.iter().flatten().map(|condition| condition.type_.clone()).collect()
        };
        let going = under_way(&before);
        assert_eq!(state(&going), Some(Some(IN_PROGRESS.to_owned())));
        let done = finished(&going, Quantity::bytes(2 << 30));
        assert_eq!(done.status.as_ref().unwrap().capacity.as_ref().unwrap()[STORAGE].0, "2Gi");
        assert_eq!((state(&done), conditions(&done)), (None, vec!["Own".to_owned()]));
        let now = Timestamp::UNIX_EPOCH;
        let once = failed(&going, "a reason", false, now);
        let twice = failed(&once, "another", true, now);
        assert_eq!(state(&once), Some(Some(IN_PROGRESS.to_owned())));
        assert_eq!(state(&twice), Some(Some(INFEASIBLE.to_owned())));
        assert_eq!(conditions(&twice), ["FileSystemResizePending", "Own", NODE_ERROR]);
        let message = &twice.status.unwrap().conditions.unwrap()[2].message.clone().unwrap();
        assert_eq!(message, "failed to expand pvc with another");
        assert!(!is_outdated(&going, Quantity::bytes(1 << 30)));
        assert!(!is_outdated(&once, Quantity::bytes(2 << 30)));
        assert!(is_outdated(&once, Quantity::bytes(3 << 30)));
    }

    #[test]
    fn some_refusals_pass_and_some_are_for_ever() {
        assert_eq!(failure(Code::Unavailable), Failure::Passing);
        assert_eq!(failure(Code::FailedPrecondition), Failure::InUse);
        assert_eq!(failure(Code::OutOfRange), Failure::Infeasible);
        assert_eq!(failure(Code::Internal), Failure::Refused);
    }
}
