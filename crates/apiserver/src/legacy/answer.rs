//! What the door answers: objects, lists and Status in the words of 2014, and its plain-text 404.

use http::Uri;
use skiff_api::v1beta1::{self, List, Object, Row, Status, list, operation};

use crate::wire::{self, Response};

/// How the path to a namespace other than `default` is said.
fn in_namespace(row: &Row, namespace: &str) -> String {
    if !row.namespaced || namespace.is_empty() || namespace == "default" {
        return String::new();
    }
    format!("?namespace={}", encoded(namespace))
}

/// A path segment as it is sent.
pub(super) fn encoded(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, SEGMENT).to_string()
}

/// All that RFC 3986 does not leave unreserved.
const SEGMENT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// An object as the outer one of an answer.
pub(super) fn outer(object: &mut dyn Object, version: &str) -> String {
    let row = object.row();
    let meta = object.meta_mut();
    row.kind.clone_into(&mut meta.kind);
    version.clone_into(&mut meta.api_version);
    let scope = in_namespace(row, &meta.namespace);
    meta.self_link = format!("/api/{version}/{}/{}{scope}", row.segment, encoded(&meta.id));
    object.json()
}

/// 200 with an object.
pub(super) fn object(object: &mut dyn Object, version: &str) -> Response {
    wire::json(200, outer(object, version))
}

/// 200 with a list.
pub(super) fn objects(mut objects: List, namespace: &str, revision: u64, version: &str) -> Response {
    version.clone_into(&mut objects.meta.api_version);
    let row = objects.row;
    objects.meta.self_link = format!("/api/{version}/{}{}", row.segment, in_namespace(row, namespace));
    objects.meta.resource_version = revision;
    wire::json(200, objects.json())
}

/// A Status with its code.
pub(super) fn status(status: &Status, version: &str) -> Response {
    let mut status = status.clone();
    version.clone_into(&mut status.meta.api_version);
    let code = if status.code == 0 { 200 } else { status.code };
    wire::json(code, status.json())
}

/// 404 in plain text: in no table.
pub(super) fn unknown(uri: &Uri) -> Response {
    let request = uri.path_and_query().map_or("/", |path| path.as_str());
    wire::text(404, format!("Not Found: {request:?}"))
}

/// What today's clients expect to find at a version's root. It lists nothing: what 2014 has is not theirs to use.
pub(super) fn index(version: &str) -> Response {
    let text = format!("{{\"kind\":\"APIResourceList\",\"groupVersion\":\"{version}\",\"resources\":[]}}");
    wire::json(200, text)
}

/// There is never an operation that is not finished.
pub(super) fn operations(version: &str) -> Response {
    let link = format!("/api/{version}/{}", operation::SEGMENT);
    let text = list::empty_json(operation::LIST_KIND, &link);
    wire::json(200, text.replacen(v1beta1::API_VERSION, version, 1))
}
