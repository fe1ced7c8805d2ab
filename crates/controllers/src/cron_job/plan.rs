//! Which moment is due, which jobs are done with, and when to look again; pure.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::cron::Schedule;
use skiff_client::events::{EventKind, reference};

use crate::job;

/// So many missed moments look like a clock that is wrong.
const MANY: usize = 100;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) status: CronJobStatus,
    /// The moment that a job is due for.
    pub(super) start: Option<Timestamp>,
    pub(super) delete: Vec<Arc<Job>>,
    pub(super) news: Vec<(EventKind, &'static str, String)>,
    /// When to look again.
    pub(super) next: Option<Timestamp>,
}

/// The zone whose clocks count; the server's is UTC.
pub(super) fn zone(cron: &CronJob) -> Result<TimeZone, String> {
    let Some(name) = cron.spec.time_zone.as_deref() else { return Ok(TimeZone::UTC) };
    TimeZone::get(name).map_err(|_| format!("invalid timeZone: {name:?}: unknown time zone {name}"))
}

fn name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}

fn failed(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| it.type_ == "Failed" && it.status == "True")
}

/// From a cron job and its jobs to what is next.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: cron.status.clone().unwrap_or_default(), ..Plan::default() };
    settle(jobs, &mut plan);
    unexpected(jobs, &mut plan);
    history(cron, jobs, &mut plan);
    if cron.spec.suspend == Some(true) {
        return plan;
    }
    let schedule = match cron.spec.schedule.parse::<Schedule>() {
        Ok(schedule) => schedule,
        Err(error) => {
            let why = format!("unparseable schedule: {:?} : {error}", cron.spec.schedule);
            plan.news.push((EventKind::Warning, "UnparseableSchedule", why));
            return plan;
        }
    };
    let zone = match zone(cron) {
        Ok(zone) => zone,
        Err(why) => {
            plan.news.push((EventKind::Warning, "UnknownTimeZone", why));
            return plan;
        }
    };
    plan.next = schedule.next(now, &zone);
    let Some(due) = due(cron, &plan.status, &schedule, &zone, now, &mut plan.news) else { return plan };
    let deadline = cron.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if deadline.is_some_and(|deadline| due + deadline < now) {
        let due = due.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let why = format!("Missed scheduled time to start a job: {due}");
        plan.news.push((EventKind::Warning, "MissSchedule", why));
        return plan;
    }
    let running = jobs.iter().filter(|job| job::ended(job).is_none() && !is_manual(job));
    let active: Vec<Arc<Job>> = running.cloned().collect();
    let made = format!("{}-{}", cron.metadata.name.as_deref().unwrap_or_default(), due.as_second() / 60);
    if jobs.iter().any(|job| name(job) == made) {
        plan.status.last_schedule_time = Some(Time(due));
        return plan;
    }
    match cron.spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let why = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.news.push((EventKind::Normal, "JobAlreadyActive", why.to_owned()));
            return plan;
        }
        Some("Replace") => {
            let gone =
                |reference: &ObjectReference| !active.iter().any(|job| job.metadata.uid == reference.uid);
            if let Some(list) = &mut plan.status.active {
                list.retain(gone);
            }
            plan.delete.extend(active);
        }
        _ => {}
    }
    plan.start = Some(due);
    plan
}

/// Takes jobs that have ended, or are gone, off the list of the active.
fn settle(jobs: &[Arc<Job>], plan: &mut Plan) {
    let mut kept = Vec::new();
    for held in plan.status.active.take().unwrap_or_default() {
        let job = jobs.iter().find(|job| job.metadata.uid == held.uid);
        match job {
            Some(job) if job::ended(job).is_some() => {
                let condition = if failed(job) { "Failed" } else { "Complete" };
                let message = format!("Saw completed job: {}, condition: {condition}", name(job));
                plan.news.push((EventKind::Normal, "SawCompletedJob", message));
            }
            Some(_) => kept.push(held),
            None => {
                let message = format!("Active job went missing: {}", held.name.unwrap_or_default());
                plan.news.push((EventKind::Normal, "MissingJob", message));
            }
        }
    }
    plan.status.active = (!kept.is_empty()).then_some(kept);
    let well = jobs.iter().filter(|job| job::ended(job).is_some() && !failed(job));
    let ends = well.filter_map(|job| job.status.as_ref()?.completion_time.as_ref()).map(|time| time.0);
    let known = plan.status.last_successful_time.as_ref().map(|time| time.0);
    plan.status.last_successful_time = ends.chain(known).max().map(Time);
}

