//! Job: pods that run to their end, so many of them, so many at once.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use skiff_api::selector::LabelSelector;
use skiff_api::{Errors, names};

use crate::kinds::core::pod;
use crate::kinds::{Column, Dependents, Kind, Row, check, row, workload};

/// The row of Job.
pub(crate) const KIND: Row = Row {
    categories: &["all"],
    status: true,
    dependents: Dependents::StayWith(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them \
         or set propagationPolicy=Orphan to suppress this warning",
    ),
    ..row::<Job>()
};

/// Labels that tell a Job's pods; the older two are set as well, as upstream does.
pub(crate) const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const OLD_UID_LABEL: &str = "controller-uid";
const OLD_NAME_LABEL: &str = "job-name";
/// Indexed jobs have at most so many pods at once, and so many completions.
const MOST_INDEXED_PARALLEL: i32 = 100_000;

fn status(job: &Job) -> JobStatus {
    job.status.clone().unwrap_or_default()
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// Fills in what a Job's specification leaves out.
pub(super) fn default_spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let by_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if by_index { i32::MAX } else { 6 });
    check::default_text(&mut spec.completion_mode, "NonIndexed");
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    check::default_text(&mut spec.pod_replacement_policy, replacement);
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            if pattern.status.as_deref().is_none_or(str::is_empty) {
                pattern.status = Some("True".to_owned());
            }
        }
    }
    pod::default_template(&mut spec.template);
}

/// Finds what is wrong with a Job's specification, but for its selector.
pub(super) fn validate_spec(spec: &JobSpec, errors: &mut Errors) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        check::not_negative(errors, field, value.unwrap_or(0));
    }
    let mode = spec.completion_mode.as_deref().unwrap_or_default();
    check::one_of(errors, "completionMode", mode, &["Indexed", "NonIndexed"]);
    if is_indexed(spec) {
        if spec.completions.is_none() {
            errors.required("completions", "when completion mode is Indexed");
        }
        if let Some(parallelism) = spec.parallelism.filter(|count| *count > MOST_INDEXED_PARALLEL) {
            let why = format!(
                "must be less than or equal to {MOST_INDEXED_PARALLEL} when completion mode is Indexed"
            );
            errors.invalid("parallelism", &parallelism, why);
        }
    } else {
        let why = "requires indexed completion mode";
        if let Some(limit) = spec.backoff_limit_per_index {
            errors.invalid("backoffLimitPerIndex", &limit, why);
        }
        if spec.success_policy.is_some() {
            errors.invalid("successPolicy", "", why);
        }
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required("backoffLimitPerIndex", "when maxFailedIndexes is specified");
    }
    if let Some(policy) = check::given(spec.pod_replacement_policy.as_ref()) {
        check::one_of(errors, "podReplacementPolicy", policy, &["Failed", "TerminatingOrFailed"]);
    }
    if let Some(manager) = &spec.managed_by {
        check::named(errors, "managedBy", manager, names::qualified_name(manager));
    }
    failure_policy(spec, errors);
    errors.at("template", |errors| pod::validate_template(&spec.template, errors));
    let restart = spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_deref());
    if !matches!(restart, Some("OnFailure" | "Never")) {
        errors.required("template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\"");
    }
}

fn failure_policy(spec: &JobSpec, errors: &mut Errors) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    for (index, rule) in policy.rules.iter().enumerate() {
        errors.at("podFailurePolicy", |errors| {
            errors.item("rules", index, |errors| {
                check::one_of(errors, "action", &rule.action, &["Count", "FailIndex", "FailJob", "Ignore"]);
                if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
                    errors.invalid(
                        "action",
                        rule.action.as_str(),
                        "requires the backoffLimitPerIndex to be set",
                    );
                }
                let conditions = rule.on_pod_conditions.as_ref().is_some_and(|list| !list.is_empty());
                if rule.on_exit_codes.is_some() == conditions {
                    let why = "specifying one of OnExitCodes and OnPodConditions is required";
                    errors.invalid("", "", why);
                }
            });
        });
    }
}

