//! The object in other versions than the request's: an owner's set speaks of the version in which the owner wrote.
//!
//! A conversion may ask somebody else, and nothing here waits for anybody: what is needed in another version and is not
//! known yet is told ([`Wanted`]), and who called calls again when he knows it. All is reckoned from the same values
//! again, so that it comes to the same question once.

use serde_json::Value;

use super::schema::Schema;

/// An object that is needed in another version.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The object.
    pub object: Value,
    /// Its version, such as `autoscaling/v1`.
    pub from: String,
    /// The version in which it is needed.
    pub to: String,
}

/// The other versions in which an object has owners, and what is known of it in them.
#[derive(Debug, Default)]
pub struct Kin {
    versions: Vec<(String, Option<Schema>)>,
    known: Vec<(Wanted, Value)>,
}

impl Kin {
    /// True if there is no other version.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Adds a version with its schema; without one if it is no longer served, then its owners go.
    pub fn add(&mut self, version: &str, schema: Option<Schema>) {
        self.versions.push((version.to_owned(), schema));
    }

    /// True if the version has been added.
    pub fn has(&self, version: &str) -> bool {
        self.versions.iter().any(|(own, _)| own == version)
    }

    /// Keeps what was wanted.
    pub fn learn(&mut self, wanted: Wanted, converted: Value) {
        self.known.push((wanted, converted));
    }
}

/// The versions of an object, seen from a request.
#[derive(Clone, Copy)]
pub(super) struct Versions<'a> {
    /// The request's version and schema.
    pub(super) own: (&'a str, &'a Schema),
    pub(super) kin: &'a Kin,
}

impl<'a> Versions<'a> {
    /// The version as it is called here: one of which nothing is known is like the request's own.
    pub(super) fn name(&self, version: &'a str) -> &'a str {
        if self.kin.has(version) { version } else { self.own.0 }
    }

    /// The schema of a version; nothing if it is no longer served.
    pub(super) fn schema(&self, version: &str) -> Option<&'a Schema> {
        match self.kin.versions.iter().find(|(own, _)| own == version) {
            Some((_, schema)) => schema.as_ref(),
            None => Some(self.own.1),
        }
    }

    /// An object in another version.
    ///
    /// # Errors
    /// What is wanted to be known first.
    pub(super) fn convert(&self, object: &Value, from: &str, to: &str) -> Result<Value, Box<Wanted>> {
        if from == to || object.is_null() {
            return Ok(object.clone());
        }
        let is_it =
            |(known, _): &&(Wanted, Value)| known.from == from && known.to == to && known.object == *object;
        match self.kin.known.iter().find(is_it) {
            Some((_, converted)) => Ok(converted.clone()),
            None => {
                Err(Box::new(Wanted { object: object.clone(), from: from.to_owned(), to: to.to_owned() }))
            }
        }
    }
}
