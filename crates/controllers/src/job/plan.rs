//! What a Job's pods amount to, and what to do next; pure.
//!
//! A finished pod holds a finalizer until it is counted: first its uid is written into `uncountedTerminatedPods`, then
//! the finalizer is taken off, then the uid becomes a number. So no pod is counted twice or never, wherever we stop.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::Meta;
use skiff_api::pod::facts::Phase;

use super::indexes;
use super::policy::{self, ByIndex, Meaning};
use crate::shared::seen::Seen;

/// Finalizer: the pod is not counted yet.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Label and annotation: which completion a pod works on.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// At most so many uids are noted at once.
const MOST_UNCOUNTED: usize = 500;
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(600);

/// What is to be done after the status is written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) status: JobStatus,
    /// Pods whose finalizer may go, since they are noted.
    pub(super) counted: Vec<Seen>,
    pub(super) delete: Vec<Seen>,
    /// The completion index of each pod to make; nothing for Jobs without.
    pub(super) create: Vec<Option<i32>>,
    /// Failures and ignored failures of an index so far, where the Job counts them by index.
    pub(super) counts: std::collections::BTreeMap<i32, (i32, i32)>,
    /// When to look again though nothing happens.
    pub(super) wait: Option<SignedDuration>,
    /// Said once, when it becomes true: warning or not, reason, message.
    pub(super) news: Vec<(bool, &'static str, String)>,
}

pub(super) fn is_true(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|it| it.type_ == kind && it.status == "True")
}

pub(super) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| is_true(status, "Complete") || is_true(status, "Failed"))
}

/// True if the pod still waits to be counted.
pub(super) fn is_tracked(pod: &Seen) -> bool {
    tracks(pod.meta())
}

/// The same, of a pod of which only the metadata is known.
pub(super) fn tracks(meta: &Meta) -> bool {
    meta.finalizers.iter().any(|finalizer| **finalizer == *TRACKING)
}

/// Which completion a pod works on.
pub(super) fn index_of(pod: &Seen) -> Option<i32> {
    pod.note(INDEX)?.parse().ok()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

struct Census {
    active: Vec<Seen>,
    terminating: usize,
    done: BTreeSet<i32>,
    /// Where failures are counted by index.
    by_index: Option<ByIndex>,
    /// Failed pods that are not to be counted yet.
    kept: usize,
    /// A pod ended in a way that ends the Job.
    fatal: Option<String>,
}

/// From a Job and its pods to what is next.
pub(super) fn plan(job: &Job, pods: &[Seen], now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let mut status = job.status.clone().unwrap_or_default();
    let mut plan = Plan::default();
    if is_finished(job) {
        plan.counted = pods.iter().filter(|pod| is_tracked(pod)).cloned().collect();
        plan.status = status;
        return plan;
    }
    let suspended = spec.suspend == Some(true);
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(Time(now));
    }
    let census = tally(&spec, &mut status, pods, &mut plan);
    let succeeded = status.succeeded.unwrap_or(0) + noted(&status, |it| it.succeeded.as_ref());
    let failed = status.failed.unwrap_or(0) + noted(&status, |it| it.failed.as_ref());
    let verdict = verdict(&spec, &status, &census, (succeeded, failed), now);
    if let Some((target, reason, message)) = verdict {
        set(&mut status, target, reason, &message, now);
    }
    let ends = is_true(&status, "FailureTarget") || is_true(&status, "SuccessCriteriaMet");
    if ends {
        plan.delete.clone_from(&census.active);
    } else if suspended {
        plan.delete.clone_from(&census.active);
        if !is_true(&status, "Suspended") {
            set(&mut status, "Suspended", "JobSuspended", "Job suspended", now);
            plan.news.push((false, "Suspended", "Job suspended".to_owned()));
        }
        status.start_time = None;
    } else {
        if is_true(&status, "Suspended") {
            unset(&mut status, "Suspended", "JobResumed", "Job resumed", now);
            status.start_time = Some(Time(now));
            plan.news.push((false, "Resumed", "Job resumed".to_owned()));
        }
        staff(&spec, &census, succeeded, pods, now, &mut plan);
        plan.wait = soonest(plan.wait, deadline(&spec, &status).map(|at| now.duration_until(at)));
    }
    let uncounted = noted(&status, |it| it.succeeded.as_ref()) + noted(&status, |it| it.failed.as_ref());
    if ends && census.active.is_empty() && census.terminating + census.kept == 0 && uncounted == 0 {
        finish(&mut status, now, &mut plan);
    }
    status.active = Some(count(census.active.len())).filter(|n| *n > 0);
    status.ready = Some(count(census.active.iter().filter(|pod| pod.ready).count()));
    status.terminating = Some(count(census.terminating));
    status.uncounted_terminated_pods.get_or_insert_default();
    plan.status = status;
    plan
}

