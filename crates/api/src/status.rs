//! The API's error: a `Status` object and the HTTP code it travels with.
//!
//! Constructors follow upstream's `k8s.io/apimachinery/pkg/api/errors`, so that messages and reasons read the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};

use crate::errors::{Errors, FieldError};
use crate::resource::Resource;

/// A refused request.
#[derive(Debug, thiserror::Error)]
#[error("{}", .status.message.as_deref().unwrap_or_default())]
pub struct ApiError {
    /// What is sent as the body.
    pub status: Box<Status>,
    /// What was wrong field by field, where that is known; the v1beta1 door words these its own way.
    pub fields: Vec<FieldError>,
}

impl ApiError {
    /// An error with HTTP `code`, machine-readable `reason` and a message.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let status = Status {
            code: Some(i32::from(code)),
            message: Some(message.into()),
            metadata: ListMeta::default(),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            status: Some("Failure".to_owned()),
            details: None,
        };
        Self { status: Box::new(status), fields: Vec::new() }
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    /// The machine-readable reason, such as `NotFound`.
    pub fn reason(&self) -> &str {
        self.status.reason.as_deref().unwrap_or_default()
    }

    /// Names the object the error is about.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.status.details.get_or_insert_with(StatusDetails::default);
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        details.group = given(group);
        details.kind = given(kind);
        details.name = given(name);
        self
    }

    /// Tells the client when to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: i32) -> Self {
        self.status.details.get_or_insert_with(StatusDetails::default).retry_after_seconds = Some(seconds);
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        let details = self.status.details.get_or_insert_with(StatusDetails::default);
        details.causes.get_or_insert_with(Vec::new).push(StatusCause {
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            message: Some(message.into()),
            field: (!field.is_empty()).then(|| field.to_owned()),
        });
        self
    }

    /// 404: the object is not there.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(&resource.group, &resource.plural, name)
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(&resource.group, &resource.plural, name)
    }

    /// 409: somebody else wrote first, or another precondition failed.
    pub fn conflict(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(&resource.group, &resource.plural, name)
    }

    /// 409 in the words upstream uses when the `resourceVersion` sent is no longer the stored one.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: the object's fields are wrong. `group` and `kind` are the object's.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: Errors) -> Self {
        let fields = errors.into_list();
        let texts: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let whole = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut error = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {whole}"))
            .about(group, kind, name);
        for field in &fields {
            error = error.cause(field.fault.reason(), field.message(), &field.path);
        }
        error.fields = fields;
        error
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: nobody we know.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: known, but not allowed; `message` is the whole text.
    pub fn forbidden(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let what = resource.qualified();
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} \"{name}\" is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(&resource.group, &resource.plural, name)
    }

    /// 405: the resource has no such verb.
    pub fn method_not_supported(resource: &Resource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{}\"", resource.qualified());
        Self::new(405, "MethodNotAllowed", message).about(&resource.group, &resource.plural, "")
    }

    /// 406: none of the accepted media types can be produced.
    pub fn not_acceptable(offered: &str) -> Self {
        let message = format!("only the following media types are accepted: {offered}");
        Self::new(406, "NotAcceptable", message)
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type(offered: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {offered}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 410: the revision asked for is no longer in the window.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is over the limit.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 500: our fault.
    pub fn internal(why: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {why}")).cause(
            "",
            why.to_string(),
            "",
        )
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
}
