//! Given YAML, what becomes of it: for the table tests of all kinds.

use skiff_api::Errors;

use super::{Column, Kind};

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

fn shown(walk: impl FnOnce(&mut Errors)) -> Vec<String> {
    let mut errors = Errors::new();
    walk(&mut errors);
    errors.into_list().iter().map(ToString::to_string).collect()
}

/// A row of the kind's table, wide columns included, as `HEADING=cell`.
pub(crate) fn printed<K: Kind>(object: &K, now: &str) -> String {
    let now = now.parse().unwrap();
    let cell = |column: &Column<K>| {
        let value = (column.cell)(object, now);
        format!("{}={}", column.name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    K::columns().iter().map(cell).collect::<Vec<_>>().join(" ")
}