fn noted(
    status: &JobStatus,
    pick: fn(&k8s_openapi::api::batch::v1::UncountedTerminatedPods) -> Option<&Vec<String>>,
) -> i32 {
    status.uncounted_terminated_pods.as_ref().and_then(pick).map_or(0, |uids| count(uids.len()))
}

/// Sorts the pods, turns noted ones that are let go into numbers, and notes newly finished ones.
fn tally(spec: &JobSpec, status: &mut JobStatus, pods: &[Seen], plan: &mut Plan) -> Census {
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let mut done = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default());
    let held: BTreeSet<&str> =
        pods.iter().filter(|pod| is_tracked(pod)).map(|pod| &*pod.meta().uid).collect();
    let mut uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let settle = |list: &mut Option<Vec<String>>, number: &mut Option<i32>| {
        let before = list.as_ref().map_or(0, Vec::len);
        if let Some(uids) = list {
            uids.retain(|uid| held.contains(uid.as_str()));
        }
        let settled = before - list.as_ref().map_or(0, Vec::len);
        if settled > 0 {
            *number = Some(number.unwrap_or(0) + count(settled));
        }
        list.take_if(|uids| uids.is_empty());
    };
    settle(&mut uncounted.failed, &mut status.failed);
    if !indexed {
        settle(&mut uncounted.succeeded, &mut status.succeeded);
    }
    if let Some(completions) = spec.completions.filter(|_| indexed) {
        // Scaled down together with its parallelism: what is beyond does not count any more.
        done.retain(|index| *index < completions);
    }
    let by_index =
        policy::by_index(spec, &indexes::parse(status.failed_indexes.as_deref().unwrap_or_default()), pods);
    let ending = is_true(status, "FailureTarget") || is_true(status, "SuccessCriteriaMet");
    let mut census =
        Census { active: Vec::new(), terminating: 0, done: BTreeSet::new(), by_index, kept: 0, fatal: None };
    for pod in pods {
        let leaving = pod.is_leaving();
        let succeeded = pod.phase == Phase::Succeeded;
        let failed = policy::has_failed(spec, pod);
        census.terminating += usize::from(pod.is_ending());
        if !succeeded && !failed {
            if !leaving {
                census.active.push(pod.clone());
            }
            continue;
        }
        let uid = pod.meta().uid.to_string();
        if !is_tracked(pod) {
            continue;
        }
        let meaning = if failed { policy::meaning(spec, pod) } else { Meaning::Count };
        if let Meaning::FailJob(why) = &meaning {
            census.fatal.get_or_insert_with(|| why.clone());
        }
        if census.by_index.as_ref().is_some_and(|by_index| by_index.keeps(pod)) && !ending {
            // It is counted when another takes its place, or the Job ends; until then its annotations are the count.
            census.kept += 1;
            continue;
        }
        if plan.counted.len() >= MOST_UNCOUNTED {
            continue;
        }
        if succeeded && indexed {
            if let Some(index) = index_of(pod).filter(|index| *index < spec.completions.unwrap_or(0)) {
                done.insert(index);
            }
        } else if meaning != Meaning::Ignore {
            let list = if succeeded { &mut uncounted.succeeded } else { &mut uncounted.failed };
            let list = list.get_or_insert_default();
            if !list.contains(&uid) {
                list.push(uid);
            }
        }
        plan.counted.push(pod.clone());
    }
    if indexed {
        status.completed_indexes = Some(indexes::text(&done)).filter(|text| !text.is_empty());
        status.succeeded = Some(count(done.len())).filter(|number| *number > 0);
    }
    if let Some(by_index) = &census.by_index {
        status.failed_indexes = Some(indexes::text(&by_index.failed));
    }
    status.uncounted_terminated_pods = Some(uncounted);
    census.done = done;
    census
}

