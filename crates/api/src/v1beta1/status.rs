//! Status: how a request went. In 2014 the causes were worded differently and details had an `id`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde::{Deserialize, Serialize};

use super::kind::Row;
use super::meta::TypeMeta;
use super::{API_VERSION, cause};
use crate::errors::FieldError;

/// How a request went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The common members; no id.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// `Success`, `Failure`, `Working`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// About what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code.
    #[serde(skip_serializing_if = "no_code")]
    pub code: u16,
}

fn no_code(code: &u16) -> bool {
    *code == 0
}

/// What a Status is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The object's id; v1 says `name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The kind's word in messages.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// One by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

/// One of the things that are wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// For programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl Status {
    fn named() -> Self {
        let meta = TypeMeta {
            kind: "Status".to_owned(),
            api_version: API_VERSION.to_owned(),
            ..TypeMeta::default()
        };
        Self { meta, ..Self::default() }
    }

    /// All went well.
    pub fn success() -> Self {
        Self { status: "Success".to_owned(), ..Self::named() }
    }

    /// A failure without details.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            code,
            ..Self::named()
        }
    }

    fn about(mut self, row: &Row, id: &str) -> Self {
        self.details = Some(Details { id: id.to_owned(), kind: row.word.to_owned(), causes: Vec::new() });
        self
    }

    /// 404 about an object.
    pub fn not_found(row: &Row, id: &str) -> Self {
        Self::failure(404, "NotFound", format!("{} \"{id}\" not found", row.word)).about(row, id)
    }

    /// 409: the id is taken.
    pub fn already_exists(row: &Row, id: &str) -> Self {
        Self::failure(409, "AlreadyExists", format!("{} \"{id}\" already exists", row.word)).about(row, id)
    }

    /// 409: written by somebody else since, or without a revision.
    pub fn conflict(row: &Row, id: &str, why: &str) -> Self {
        let message = format!("{} \"{id}\" cannot be updated: {why}", row.word);
        Self::failure(409, "Conflict", message).about(row, id)
    }

    /// 422: members are wrong.
    pub fn invalid(row: &Row, id: &str, faults: &[FieldError]) -> Self {
        let worded: Vec<_> = faults.iter().map(cause::worded).collect();
        let texts: Vec<_> = worded.iter().map(|(text, _)| text.as_str()).collect();
        let whole = match texts.as_slice() {
            [one] => (*one).to_owned(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes = worded.iter().zip(faults).map(|((text, reason), fault)| Cause {
            reason: (*reason).to_owned(),
            message: text.clone(),
            field: fault.path.clone(),
        });
        let message = format!("{} \"{id}\" is invalid: {whole}", row.word);
        let mut status = Self::failure(422, "Invalid", message);
        status.details =
            Some(Details { id: id.to_owned(), kind: row.word.to_owned(), causes: causes.collect() });
        status
    }

    /// 400: what is wrong stands in the cause, the message is empty.
    pub fn bad_request(why: impl Into<String>) -> Self {
        let mut status = Self::failure(400, "BadRequest", "");
        let cause = Cause { message: why.into(), ..Cause::default() };
        status.details = Some(Details { causes: vec![cause], ..Details::default() });
        status
    }

    /// 500 with the raw text of an error and no reason.
    pub fn error(why: impl Into<String>) -> Self {
        Self::failure(500, "", why)
    }

    /// A v1 Status about an object of `row` with this `id`, in the words of 2014.
    pub fn from_v1(row: &Row, id: &str, v1: &meta::Status) -> Self {
        let code = v1.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        let message = v1.message.clone().unwrap_or_default();
        let reason = v1.reason.as_deref().unwrap_or_default();
        let details = v1.details.as_ref();
        let name = details.and_then(|details| details.name.as_deref()).filter(|name| !name.is_empty());
        let id = name.unwrap_or(id);
        // An error may be about something else than the object itself: a namespace that is not there, say.
        let about_other = details
            .and_then(|details| details.kind.as_deref())
            .is_some_and(|kind| !kind.is_empty() && kind != row.plural && !is_v1_kind(row, kind));
        match reason {
            "NotFound" if !about_other && name.is_some() => Self::not_found(row, id),
            "AlreadyExists" => Self::already_exists(row, id),
            "Conflict" => {
                let head = format!("\"{id}\": ");
                let why = message.split_once(&head).map_or(message.as_str(), |(_, why)| why);
                Self::conflict(row, id, why)
            }
            "Invalid" => {
                let causes = details.and_then(|details| details.causes.as_deref()).unwrap_or_default();
                let faults: Vec<_> = causes.iter().map(|found| cause::from_v1(row, found)).collect();
                if faults.is_empty() {
                    return Self::failure(422, "Invalid", message).about(row, id);
                }
                Self::invalid(row, id, &faults)
            }
            "BadRequest" => Self::bad_request(message),
            "InternalError" => Self::error(message),
            reason => Self::failure(code, reason, message),
        }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        // Plain data with string keys: there is nothing to fail on.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn is_v1_kind(row: &Row, kind: &str) -> bool {
    kind == row.kind || row.kind_also.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Pod};
    use super::*;
    use crate::status::ApiError;

    #[test]
    fn success_is_as_small_as_it_was() {
        let expected =
            r#"{"kind":"Status","creationTimestamp":null,"apiVersion":"v1beta1","status":"Success"}"#;
        assert_eq!(Status::success().json(), expected);
    }

    #[test]
    fn v1_errors_read_as_in_2014() {
        let pods = crate::Resource::of::<k8s_openapi::api::core::v1::Pod>();
        let check = |error: ApiError, code: u16, message: &str| {
            let status = Status::from_v1(Pod::ROW, "x", &error.status);
            assert_eq!((status.code, status.message.as_str()), (code, message));
            status
        };
        let status = check(ApiError::not_found(&pods, "x"), 404, "pod \"x\" not found");
        let expected = Details { id: "x".into(), kind: "pod".into(), causes: Vec::new() };
        assert_eq!(status.details, Some(expected));
        check(ApiError::already_exists(&pods, "x"), 409, "pod \"x\" already exists");
        check(ApiError::conflict(&pods, "x", "it changed"), 409, "pod \"x\" cannot be updated: it changed");
        check(ApiError::internal("disk"), 500, "Internal error occurred: disk");
        assert_eq!(
            check(ApiError::bad_request("what?"), 400, "").details.unwrap().causes[0].message,
            "what?"
        );
    }
}
