//! Paths and queries, and what they ask for.

use super::*;

fn read(method: &str, uri: &str) -> Info {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    Info::parse(&method.parse().unwrap(), path, query)
}

/// `verb group/version namespace plural name subresource rest`, with `-` for what is empty.
fn shown(method: &str, uri: &str) -> String {
    let info = read(method, uri);
    let Some(target) = info.target else { return format!("{} (path)", info.verb) };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    format!(
        "{} {} {} {} {} {} {}",
        info.verb,
        format!("{}/{}", target.group, target.version).trim_start_matches('/'),
        or_dash(&target.namespace),
        target.plural,
        or_dash(&target.name),
        or_dash(&target.subresource),
        or_dash(&target.rest)
    )
}

#[test]
fn paths_and_methods_become_verbs_on_resources() {
    for (method, uri, expected) in [
        ("GET", "/api/v1/pods", "list v1 - pods - - -"),
        ("HEAD", "/api/v1/namespaces/a/pods/b", "get v1 a pods b - -"),
        ("GET", "/api/v1/namespaces/a/pods", "list v1 a pods - - -"),
        ("GET", "/api/v1/namespaces/a/pods?watch=true", "watch v1 a pods - - -"),
        ("GET", "/api/v1/namespaces/a/pods?watch=1&limit=2", "watch v1 a pods - - -"),
        ("GET", "/api/v1/namespaces/a/pods?watch=false", "list v1 a pods - - -"),
        ("GET", "/api/v1/namespaces/a/pods/b?watch=true", "get v1 a pods b - -"),
        ("GET", "/api/v1/watch/pods", "watch v1 - pods - - -"),
        ("GET", "/api/v1/watch/namespaces/a/pods/b", "watch v1 a pods b - -"),
        ("GET", "/api/v1/watch/namespaces/a", "watch v1 a namespaces a - -"),
        ("POST", "/api/v1/namespaces/a/pods", "create v1 a pods - - -"),
        ("PUT", "/api/v1/namespaces/a/pods/b/status", "update v1 a pods b status -"),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "patch apps/v1 a deployments b scale -"),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "delete v1 a pods b - -"),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection v1 a pods - - -"),
        ("DELETE", "/api/v1/namespaces/a", "delete v1 a namespaces a - -"),
        ("GET", "/api/v1/namespaces", "list v1 - namespaces - - -"),
        ("PUT", "/api/v1/namespaces/a/finalize", "update v1 a namespaces a finalize -"),
        ("GET", "/api/v1/namespaces/a/status", "get v1 a namespaces a status -"),
        ("GET", "/api/v1/namespaces/a/services/b:80/proxy/c/d", "get v1 a services b:80 proxy c/d"),
        ("POST", "/api/v1/nodes/n/proxy/run/x/", "create v1 - nodes n proxy run/x/"),
        ("GET", "/api/v1/namespaces/a/pods/", "list v1 a pods - - -"),
        ("GET", "/api/v1/namespaces/a/configmaps/x%2Ey", "get v1 a configmaps x.y - -"),
        ("GET", "/api/v1", "get (path)"),
        ("GET", "/apis/apps/v1", "get (path)"),
        ("GET", "/apis", "get (path)"),
        ("GET", "/healthz/ping", "get (path)"),
        ("OPTIONS", "/api/v1/pods", " v1 - pods - - -"),
    ] {
        assert_eq!(shown(method, uri), expected, "{method} {uri}");
    }
}

#[test]
fn flags_are_true_unless_they_say_otherwise() {
    for (query, expected) in [
        ("watch", true),
        ("watch=", true),
        ("watch=0", false),
        ("watch=False", false),
        ("watch=x", true),
        ("", false),
    ] {
        assert_eq!(Query::parse(query).flag("watch"), expected, "{query}");
    }
}