/// Whether the Job is to end, and how.
fn verdict(
    spec: &JobSpec,
    status: &JobStatus,
    census: &Census,
    (succeeded, failed): (i32, i32),
    now: Timestamp,
) -> Option<(&'static str, &'static str, String)> {
    if is_true(status, "FailureTarget") || is_true(status, "SuccessCriteriaMet") {
        return None;
    }
    if let Some(why) = &census.fatal {
        return Some(("FailureTarget", "PodFailurePolicy", why.clone()));
    }
    if let Some(by_index) = &census.by_index {
        let lost = by_index.failed.len();
        if spec.max_failed_indexes.is_some_and(|most| count(lost) > most) {
            let why = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("FailureTarget", "MaxFailedIndexesExceeded", why.to_owned()));
        }
        let all = usize::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
        if lost > 0 && census.done.len() + lost >= all {
            return Some(("FailureTarget", "FailedIndexes", "Job has failed indexes".to_owned()));
        }
    }
    if let Some(why) = policy::succeeds(spec, &census.done) {
        return Some(("SuccessCriteriaMet", "SuccessPolicy", why));
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    let on_failure =
        spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_deref()) == Some("OnFailure");
    let restarts: i32 = census.active.iter().map(|pod| pod.restarts.all).sum();
    let restless = on_failure && restarts > 0 && restarts >= limit;
    if failed > limit || restless {
        let why = "Job has reached the specified backoff limit";
        return Some(("FailureTarget", "BackoffLimitExceeded", why.to_owned()));
    }
    if deadline(spec, status).is_some_and(|at| at <= now) && spec.suspend != Some(true) {
        let why = "Job was active longer than specified deadline";
        return Some(("FailureTarget", "DeadlineExceeded", why.to_owned()));
    }
    let reached = match spec.completions {
        Some(wanted) => succeeded >= wanted,
        // Work queues end when one pod says so and the others have followed.
        None => succeeded > 0 && census.active.is_empty(),
    };
    let why = "Reached expected number of succeeded pods";
    reached.then(|| ("SuccessCriteriaMet", "CompletionsReached", why.to_owned()))
}

fn deadline(spec: &JobSpec, status: &JobStatus) -> Option<Timestamp> {
    let start = status.start_time.as_ref()?;
    Some(start.0 + SignedDuration::from_secs(spec.active_deadline_seconds?))
}

fn soonest(one: Option<SignedDuration>, other: Option<SignedDuration>) -> Option<SignedDuration> {
    one.into_iter().chain(other).min()
}

