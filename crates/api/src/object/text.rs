//! Where the metadata stands in an object's JSON: near the front, and nothing behind it is read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of an object's `metadata`. It stands near the front of what is stored, and no more is read than up to its end.
pub(super) fn metadata(json: &[u8]) -> serde_json::Result<&str> {
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    struct Find<'a, 'f>(&'f mut Option<&'a RawValue>);
    impl<'a> Visitor<'a> for Find<'a, '_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with metadata")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(Name(name)) = map.next_key()? {
                if name == "metadata" {
                    *self.0 = Some(map.next_value()?);
                    return Ok(());
                }
                map.next_value::<IgnoredAny>()?;
            }
            Err(de::Error::missing_field("metadata"))
        }
    }
    let mut found = None;
    let read = serde_json::Deserializer::from_slice(json).deserialize_map(Find(&mut found));
    // That the object goes on after the metadata is an error to the reader, and none to us.
    found.map_or_else(
        || Err(read.err().unwrap_or_else(|| de::Error::missing_field("metadata"))),
        |it| Ok(it.get()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_found_and_what_follows_is_not_read() {
        for (json, expected) in [
            (
                r#"{"kind":"Pod","metadata":{"name":"a","x":[{}]},"spec":{"broken"#,
                Some(r#"{"name":"a","x":[{}]}"#),
            ),
            (r#"{"data":{"metadata":"no"},"metadata":{}}"#, Some("{}")),
            (r#"{"kind":"Pod"}"#, None),
            (r#"{"metadata":{"name":"#, None),
            ("[]", None),
        ] {
            assert_eq!(metadata(json.as_bytes()).ok(), expected, "{json}");
        }
    }
}
