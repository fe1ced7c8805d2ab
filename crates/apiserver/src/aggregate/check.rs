//! Whether the server behind an APIService answers: first what the objects say, then what it says itself.
//!
//! Follows upstream's `kube-aggregator/pkg/controllers/status/remote/remote_available_controller.go`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::select_ok;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_api::meta;
use skiff_base::task::Policy;
use skiff_store::Key;

use super::{Backend, pass};
use crate::api::Api;
use crate::stream::kubelet::Place;
use crate::stream::relay;
use crate::wire::{self, Request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many endpoints are asked at once; one good answer suffices.
const AT_ONCE: usize = 5;

/// What was found out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

fn bad(reason: &'static str, message: String) -> Finding {
    Finding { status: "False", reason, message }
}

/// How it is with the server that answers at `path`.
pub(super) async fn find(api: &Arc<Api>, backend: &Backend, path: &str) -> Finding {
    let found = match look(api, backend) {
        Ok(()) => ask(api, backend, path).await,
        faulty => faulty,
    };
    match found {
        Ok(()) => Finding { status: "True", reason: "Passed", message: "all checks passed".to_owned() },
        Err(faulty) => faulty,
    }
}

/// What the service and its endpoints say.
fn look(api: &Api, backend: &Backend) -> Result<(), Finding> {
    let Backend { namespace, service: name, port, .. } = backend;
    let key = Key { table: "services".into(), name: meta::key(Some(namespace), name) };
    let Some(stored) = api.store.get(&key) else {
        return Err(bad("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
    };
    let service = stored.object().decode::<Service>().map_err(|error| Finding {
        status: "Unknown",
        reason: "ServiceAccessError",
        message: format!("service/{name} in {namespace:?} cannot be checked due to: {error}"),
    })?;
    let slices = api.store.snapshot("discovery.k8s.io/endpointslices");
    let prefix = meta::key(Some(namespace), "");
    let of_service = slices.beginning(&prefix).map(|(_, stored)| stored.object()).filter(|object| {
        object.meta().labels.get("kubernetes.io/service-name").is_some_and(|of| **of == **name)
    });
    let slices: Vec<Arc<EndpointSlice>> = of_service.filter_map(|object| object.decode().ok()).collect();
    judge(&service, &slices, (namespace, name, *port))
}

fn judge(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    (namespace, name, number): (&str, &str, i32),
) -> Result<(), Finding> {
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref().unwrap_or("ClusterIP") != "ClusterIP" {
        return Ok(());
    }
    let Some(port) = spec.ports.iter().flatten().find(|port| port.port == number) else {
        let why = format!("service/{name} in {namespace:?} is not listening on port {number}");
        return Err(bad("ServicePortError", why));
    };
    if slices.is_empty() {
        let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Err(bad("EndpointsNotFound", why));
    }
    let wanted = port.name.as_deref().unwrap_or_default();
    let serves = |slice: &Arc<EndpointSlice>| {
        let mut endpoints = slice.endpoints.iter().flatten();
        let ready = endpoints.any(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        let mut ports = slice.ports.iter().flatten();
        ready && ports.any(|port| port.name.as_deref().unwrap_or_default() == wanted && port.port.is_some())
    };
    if !slices.iter().any(serves) {
        let why = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {wanted:?}"
        );
        return Err(bad("MissingEndpoints", why));
    }
    Ok(())
}

/// What the server itself says.
async fn ask(api: &Arc<Api>, backend: &Backend, path: &str) -> Result<(), Finding> {
    let failed = |why: String| bad("FailedDiscoveryCheck", why);
    let places = backend.places(api).map_err(failed)?;
    let asked = places.into_iter().take(AT_ONCE).map(|place| Box::pin(ask_at(api, backend, place, path)));
    select_ok(asked).await.map(|_| ()).map_err(failed)
}

async fn ask_at(api: &Arc<Api>, backend: &Backend, place: Place, path: &str) -> Result<(), String> {
    let url = format!("https://{}{path}", place.authority());
    let answer = async {
        let stream = backend.try_out(&place).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let connection = api.tasks.spawn("question to another API server", Policy::Optional, connection);
        let mut request = Request::new(wire::incoming(http_body_util::Empty::<bytes::Bytes>::new()));
        relay::prepare(&mut request, path)?;
        if let Ok(host) = place.authority().parse() {
            request.headers_mut().insert(http::header::HOST, host);
        }
        pass::introduce(request.headers_mut(), &pass::ourselves());
        let status = sender.send_request(request).await.map(|response| response.status());
        connection.abort();
        status.map_err(|error| error.to_string())
    };
    let said = match tokio::time::timeout(PATIENCE, answer).await {
        Err(_) => Err(format!("Get \"{url}\": context deadline exceeded")),
        Ok(Err(why)) => Err(format!("Get \"{url}\": {why}")),
        Ok(Ok(status)) if !status.is_success() => Err(format!("bad status from {url}: {}", status.as_u16())),
        Ok(Ok(_)) => Ok(()),
    };
    said.map_err(|why| format!("failing or missing response from {url}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::given;

    fn found(service: &str, slices: &[&str]) -> String {
        let slices: Vec<Arc<EndpointSlice>> = slices.iter().map(|yaml| Arc::new(given(yaml))).collect();
        let judged = judge(&given(service), &slices, ("n", "s", 443));
        judged.map_or_else(|found| format!("{}: {}", found.reason, found.message), |()| "fine".to_owned())
    }

    #[test]
    fn objects_tell_why_a_server_cannot_be_there() {
        let service = "{spec: {type: ClusterIP, ports: [{name: api, port: 443}]}}";
        assert_eq!(
            found("{spec: {ports: [{port: 80}]}}", &[]),
            "ServicePortError: service/s in \"n\" is not listening on port 443"
        );
        assert_eq!(
            found(service, &[]),
            "EndpointsNotFound: cannot find endpointslices for service/s in \"n\""
        );
        let missing = "MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with port name \"api\"";
        let slice = |ready: &str, name: &str| {
            format!(
                "{{addressType: IPv4, endpoints: [{{addresses: [10.0.0.1], conditions: {{ready: {ready}}}}}], ports: [{{name: {name}, port: 8443}}]}}"
            )
        };
        assert_eq!(found(service, &[&slice("false", "api")]), missing);
        assert_eq!(found(service, &[&slice("true", "other")]), missing);
        assert_eq!(found(service, &[&slice("false", "api"), &slice("true", "api")]), "fine");
        assert_eq!(found("{spec: {type: ExternalName, externalName: a.b}}", &[]), "fine");
    }
}