/// Jobs that run under the cron job but are not on its list: those that people started are told of, our own (whose making
/// could not be noted) are put there.
fn unexpected(jobs: &[Arc<Job>], plan: &mut Plan) {
    for job in jobs.iter().filter(|job| job::ended(job).is_none()) {
        let active = plan.status.active.get_or_insert_default();
        if active.iter().any(|held| held.uid == job.metadata.uid) {
            continue;
        }
        if is_manual(job) {
            let why = format!("Saw a job that the controller did not create or forgot: {}", name(job));
            plan.news.push((EventKind::Warning, "UnexpectedJob", why));
        } else {
            active.push(about(job));
        }
    }
    plan.status.active.take_if(|active| active.is_empty());
}

/// Started by `kubectl create job --from`.
fn is_manual(job: &Job) -> bool {
    let notes = job.metadata.annotations.as_ref();
    notes.and_then(|notes| notes.get("cronjob.kubernetes.io/instantiate")).is_some_and(|how| how == "manual")
}

/// A job as the list of the active has it.
pub(super) fn about(job: &Job) -> ObjectReference {
    ObjectReference { field_path: None, ..reference(job) }
}

/// Finished jobs beyond those that are kept, the oldest first.
fn history(cron: &CronJob, jobs: &[Arc<Job>], plan: &mut Plan) {
    for (bad, limit) in
        [(false, cron.spec.successful_jobs_history_limit), (true, cron.spec.failed_jobs_history_limit)]
    {
        let Some(limit) = limit else { continue };
        let finished = jobs.iter().filter(|job| job::ended(job).is_some() && failed(job) == bad);
        let mut finished: Vec<&Arc<Job>> =
            finished.filter(|job| job.metadata.deletion_timestamp.is_none()).collect();
        finished.sort_by_key(|job| {
            let began = job.status.as_ref().and_then(|status| status.start_time.as_ref());
            (began.map(|time| time.0), name(job).to_owned())
        });
        let surplus = finished.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        plan.delete.extend(finished.into_iter().take(surplus).cloned());
    }
}

