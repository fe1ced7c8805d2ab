//! What a method and a path of 2014 ask for. Pure; the verb table of the API on one screen.

use http::Method;
use skiff_api::v1beta1::{self, Row, Status, operation};

/// Where a proxied request goes.
#[derive(Debug, PartialEq)]
pub(super) struct Onward {
    /// The kind of the object it passes through.
    pub(super) row: &'static Row,
    pub(super) id: String,
    /// What follows the id as it was sent, with its leading slash; empty if the path ends with the id.
    pub(super) rest: String,
    /// The path up to the id: what links in pages are to begin with.
    pub(super) prefix: String,
}

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    Index,
    List(&'static Row),
    Get(&'static Row, String),
    Create(&'static Row),
    Update(&'static Row, String),
    Delete(&'static Row, String),
    Bind,
    Watch(&'static Row),
    Redirect(&'static Row, String),
    Proxy(Onward),
    Operations,
    Validate,
    /// Known, and not to be had.
    Refused(Box<Status>),
    /// In no table.
    Unknown,
}

/// The version word of the path and what is asked for.
pub(super) fn route(method: &Method, path: &str) -> (&'static str, Route) {
    if path == "/validate" {
        return (v1beta1::API_VERSION, read_only(method, Route::Validate));
    }
    if let Some(rest) = path.strip_prefix("/proxy/minion/") {
        return (v1beta1::API_VERSION, minion(rest));
    }
    let (version, rest) = match path.strip_prefix("/api/v1beta2") {
        Some(rest) => ("v1beta2", rest),
        None => ("v1beta1", path.strip_prefix("/api/v1beta1").unwrap_or(path)),
    };
    let base = &path[..path.len() - rest.len()];
    let segments: Vec<&str> = rest.trim_matches('/').split('/').collect();
    let route = match segments.as_slice() {
        [""] => read_only(method, Route::Index),
        ["watch", resource, ..] => watch(method, resource),
        ["redirect", resource, id] => redirect(method, resource, decoded(id)),
        ["proxy", resource, id, ..] => proxy(base, rest, resource, id),
        ["validate"] => read_only(method, Route::Validate),
        [resource] if *resource == operation::SEGMENT => read_only(method, Route::Operations),
        [resource] => collection(method, resource),
        [resource, id] => object(method, resource, decoded(id)),
        _ => Route::Unknown,
    };
    (version, route)
}

fn read_only(method: &Method, route: Route) -> Route {
    if method == Method::GET { route } else { Route::Unknown }
}

fn is_binding(row: &Row) -> bool {
    row.segment == "bindings"
}

fn collection(method: &Method, segment: &str) -> Route {
    let Some(row) = v1beta1::by_segment(segment) else { return Route::Unknown };
    match *method {
        Method::POST if is_binding(row) => Route::Bind,
        Method::GET if is_binding(row) => refused(405, "bindings cannot be listed"),
        Method::GET => Route::List(row),
        Method::POST => Route::Create(row),
        _ => Route::Unknown,
    }
}

fn object(method: &Method, segment: &str, id: String) -> Route {
    let Some(row) = v1beta1::by_segment(segment) else { return Route::Unknown };
    match *method {
        Method::PUT if is_binding(row) => refused(500, "bindings cannot be changed"),
        _ if is_binding(row) => Route::Refused(Box::new(Status::not_found(row, &id))),
        Method::GET => Route::Get(row, id),
        Method::PUT => Route::Update(row, id),
        Method::DELETE if row.segment == "endpoints" => {
            Route::Refused(Box::new(Status::bad_request("endpoints go with their service")))
        }
        Method::DELETE => Route::Delete(row, id),
        _ => Route::Unknown,
    }
}

fn refused(code: u16, message: &str) -> Route {
    Route::Refused(Box::new(Status::failure(code, "", message)))
}

fn watch(method: &Method, segment: &str) -> Route {
    match v1beta1::by_segment(segment) {
        Some(row) if method == Method::GET && !is_binding(row) => Route::Watch(row),
        _ => Route::Unknown,
    }
}

fn redirect(method: &Method, segment: &str, id: String) -> Route {
    match v1beta1::by_segment(segment) {
        Some(row) if method == Method::GET && matches!(row.segment, "services" | "minions") => {
            Route::Redirect(row, id)
        }
        _ => Route::Unknown,
    }
}

fn proxy(base: &str, rest: &str, segment: &str, id: &str) -> Route {
    match v1beta1::by_segment(segment) {
        Some(row) if matches!(row.segment, "services" | "minions" | "pods") => {
            let head = format!("/proxy/{segment}/{id}");
            let onward = rest.strip_prefix(&head).unwrap_or_default();
            let prefix = format!("{base}{head}");
            Route::Proxy(Onward { row, id: decoded(id), rest: onward.to_owned(), prefix })
        }
        _ => Route::Unknown,
    }
}

/// `HOST[:port]/path`: the kubelet's own server behind the oldest of the proxies.
fn minion(rest: &str) -> Route {
    let (id, onward) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    match v1beta1::by_segment("minions") {
        Some(row) if !id.is_empty() => Route::Proxy(Onward {
            row,
            id: decoded(id),
            rest: onward.to_owned(),
            prefix: format!("/proxy/minion/{id}"),
        }),
        _ => Route::Unknown,
    }
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(method: Method, path: &str) -> String {
        let (_, route) = route(&method, path);
        match route {
            Route::Refused(status) => format!("Refused({})", status.code),
            other => {
                let text = format!("{other:?}").replace("Row(\"", "");
                text.replace("\"), ", ", ").replace("\"))", ")").replace('"', "")
            }
        }
    }

    #[test]
    fn the_verb_table_is_read_row_by_row() {
        for (method, path, expected) in [
            (Method::GET, "/api/v1beta1", "Index"),
            (Method::GET, "/api/v1beta1/pods", "List(pods)"),
            (Method::GET, "/api/v1beta2/pods/", "List(pods)"),
            (Method::GET, "/api/v1beta1/pods/a", "Get(pods, a)"),
            (Method::GET, "/api/v1beta1/pods/a%20b", "Get(pods, a b)"),
            (Method::POST, "/api/v1beta1/replicationcontrollers", "Create(replicationControllers)"),
            (Method::PUT, "/api/v1beta1/services/a", "Update(services, a)"),
            (Method::DELETE, "/api/v1beta1/nodes/a", "Delete(minions, a)"),
            (Method::DELETE, "/api/v1beta1/pods", "Unknown"),
            (Method::PATCH, "/api/v1beta1/pods/a", "Unknown"),
            (Method::GET, "/api/v1beta1/pods/a/status", "Unknown"),
            (Method::GET, "/api/v1beta1/Pods", "Unknown"),
            (Method::POST, "/api/v1beta1/bindings", "Bind"),
            (Method::GET, "/api/v1beta1/bindings", "Refused(405)"),
            (Method::GET, "/api/v1beta1/bindings/a", "Refused(404)"),
            (Method::DELETE, "/api/v1beta1/bindings/a", "Refused(404)"),
            (Method::PUT, "/api/v1beta1/bindings/a", "Refused(500)"),
            (Method::DELETE, "/api/v1beta1/endpoints/a", "Refused(400)"),
            (Method::GET, "/api/v1beta1/watch/pods/whatever/else", "Watch(pods)"),
            (Method::GET, "/api/v1beta1/watch/bindings", "Unknown"),
            (Method::GET, "/api/v1beta1/watch/operations", "Unknown"),
            (Method::GET, "/api/v1beta1/redirect/services/a", "Redirect(services, a)"),
            (Method::GET, "/api/v1beta1/redirect/pods/a", "Unknown"),
            (Method::GET, "/api/v1beta1/operations", "Operations"),
            (Method::GET, "/api/v1beta1/operations/1", "Unknown"),
            (Method::GET, "/api/v1beta1/validate", "Validate"),
            (Method::GET, "/validate", "Validate"),
        ] {
            assert_eq!(shown(method.clone(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn proxied_paths_keep_what_follows_the_id_as_it_was_sent() {
        for (path, id, rest, prefix) in [
            (
                "/api/v1beta1/proxy/services/web/a%2Fb/c/",
                "web",
                "/a%2Fb/c/",
                "/api/v1beta1/proxy/services/web",
            ),
            ("/api/v1beta1/proxy/services/web", "web", "", "/api/v1beta1/proxy/services/web"),
            ("/proxy/minion/m:10250/stats", "m:10250", "/stats", "/proxy/minion/m:10250"),
        ] {
            let (_, Route::Proxy(to)) = route(&Method::POST, path) else { panic!("{path}") };
            assert_eq!((to.id.as_str(), to.rest.as_str(), to.prefix.as_str()), (id, rest, prefix));
        }
    }
}
