//! Event: something that happened to an object.
//!
//! Its `status` has no v1 counterpart: it travels in the annotation [`STATUS`], which 2014 is not shown.

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Row, row};
use super::meta::{TypeMeta, keep_option, keep_text};
use super::validate;
use super::value::{self, Map};
use crate::errors::{Fault, FieldError};

/// Where v1 keeps an event's `status`.
pub const STATUS: &str = "v1beta1.skiff.dev/event-status";

static ROW: Row = Row {
    segment: "events",
    kind: "Event",
    list_kind: "EventList",
    plural: "events",
    word: "events",
    paths: &[("source.component", "source")],
    ..row::<Event>()
};

/// Something that happened to an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// To what.
    pub involved_object: ObjectReference,
    /// How it is now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// In a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Which component says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// On which host (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// When (B).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub timestamp: Option<Time>,
    /// The first time (L).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub first_timestamp: Option<Time>,
    /// The last time (L).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub last_timestamp: Option<Time>,
    /// How often (L).
    #[serde(skip_serializing_if = "value::is_zero")]
    pub count: i64,
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectReference {
    /// Its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its identity over time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The version its kind is of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Its revision; a string here.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "revision_text")]
    pub resource_version: String,
    /// The part of it that is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

fn revision_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Number(u64),
        Text(String),
    }
    Ok(match Raw::deserialize(deserializer)? {
        Raw::Number(0) => String::new(),
        Raw::Number(number) => number.to_string(),
        Raw::Text(text) => text,
    })
}

impl ObjectReference {
    fn from_v1(reference: &v1::ObjectReference) -> Self {
        Self {
            kind: value::text(reference.kind.as_ref()),
            namespace: value::text(reference.namespace.as_ref()),
            name: value::text(reference.name.as_ref()),
            uid: value::text(reference.uid.as_ref()),
            api_version: value::text(reference.api_version.as_ref()),
            resource_version: value::text(reference.resource_version.as_ref()),
            field_path: value::text(reference.field_path.as_ref()),
        }
    }

    fn to_v1(&self) -> v1::ObjectReference {
        v1::ObjectReference {
            kind: value::some(&self.kind),
            namespace: value::some(&self.namespace),
            name: value::some(&self.name),
            uid: value::some(&self.uid),
            api_version: value::some(&self.api_version),
            resource_version: value::some(&self.resource_version),
            field_path: value::some(&self.field_path),
        }
    }
}

impl Kind for Event {
    type V1 = v1::Event;
    const ROW: &'static Row = &ROW;

    fn meta(&self) -> &TypeMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        &mut self.meta
    }

    fn from_v1(event: &v1::Event) -> Self {
        let mut meta = TypeMeta::from_v1(&event.metadata);
        let status = meta.annotations.remove(STATUS).unwrap_or_default();
        let source = event.source.as_ref();
        let component = source.and_then(|source| source.component.as_ref());
        let last = event.last_timestamp.clone();
        let newer = event.event_time.as_ref().map(|time| Time(time.0));
        Self {
            meta,
            involved_object: ObjectReference::from_v1(&event.involved_object),
            status,
            reason: value::text(event.reason.as_ref()),
            message: value::text(event.message.as_ref()),
            source: value::text(component.or(event.reporting_component.as_ref())),
            host: value::text(source.and_then(|source| source.host.as_ref())),
            timestamp: last.clone().or(newer),
            first_timestamp: event.first_timestamp.clone(),
            last_timestamp: last,
            count: event.count.unwrap_or(0).into(),
        }
    }

    fn to_v1(&self) -> v1::Event {
        let mut meta = self.meta.clone();
        if !self.status.is_empty() {
            meta.annotations.insert(STATUS.to_owned(), self.status.clone());
        }
        let source = v1::EventSource { component: value::some(&self.source), host: value::some(&self.host) };
        let last = self.last_timestamp.clone().or_else(|| self.timestamp.clone());
        v1::Event {
            metadata: meta.to_v1(&Map::new()),
            involved_object: self.involved_object.to_v1(),
            reason: value::some(&self.reason),
            message: value::some(&self.message),
            source: (source != v1::EventSource::default()).then_some(source),
            first_timestamp: self.first_timestamp.clone().or_else(|| self.timestamp.clone()),
            last_timestamp: last,
            count: (self.count != 0).then(|| value::clamp(self.count)),
            ..v1::Event::default()
        }
    }

    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        keep_text(&mut self.host, &shown.host);
        keep_option(&mut self.first_timestamp, shown.first_timestamp.as_ref());
        if self.timestamp.is_none() && self.last_timestamp.is_none() {
            self.timestamp.clone_from(&shown.timestamp);
            self.last_timestamp.clone_from(&shown.last_timestamp);
        }
        if self.count == 0 {
            self.count = shown.count;
        }
    }

    fn validate(&self, faults: &mut Vec<FieldError>) {
        let about = &self.involved_object.namespace;
        if !about.is_empty() && *about != self.meta.namespace {
            let detail = "namespace does not match involvedObject";
            faults.push(validate::fault("involvedObject.namespace", Fault::Invalid, about, detail));
        }
    }
}
