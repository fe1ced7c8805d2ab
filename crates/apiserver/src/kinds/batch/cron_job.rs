//! CronJob: jobs by the clock.

use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus};
use skiff_api::cron::Schedule;
use skiff_api::{Errors, names};

use super::job;
use crate::kinds::core::pod;
use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of CronJob.
pub(crate) const KIND: Row = Row { short: &["cj"], categories: &["all"], status: true, ..row::<CronJob>() };

/// The jobs' names are the cron job's with eleven letters more.
const LONGEST_NAME: usize = 52;

fn schedule(text: &str, zone: Option<&str>, errors: &mut Errors) {
    if text.is_empty() {
        return errors.required("schedule", "");
    }
    if text.contains("TZ=") {
        let why = if zone.is_some() {
            "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        } else {
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        };
        return errors.invalid("schedule", text, why);
    }
    if let Err(why) = text.parse::<Schedule>() {
        errors.invalid("schedule", text, why.to_string());
    }
}

fn time_zone(name: &str, errors: &mut Errors) {
    if name.is_empty() {
        errors.invalid("timeZone", name, "timeZone must be nil or non-empty string");
    } else if name.eq_ignore_ascii_case("local") {
        errors.invalid(
            "timeZone",
            name,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    } else if TimeZone::get(name).is_err() {
        errors.invalid("timeZone", name, format!("unknown time zone {name}"));
    }
}

impl Kind for CronJob {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        check::default_text(&mut spec.concurrency_policy, "Allow");
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        if let Some(job) = &mut spec.job_template.spec {
            pod::default_template(&mut job.template);
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(CronJobStatus::default());
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
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if name.len() > LONGEST_NAME {
            errors.invalid("metadata.name", name, format!("must be no more than {LONGEST_NAME} characters"));
        }
        let spec = &self.spec;
        errors.at("spec", |errors| {
            schedule(&spec.schedule, spec.time_zone.as_deref(), errors);
            for (field, value) in [
                ("startingDeadlineSeconds", spec.starting_deadline_seconds),
                ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit.map(i64::from)),
                ("failedJobsHistoryLimit", spec.failed_jobs_history_limit.map(i64::from)),
            ] {
                check::not_negative(errors, field, value.unwrap_or(0));
            }
            if let Some(zone) = &spec.time_zone {
                time_zone(zone, errors);
            }
            let policy = spec.concurrency_policy.as_deref().unwrap_or_default();
            check::one_of(errors, "concurrencyPolicy", policy, &["Allow", "Forbid", "Replace"]);
            let mut wanted = spec.job_template.spec.clone().unwrap_or_default();
            job::default_spec(&mut wanted);
            errors.at("jobTemplate", |errors| {
                errors.at("spec", |errors| {
                    if spec.job_template.spec.as_ref().is_some_and(|job| job.manual_selector == Some(true)) {
                        errors.not_supported("manualSelector", "true", &["nil", "false"]);
                    }
                    job::validate_spec(&wanted, errors);
                });
            });
        });
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut warnings = Vec::new();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if old.is_none() && !names::dns1123_label(name).is_empty() {
            warnings.push(format!(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
                 a DNS label is recommended: [{}]",
                names::dns1123_label(name).join(", ")
            ));
        }
        if let Some(job) = &self.spec.job_template.spec {
            warnings.extend(pod::template_warnings(&job.template, "spec.jobTemplate.spec.template"));
        }
        warnings
    }

    fn columns() -> Vec<Column<Self>> {
        fn template(job: &CronJob) -> Option<&k8s_openapi::api::core::v1::PodTemplateSpec> {
            job.spec.job_template.spec.as_ref().map(|spec| &spec.template)
        }
        vec![
            Column::<Self>::text("Schedule", |job, _| job.spec.schedule.clone().into()),
            Column::<Self>::text("Timezone", |job, _| {
                check::or_none(job.spec.time_zone.as_deref().unwrap_or_default()).into()
            }),
            Column::<Self>::text("Suspend", |job, _| match job.spec.suspend {
                Some(true) => "True".into(),
                Some(false) => "False".into(),
                None => "<unset>".into(),
            }),
            workload::count("Active", |job: &Self, _| {
                job.status.as_ref().and_then(|status| status.active.as_ref()).map_or(0, Vec::len).into()
            }),
            Column::<Self>::text("Last Schedule", |job, now| {
                match job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref()) {
                    Some(at) => skiff_api::table::age(at.0, now).into(),
                    None => "<none>".into(),
                }
            }),
            Column::age(),
            Column::<Self>::text("Containers", |job, _| workload::containers(template(job))).wide(),
            Column::<Self>::text("Images", |job, _| workload::images(template(job))).wide(),
            Column::<Self>::text("Selector", |job, _| {
                let spec = job.spec.job_template.spec.as_ref();
                workload::selects(spec.and_then(|spec| spec.selector.as_ref()))
            })
            .wide(),
        ]
    }
}
