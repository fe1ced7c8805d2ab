//! Paths that are not resources: discovery, OpenAPI, version, health, metrics, and what there is at all.

use std::sync::Arc;

use serde_json::json;
use skiff_api::ApiError;

use crate::api::Api;
use crate::authz::Authorized;
use crate::discovery;
use crate::health;
use crate::request::Verb;
use crate::wire::{self, Body, Response};

/// Answers a path.
pub(crate) async fn serve(api: &Arc<Api>, call: Authorized) -> Result<Response, ApiError> {
    if call.info.verb != Verb::Get {
        return Err(ApiError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ));
    }
    if let Some(response) = health::serve(api, &call.info) {
        return Ok(response);
    }
    let headers = call.request.headers();
    let path = call.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        [""] => Ok(wire::encoded(200, &json!({ "paths": all(api) }))),
        [".well-known", "openid-configuration"] => Ok(openid(api)),
        ["openid", "v1", "jwks"] => {
            let body = serde_json::to_vec(&api.issuer.jwks()).map_err(ApiError::internal)?;
            let mut response = wire::answer(200, "application/jwk-set+json", Body::full(body));
            response.headers_mut().insert("cache-control", KEYS_LAST);
            Ok(response)
        }
        ["version"] => Ok(wire::encoded(200, &version(api))),
        ["metrics"] => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(wire::answer(200, kind, Body::full(api.metrics.text())))
        }
        _ => discovery::serve(api, &parts, headers).ok_or_else(ApiError::no_such_path),
    }
}

/// How long others may keep our keys.
const KEYS_LAST: http::HeaderValue = http::HeaderValue::from_static("public, max-age=3600");

/// What those need who verify our tokens (OpenID Connect discovery).
fn openid(api: &Api) -> Response {
    let address = api.settings.advertise.map(|address| address.to_string());
    let host = address.unwrap_or_else(|| "kubernetes.default.svc".to_owned());
    let mut response = wire::encoded(
        200,
        &json!({
            "issuer": api.issuer.issuer,
            "jwks_uri": api.settings.jwks_uri.clone().unwrap_or_else(|| format!("https://{host}/openid/v1/jwks")),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": api.issuer.algorithms(),
        }),
    );
    response.headers_mut().insert("cache-control", KEYS_LAST);
    response
}

fn all(api: &Api) -> Vec<String> {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
    let services = api.aggregation.services(api);
    for group in
        discovery::groups(&api.catalog.kinds(), &services).iter().filter(|group| !group.name.is_empty())
    {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{version}", group.name)));
    }
    paths.extend(
        [
            "/.well-known/openid-configuration",
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    paths
}

fn version(api: &Api) -> serde_json::Value {
    let version = &api.settings.version;
    json!({
        "major": version.major,
        "minor": version.minor,
        "gitVersion": version.git_version,
        "gitCommit": version.git_commit,
        "gitTreeState": "clean",
        "buildDate": version.build_date,
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, crate::discovery::go_arch()),
    })
}
