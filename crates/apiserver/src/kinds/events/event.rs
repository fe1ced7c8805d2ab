//! Event of `events.k8s.io/v1`: a view of core's, with upstream's mapping of fields (`pkg/apis/events/v1/conversion.go`).

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use skiff_api::Errors;

use crate::kinds::core::event;
use crate::kinds::{Between, Column, Kind, Row, row};

static CONVERSION: Between<core::Event, Event> = Between { served: from_core, stored: to_core };

/// The row of the view.
pub(crate) const KIND: Row =
    Row { short: &["ev"], upsert: true, name_first: false, converts: Some(&CONVERSION), ..row::<Event>() };

fn from_core(event: core::Event) -> Event {
    Event {
        action: event.action,
        deprecated_count: event.count,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_source: event.source,
        event_time: event.event_time,
        metadata: event.metadata,
        note: event.message,
        reason: event.reason,
        regarding: Some(event.involved_object),
        related: event.related,
        reporting_controller: event.reporting_component,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|series| EventSeries {
            count: series.count.unwrap_or(0),
            last_observed_time: series.last_observed_time.unwrap_or(MicroTime(jiff::Timestamp::UNIX_EPOCH)),
        }),
        type_: event.type_,
    }
}

fn to_core(event: Event) -> core::Event {
    core::Event {
        action: event.action,
        count: event.deprecated_count,
        first_timestamp: event.deprecated_first_timestamp,
        last_timestamp: event.deprecated_last_timestamp,
        source: event.deprecated_source,
        event_time: event.event_time,
        metadata: event.metadata,
        message: event.note,
        reason: event.reason,
        involved_object: event.regarding.unwrap_or_default(),
        related: event.related,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|series| core::EventSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time),
        }),
        type_: event.type_,
    }
}

/// A column of core's, of the same object.
fn column(
    name: &'static str,
    wide: bool,
    cell: fn(&Event, jiff::Timestamp) -> serde_json::Value,
) -> Column<Event> {
    let column = Column::text(name, cell);
    if wide { column.wide() } else { column }
}

/// One cell of core's table.
fn cell(event: &Event, now: jiff::Timestamp, index: usize) -> serde_json::Value {
    let event = to_core(event.clone());
    core::Event::columns().get(index).map_or(serde_json::Value::Null, |column| (column.cell)(&event, now))
}

impl Kind for Event {
    fn validate_create(&self, errors: &mut Errors) {
        event::validate_new(&to_core(self.clone()), errors);
    }

    // Upstream means to forbid updates of all but the series, compares the new event with itself, and has a conformance
    // test that changes the note.
    fn validate_update(&self, _old: &Self, errors: &mut Errors) {
        to_core(self.clone()).validate(errors);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            column("Last Seen", false, |event, now| cell(event, now, 0)),
            column("Type", false, |event, now| cell(event, now, 1)),
            column("Reason", false, |event, now| cell(event, now, 2)),
            column("Object", false, |event, now| cell(event, now, 3)),
            column("Subobject", true, |event, now| cell(event, now, 4)),
            column("Source", true, |event, now| cell(event, now, 5)),
            column("Message", false, |event, now| cell(event, now, 6)),
            column("First Seen", true, |event, now| cell(event, now, 7)),
            column("Count", true, |event, now| cell(event, now, 8)),
            column("Name", true, |event, now| cell(event, now, 9)),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = self.regarding.clone().unwrap_or_default();
        let source = self.deprecated_source.as_ref().and_then(|source| source.component.clone());
        let component = source.as_ref().filter(|name| !name.is_empty()).cloned();
        vec![
            ("regarding.kind", text(&object.kind)),
            ("regarding.namespace", text(&object.namespace)),
            ("regarding.name", text(&object.name)),
            ("regarding.uid", text(&object.uid)),
            ("regarding.apiVersion", text(&object.api_version)),
            ("regarding.resourceVersion", text(&object.resource_version)),
            ("regarding.fieldPath", text(&object.field_path)),
            ("reason", text(&self.reason)),
            ("reportingController", text(&self.reporting_controller)),
            ("type", text(&self.type_)),
            ("source", component.unwrap_or_else(|| text(&self.reporting_controller))),
        ]
    }
}
