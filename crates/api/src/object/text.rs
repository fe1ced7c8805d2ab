//! Where members stand in an object's JSON: what is asked for stands near the front, and nothing behind it is read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of the member at `path`, which has a step at least; no more is read than up to its end.
///
/// # Errors
/// If the member is not found because what stands before it is not the JSON of an object.
pub(super) fn find<'a>(json: &'a [u8], path: &[&str]) -> serde_json::Result<Option<&'a str>> {
    let mut found = None;
    let find = Find { path, found: &mut found };
    let read = find.deserialize(&mut serde_json::Deserializer::from_slice(json));
    // That the object goes on after the member is an error to the reader, and none to us.
    found.map_or_else(|| read.map(|()| None), |text| Ok(Some(text.get())))
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Find<'a, 'f> {
    path: &'f [&'f str],
    found: &'f mut Option<&'a RawValue>,
}

impl<'a> DeserializeSeed<'a> for Find<'a, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Find<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { path, found } = self;
        while let Some(Name(name)) = map.next_key()? {
            match path {
                [last] if *last == name => *found = Some(map.next_value()?),
                [first, rest @ ..] if *first == name => {
                    map.next_value_seed(Find { path: rest, found: &mut *found })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            if found.is_some() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_and_what_follows_is_not_read() {
        let metadata: &[&str] = &["metadata"];
        let owners: &[&str] = &["metadata", "managedFields"];
        for (json, path, expected) in [
            (
                r#"{"kind":"Pod","metadata":{"name":"a","x":[{}]},"spec":{"broken"#,
                metadata,
                Some(r#"{"name":"a","x":[{}]}"#),
            ),
            (r#"{"data":{"metadata":"no"},"metadata":{}}"#, metadata, Some("{}")),
            (
                r#"{"metadata":{"labels":{"managedFields":"no"},"managedFields":[{}],"na"#,
                owners,
                Some("[{}]"),
            ),
            (r#"{"kind":"Pod"}"#, metadata, None),
            (r#"{"metadata":{"name":"a"},"managedFields":[]}"#, owners, None),
        ] {
            assert_eq!(find(json.as_bytes(), path).unwrap(), expected, "{json}");
        }
        for json in [r#"{"metadata":{"name":"#, "[]"] {
            assert!(find(json.as_bytes(), owners).is_err(), "{json}");
        }
    }
}
