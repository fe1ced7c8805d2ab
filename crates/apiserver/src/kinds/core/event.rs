//! Event: something that happened to an object.
//!
//! This is the stored form; `events.k8s.io/v1` is a view of it, see `kinds/events`. That view is stricter: its checks
//! are here as well.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use skiff_api::{Errors, names, table};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Event.
pub(crate) const KIND: Row = Row { short: &["ev"], upsert: true, name_first: false, ..row::<Event>() };

fn age(time: Option<&Time>, now: Timestamp) -> Option<String> {
    time.map(|time| table::age(time.0, now))
}

fn micro_age(time: Option<&MicroTime>, now: Timestamp) -> Option<String> {
    time.map(|time| table::age(time.0, now))
}

fn first_seen(event: &Event, now: Timestamp) -> String {
    age(event.first_timestamp.as_ref(), now)
        .or_else(|| micro_age(event.event_time.as_ref(), now))
        .unwrap_or_else(|| check::or_unknown(""))
}

fn last_seen(event: &Event, now: Timestamp) -> String {
    if let Some(series) = &event.series {
        return micro_age(series.last_observed_time.as_ref(), now).unwrap_or_else(|| check::or_unknown(""));
    }
    age(event.last_timestamp.as_ref(), now).unwrap_or_else(|| first_seen(event, now))
}

fn count(event: &Event) -> i32 {
    match &event.series {
        Some(series) => series.count.unwrap_or(0),
        None => event.count.filter(|count| *count != 0).unwrap_or(1),
    }
}

fn object(event: &Event) -> String {
    let kind = event.involved_object.kind.as_deref().unwrap_or_default().to_lowercase();
    match check::given(event.involved_object.name.as_ref()) {
        Some(name) => format!("{kind}/{name}"),
        None => kind,
    }
}

fn source(event: &Event) -> String {
    let source = event.source.as_ref();
    let (component, host) = match source.and_then(|source| check::given(source.component.as_ref())) {
        Some(component) => (component, source.and_then(|source| check::given(source.host.as_ref()))),
        None => (
            event.reporting_component.as_deref().unwrap_or_default(),
            check::given(event.reporting_instance.as_ref()),
        ),
    };
    match host {
        Some(host) => format!("{component}, {host}"),
        None => component.to_owned(),
    }
}

/// A text that the new way of reporting demands.
fn reported(errors: &mut Errors, field: &str, text: Option<&String>, max: usize) {
    match check::given(text) {
        None => errors.required(field, ""),
        Some(text) if text.len() > max => {
            errors.invalid(field, text, format!("can have at most {max} characters"));
        }
        Some(_) => {}
    }
}

/// What a new event that comes through `events.k8s.io/v1` must be.
pub(crate) fn validate_new(event: &Event, errors: &mut Errors) {
    const UNSET: &str = "needs to be unset";
    event.validate(errors);
    validate_series(event, errors);
    if event.event_time.is_none() {
        errors.required("eventTime", "");
    }
    let kind = event.type_.as_deref().unwrap_or_default();
    if !["Normal", "Warning"].contains(&kind) {
        errors.invalid("type", "", format!("has invalid value: {kind}"));
    }
    let source = event.source.clone().unwrap_or_default();
    for (field, given) in [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.unwrap_or(0) != 0),
        ("source", check::given(source.component.as_ref().or(source.host.as_ref())).is_some()),
    ] {
        if given {
            errors.invalid(field, "", UNSET);
        }
    }
}

fn validate_series(event: &Event, errors: &mut Errors) {
    let Some(series) = &event.series else { return };
    if series.count.unwrap_or(0) < 2 {
        errors.invalid("series.count", "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required("series.lastObservedTime", "");
    }
}

impl Kind for Event {
    fn validate(&self, errors: &mut Errors) {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let involved = self.involved_object.namespace.as_deref().unwrap_or_default();
        let fits = match involved {
            "" => matches!(namespace, "" | "default" | "kube-system"),
            involved => involved == namespace,
        };
        if !fits {
            errors.invalid("involvedObject.namespace", involved, "does not match event.namespace");
        }
        if self.event_time.is_none() {
            return;
        }
        match check::given(self.reporting_component.as_ref()) {
            None => errors.required("reportingController", ""),
            Some(name) => check::named(errors, "reportingController", name, names::qualified_name(name)),
        }
        reported(errors, "reportingInstance", self.reporting_instance.as_ref(), 128);
        reported(errors, "action", self.action.as_ref(), 128);
        reported(errors, "reason", self.reason.as_ref(), 128);
        if self.message.as_ref().is_some_and(|message| message.len() > 1024) {
            errors.invalid("message", "", "can have at most 1024 characters");
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Last Seen", |event, now| last_seen(event, now).into()),
            Column::<Self>::text("Type", |event, _| event.type_.clone().unwrap_or_default().into()),
            Column::<Self>::text("Reason", |event, _| event.reason.clone().unwrap_or_default().into()),
            Column::<Self>::text("Object", |event, _| object(event).into()),
            Column::<Self>::text("Subobject", |event, _| {
                event.involved_object.field_path.clone().unwrap_or_default().into()
            })
            .wide(),
            Column::<Self>::text("Source", |event, _| source(event).into()).wide(),
            Column::<Self>::text("Message", |event, _| {
                event.message.as_deref().unwrap_or_default().trim().into()
            }),
            Column::<Self>::text("First Seen", |event, now| first_seen(event, now).into()).wide(),
            Column::<Self>::text("Count", |event, _| count(event).into()).wide(),
            Column::<Self>::text("Name", |event, _| event.metadata.name.clone().unwrap_or_default().into())
                .wide(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = &self.involved_object;
        let source = self.source.as_ref().and_then(|source| source.component.clone());
        vec![
            ("involvedObject.kind", text(&object.kind)),
            ("involvedObject.namespace", text(&object.namespace)),
            ("involvedObject.name", text(&object.name)),
            ("involvedObject.uid", text(&object.uid)),
            ("involvedObject.apiVersion", text(&object.api_version)),
            ("involvedObject.resourceVersion", text(&object.resource_version)),
            ("involvedObject.fieldPath", text(&object.field_path)),
            ("reason", text(&self.reason)),
            ("reportingComponent", text(&self.reporting_component)),
            ("source", source.unwrap_or_else(|| text(&self.reporting_component))),
            ("type", text(&self.type_)),
        ]
    }
}