impl Kind for Job {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        default_spec(spec);
        let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone());
        if self.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
            self.metadata.labels = labels.filter(|labels| !labels.is_empty());
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(JobStatus::default());
        let name = self.metadata.name.clone().unwrap_or_default();
        let uid = self.metadata.uid.clone().unwrap_or_default();
        let spec = self.spec.get_or_insert_default();
        if spec.manual_selector == Some(true) {
            return;
        }
        let labels: &mut BTreeMap<String, String> =
            spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
        for (key, value) in
            [(OLD_UID_LABEL, &uid), (OLD_NAME_LABEL, &name), (UID_LABEL, &uid), (NAME_LABEL, &name)]
        {
            labels.insert(key.to_owned(), value.clone());
        }
        let selector = spec.selector.get_or_insert_with(Selector::default);
        selector.match_labels.get_or_insert_default().entry(UID_LABEL.to_owned()).or_insert(uid);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            validate_spec(spec, errors);
            let Some(selector) = &spec.selector else { return errors.required("selector", "") };
            check::label_selector(errors, "selector", selector);
            let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone());
            let labels = labels.unwrap_or_default();
            if LabelSelector::of(selector).is_ok_and(|selector| !selector.matches(&labels)) {
                let shown = skiff_api::decode::tree(&labels).unwrap_or_default();
                let why = "`selector` does not match template `labels`";
                errors.invalid("template.metadata.labels", &shown, why);
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(before)) = (&self.spec, &old.spec) else { return };
        let began = status(old).start_time.is_some();
        errors.at("spec", |errors| {
            let elastic = is_indexed(before)
                && new.completions != before.completions
                && new.completions == new.parallelism;
            if !elastic {
                errors.immutable("completions", &new.completions, &before.completions);
            }
            errors.immutable("selector", &new.selector, &before.selector);
            // The scheduling of a Job that waits may still be decided by others.
            if before.suspend != Some(true) || began {
                errors.immutable("template", &new.template, &before.template);
            }
            errors.immutable("completionMode", &new.completion_mode, &before.completion_mode);
            errors.immutable("podFailurePolicy", &new.pod_failure_policy, &before.pod_failure_policy);
            let (limit, was) = (&new.backoff_limit_per_index, &before.backoff_limit_per_index);
            errors.immutable("backoffLimitPerIndex", limit, was);
            errors.immutable("managedBy", &new.managed_by, &before.managed_by);
            errors.immutable("successPolicy", &new.success_policy, &before.success_policy);
        });
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = status(self);
        errors.at("status", |errors| {
            for (field, count) in [
                ("active", status.active),
                ("succeeded", status.succeeded),
                ("failed", status.failed),
                ("ready", status.ready),
                ("terminating", status.terminating),
            ] {
                check::not_negative(errors, field, count.unwrap_or(0));
            }
        });
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let template = self.spec.as_ref().map(|spec| &spec.template);
        template.map(|template| pod::template_warnings(template, "spec.template")).unwrap_or_default()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Status", |job, _| shown_status(job).into()),
            Column::<Self>::text("Completions", |job, _| completions(job).into()),
            Column::<Self>::text("Duration", |job, now| {
                let status = status(job);
                let Some(start) = status.start_time else { return "".into() };
                let end = status.completion_time.map_or(now, |time| time.0);
                skiff_api::table::age(start.0, end).into()
            }),
            Column::age(),
            Column::<Self>::text("Containers", |job, _| {
                workload::containers(job.spec.as_ref().map(|spec| &spec.template))
            })
            .wide(),
            Column::<Self>::text("Images", |job, _| {
                workload::images(job.spec.as_ref().map(|spec| &spec.template))
            })
            .wide(),
            Column::<Self>::text("Selector", |job, _| {
                workload::selects(job.spec.as_ref().and_then(|spec| spec.selector.as_ref()))
            })
            .wide(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.successful", status(self).succeeded.unwrap_or(0).to_string())]
    }
}

/// As upstream's printer words it.
fn shown_status(job: &Job) -> &'static str {
    let status = status(job);
    let is =
        |kind: &str| status.conditions.iter().flatten().any(|it| it.type_ == kind && it.status == "True");
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Job) -> String {
    let done = status(job).succeeded.unwrap_or(0);
    let spec = job.spec.clone().unwrap_or_default();
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{done}/1 of {parallelism}"),
        (None, _) => format!("{done}/1"),
    }
}