/// How many pods there should be, made or taken away.
fn staff(spec: &JobSpec, census: &Census, succeeded: i32, pods: &[Seen], now: Timestamp, plan: &mut Plan) {
    let parallelism = spec.parallelism.unwrap_or(1);
    let active = count(census.active.len());
    let lost = census.by_index.as_ref().map_or(0, |by_index| count(by_index.failed.len()));
    let beyond = |pod: &&Seen| {
        let index = index_of(pod).filter(|_| spec.completion_mode.as_deref() == Some("Indexed"));
        index.is_some_and(|index| index >= spec.completions.unwrap_or(0))
    };
    plan.delete = census.active.iter().filter(beyond).cloned().collect();
    if !plan.delete.is_empty() {
        return;
    }
    let wanted = match spec.completions {
        Some(completions) => (completions - succeeded - lost).min(parallelism),
        None if succeeded > 0 => active,
        None => parallelism,
    }
    .max(0);
    if active > wanted {
        let mut ranked = census.active.clone();
        ranked.sort_by_key(|pod| {
            (pod.node.is_some(), pod.ready, std::cmp::Reverse(pod.meta().creation_timestamp))
        });
        plan.delete = ranked.into_iter().take(usize::try_from(active - wanted).unwrap_or(0)).collect();
        return;
    }
    let waits = policy::waits(spec);
    let busy = active + if waits { count(census.terminating) } else { 0 };
    let missing = usize::try_from(wanted - busy).unwrap_or(0);
    if missing == 0 {
        return;
    }
    if let Some(pause) = pause(spec, pods, now).filter(|_| census.by_index.is_none()) {
        plan.wait = Some(pause);
        return;
    }
    plan.create = if spec.completion_mode.as_deref() == Some("Indexed") {
        let busy: BTreeSet<i32> = pods
            .iter()
            .filter(|pod| !pod.is_finished())
            .filter(|pod| waits || !pod.is_leaving())
            .filter_map(index_of)
            .collect();
        let mut open: Vec<i32> = (0..spec.completions.unwrap_or(0))
            .filter(|index| !busy.contains(index) && !census.done.contains(index))
            .collect();
        if let Some(by_index) = &census.by_index {
            open.retain(|index| !by_index.failed.contains(index));
            open.retain(|index| {
                let pause = by_index.pause(*index, FIRST_PAUSE, LONGEST_PAUSE, now);
                plan.wait = soonest(plan.wait, pause);
                pause.is_none()
            });
            plan.counts = open.iter().map(|index| (*index, by_index.counts(spec, *index))).collect();
        }
        open.into_iter().take(missing).map(Some).collect()
    } else {
        vec![None; missing]
    };
}

/// How long to wait before the next try: ten seconds after the first failure in a row, then twice as long each time.
fn pause(spec: &JobSpec, pods: &[Seen], now: Timestamp) -> Option<SignedDuration> {
    let success = pods.iter().filter(|pod| pod.phase == Phase::Succeeded).filter_map(|pod| pod.ended).max();
    let failures: Vec<Timestamp> = pods
        .iter()
        .filter(|pod| policy::has_failed(spec, pod) && policy::meaning(spec, pod) != Meaning::Ignore)
        .filter_map(|pod| pod.ended)
        .filter(|at| success.is_none_or(|success| *at > success))
        .collect();
    let last = failures.iter().max()?;
    let doubled = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
    let pause = (FIRST_PAUSE * 2_i32.pow(doubled)).min(LONGEST_PAUSE);
    let left = now.duration_until(*last + pause);
    left.is_positive().then_some(left)
}

fn finish(status: &mut JobStatus, now: Timestamp, plan: &mut Plan) {
    let of = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|it| it.type_ == kind && it.status == "True").cloned()
    };
    if let Some(target) = of("SuccessCriteriaMet") {
        let (reason, message) = (target.reason.unwrap_or_default(), target.message.unwrap_or_default());
        set(status, "Complete", &reason, &message, now);
        status.completion_time = Some(Time(now));
        plan.news.push((false, "Completed", "Job completed".to_owned()));
    } else if let Some(target) = of("FailureTarget") {
        let (reason, message) = (target.reason.unwrap_or_default(), target.message.unwrap_or_default());
        set(status, "Failed", &reason, &message, now);
        const REASONS: [&str; 4] =
            ["DeadlineExceeded", "PodFailurePolicy", "MaxFailedIndexesExceeded", "FailedIndexes"];
        let known = REASONS.into_iter().find(|known| *known == reason);
        plan.news.push((true, known.unwrap_or("BackoffLimitExceeded"), message));
    }
}

fn set(status: &mut JobStatus, kind: &str, reason: &str, message: &str, now: Timestamp) {
    put(status, kind, "True", reason, message, now);
}

fn unset(status: &mut JobStatus, kind: &str, reason: &str, message: &str, now: Timestamp) {
    put(status, kind, "False", reason, message, now);
}

fn put(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}
