//! Given YAML, what becomes of it: for the table tests of all kinds.

use serde_json::Value;
use skiff_api::{Errors, Object};

use super::{Heading, Kind, Table};

/// An object from YAML, as the client wrote it.
#[track_caller]
pub(crate) fn given<K: serde::de::DeserializeOwned>(yaml: &str) -> K {
    let json = skiff_api::decode::yaml_to_json(yaml.as_bytes()).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// The object as the registry would store it on create.
#[track_caller]
pub(crate) fn created<K: Kind>(yaml: &str) -> K {
    let mut object = given::<K>(yaml);
    object.set_defaults();
    object.prepare_create();
    object
}

/// What is wrong with a new object.
#[track_caller]
pub(crate) fn faults<K: Kind>(yaml: &str) -> Vec<String> {
    shown(|errors| created::<K>(yaml).validate(errors))
}

/// What is wrong with the change from one object to another.
#[track_caller]
pub(crate) fn update_faults<K: Kind>(old: &str, new: &str) -> Vec<String> {
    let old = created::<K>(old);
    let mut object = given::<K>(new);
    object.set_defaults();
    object.prepare_update(&old);
    shown(|errors| object.validate_update(&old, errors))
}

pub(crate) fn shown(walk: impl FnOnce(&mut Errors)) -> Vec<String> {
    let mut errors = Errors::new();
    walk(&mut errors);
    errors.into_list().iter().map(ToString::to_string).collect()
}

/// A row of the kind's table, wide columns included, as `HEADING=cell`.
pub(crate) fn printed<K: Kind>(object: &K, now: &str) -> String {
    let stored = Object::parse(serde_json::to_vec(object).unwrap().into()).unwrap();
    let Table { headings, printer } = K::table();
    let cells = printer(&stored, now.parse().unwrap()).unwrap();
    let cell = |(heading, value): (&Heading, Value)| {
        format!("{}={}", heading.name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    headings.iter().zip(cells).map(cell).collect::<Vec<_>>().join(" ")
}