/// The latest moment that has come and has had no job.
fn due(
    cron: &CronJob,
    status: &CronJobStatus,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
    news: &mut Vec<(EventKind, &'static str, String)>,
) -> Option<Timestamp> {
    let last = status.last_schedule_time.as_ref().or(cron.metadata.creation_timestamp.as_ref())?.0;
    let deadline = cron.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    let mut from = deadline.map_or(last, |deadline| last.max(now - deadline));
    let mut due = None;
    let mut missed = 0;
    while let Some(at) = schedule.next(from, zone).filter(|at| *at <= now) {
        due = Some(at);
        from = at;
        missed += 1;
        if missed > MANY {
            // The rest is not counted one by one: from half a day back the latest is found soon enough.
            let skipped = now - SignedDuration::from_hours(12);
            if skipped > from {
                from = skipped;
            }
            if missed == MANY + 1 {
                let why = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                news.push((EventKind::Warning, "TooManyMissedTimes", why.to_owned()));
            }
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cron(spec: &Value, status: Value) -> CronJob {
        let mut value = json!({"metadata": {"name": "tick", "uid": "c", "creationTimestamp": "2026-11-22T10:00:30Z"},
            "spec": {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1, "jobTemplate": {}}});
        json_patch::merge(&mut value["spec"], spec);
        value["status"] = status;
        serde_json::from_value(value).unwrap()
    }

    fn job(name: &str, condition: Option<&str>) -> Arc<Job> {
        let conditions: Vec<Value> = condition
            .iter()
            .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-22T10:06:00Z"}))
            .collect();
        let value = json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-11-22T{text}Z").parse().unwrap()
    }

    fn names(jobs: &[Arc<Job>]) -> Vec<&str> {
        jobs.iter().map(|job| name(job)).collect()
    }

    #[test]
    fn a_job_is_due_at_its_moment_once() {
        let given = cron(&json!({}), json!({}));
        let early = plan(&given, &[], at("10:04:59"));
        assert_eq!((early.start, early.next), (None, Some(at("10:05:00"))));
        let due = plan(&given, &[], at("10:05:00"));
        assert_eq!((due.start, due.next), (Some(at("10:05:00")), Some(at("10:10:00"))));
        let again =
            plan(&cron(&json!({}), json!({"lastScheduleTime": "2026-11-22T10:05:00Z"})), &[], at("10:05:01"));
        assert_eq!(again.start, None);
        // Of several that were missed the latest counts.
        assert_eq!(plan(&given, &[], at("10:21:00")).start, Some(at("10:20:00")));
        let late = plan(&cron(&json!({"suspend": true}), json!({})), &[], at("10:05:00"));
        assert_eq!((late.start, late.next), (None, None));
        let strict = cron(&json!({"startingDeadlineSeconds": 30}), json!({}));
        assert_eq!(plan(&strict, &[], at("10:06:00")).start, None);
    }

    #[test]
    fn policies_decide_about_jobs_that_still_run() {
        let running = [job("tick-1", None)];
        let forbid =
            plan(&cron(&json!({"concurrencyPolicy": "Forbid"}), json!({})), &running, at("10:05:00"));
        let said: Vec<&str> = forbid.news.iter().map(|(_, reason, _)| *reason).collect();
        assert_eq!((forbid.start, said), (None, vec!["JobAlreadyActive"]));
        assert_eq!(
            forbid.status.active.map(|active| active.len()),
            Some(1),
            "it is ours: it was only not noted"
        );
        let replace =
            plan(&cron(&json!({"concurrencyPolicy": "Replace"}), json!({})), &running, at("10:05:00"));
        assert_eq!((replace.start.is_some(), names(&replace.delete)), (true, vec!["tick-1"]));
        // What somebody started by hand is in nobody's way.
        let mut manual = Job::clone(&running[0]);
        let note = ("cronjob.kubernetes.io/instantiate".to_owned(), "manual".to_owned());
        manual.metadata.annotations = Some([note].into());
        let forbid = cron(&json!({"concurrencyPolicy": "Forbid"}), json!({}));
        let forbid = plan(&forbid, &[Arc::new(manual)], at("10:05:00"));
        assert_eq!((forbid.start, forbid.news[0].1), (Some(at("10:05:00")), "UnexpectedJob"));
    }

    #[test]
    fn an_unknown_zone_starts_nothing_and_zones_move_the_moment() {
        let lost = cron(&json!({"timeZone": "Mars/Olympus"}), json!({}));
        let lost = plan(&lost, &[], at("10:21:00"));
        let said = (lost.news[0].1, lost.news[0].2.as_str());
        assert_eq!(
            said,
            ("UnknownTimeZone", "invalid timeZone: \"Mars/Olympus\": unknown time zone Mars/Olympus")
        );
        assert_eq!((lost.start, lost.next), (None, None));
        let there = cron(&json!({"timeZone": "Asia/Kolkata", "schedule": "0 16 * * *"}), json!({}));
        assert_eq!(plan(&there, &[], at("10:05:00")).next, Some(at("10:30:00")));
    }

    #[test]
    fn many_missed_moments_are_told_and_the_latest_counts() {
        let given =
            cron(&json!({"schedule": "* * * * *"}), json!({"lastScheduleTime": "2026-11-20T10:00:00Z"}));
        let late = plan(&given, &[], at("10:05:30"));
        assert_eq!(late.start, Some(at("10:05:00")));
        assert_eq!(
            late.news.iter().map(|(_, reason, _)| *reason).collect::<Vec<_>>(),
            ["TooManyMissedTimes"]
        );
    }

    #[test]
    fn ended_jobs_leave_the_list_and_old_ones_go() {
        let status = json!({"active": [{"name": "b", "uid": "b"}, {"name": "gone", "uid": "gone"}],
            "lastScheduleTime": "2026-11-22T10:05:00Z"});
        let jobs = [job("a", Some("Complete")), job("b", Some("Complete")), job("c", Some("Failed"))];
        let plan = plan(&cron(&json!({}), status), &jobs, at("10:06:00"));
        assert_eq!(names(&plan.delete), ["a"]);
        assert!(plan.status.active.is_none());
        let reasons: Vec<&str> = plan.news.iter().map(|(_, reason, _)| *reason).collect();
        assert_eq!(reasons, ["SawCompletedJob", "MissingJob"]);
    }
}
