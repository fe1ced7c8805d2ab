//! `proxy` of pods, services and nodes: an HTTP request passed on to where they listen.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use skiff_api::ApiError;
use skiff_store::Key;

use super::kubelet::{self, Place};
use super::links::Through;
use super::{connect, relay};
use crate::authz::Authorized;
use crate::subresource::{Of, Sub};
use crate::user::User;
use crate::verbs::Context;
use crate::wire::{self, Body, Response};

const VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

type Handler = fn(Context, Authorized) -> BoxFuture<'static, Result<Response, ApiError>>;

const fn proxy(of: &'static str, kind: &'static str, handle: Handler) -> Sub {
    Sub { of: Of::Table(of), name: "proxy", verbs: VERBS, kind: Some(kind), group_version: None, handle }
}

pub(crate) static PODS: Sub = proxy("pods", "PodProxyOptions", |context, call| {
    Box::pin(async move {
        admitted(&context, &call.user.clone(), "PodProxyOptions").await?;
        let (place, how) = pod(&context)?;
        pass(context, call, place, how).await
    })
});
pub(crate) static SERVICES: Sub = proxy("services", "ServiceProxyOptions", |context, call| {
    Box::pin(async move {
        admitted(&context, &call.user.clone(), "ServiceProxyOptions").await?;
        let (place, how) = service(&context)?;
        pass(context, call, place, how).await
    })
});
pub(crate) static NODES: Sub = proxy("nodes", "NodeProxyOptions", |context, call| {
    Box::pin(async move {
        admitted(&context, &call.user.clone(), "NodeProxyOptions").await?;
        let (place, how) = node(&context)?;
        pass(context, call, place, how).await
    })
});

/// How the one that is meant is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Plain,
    /// As upstream, whoever answers is believed: nobody says who issued its certificate.
    Tls,
    Kubelet,
}

/// `[scheme:]name[:port]`.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        let named = match parts.as_slice() {
            [name] => Self { scheme: "", name, port: "" },
            [name, port] => Self { scheme: "", name, port },
            [scheme, name, port] => Self { scheme, name, port },
            _ => return Err(ApiError::bad_request(format!("invalid request {text:?}"))),
        };
        match named.scheme {
            "" | "http" | "https" => Ok(named),
            _ => Err(ApiError::bad_request(format!("invalid request {text:?}"))),
        }
    }

    fn how(&self) -> How {
        if self.scheme == "https" { How::Tls } else { How::Plain }
    }
}

/// Asks those who have a say about connections.
async fn admitted(context: &Context, user: &User, kind: &str) -> Result<(), ApiError> {
    let path = format!("/{}", context.target.rest);
    let options = if context.target.rest.is_empty() { json!({}) } else { json!({ "path": path }) };
    connect::admit(context, user, kind, options).await.map(|_| ())
}

async fn pass(context: Context, call: Authorized, place: Place, how: How) -> Result<Response, ApiError> {
    let query = call.request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let bare = call.info.path.ends_with("/proxy");
    if bare && matches!(call.info.method, http::Method::GET | http::Method::HEAD) {
        // Relative links of the page must resolve below it.
        let mut response = wire::answer(301, "text/plain", Body::empty());
        if let Ok(location) = format!("{}/{query}", call.info.path).parse() {
            response.headers_mut().insert("location", location);
        }
        return Ok(response);
    }
    let path = format!("/{}{query}", context.target.rest);
    // `/api/v1/nodes/a/proxy`, or two parts more in a namespace.
    let parts = if context.target.namespace.is_empty() { 6 } else { 8 };
    let prefix = call.info.path.split('/').take(parts).collect::<Vec<_>>().join("/");
    let authority = place.authority();
    let failed = |why: String| ApiError::unavailable(format!("error trying to reach service: {why}"));
    let api = &context.api;
    let answer = match how {
        How::Kubelet => {
            let io = api.kubelets.connect(&place).await.map_err(failed)?;
            relay::pass(api, io, &authority, &path, call.request).await
        }
        How::Tls => {
            let io = kubelet::dial_any(&place).await.map_err(failed)?;
            relay::pass(api, io, &authority, &path, call.request).await
        }
        How::Plain => {
            let io = kubelet::dial(&place).await.map_err(failed)?;
            relay::pass(api, io, &authority, &path, call.request).await
        }
    };
    let through = Through { prefix: &prefix, authority: &authority };
    through.answer(answer.map_err(failed)?).await.map_err(failed)
}

fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

fn stored<K: skiff_api::Readable>(context: &Context, name: &str) -> Result<std::sync::Arc<K>, ApiError> {
    let resource = skiff_api::Resource::of::<K>();
    let key =
        Key { table: resource.table(), name: skiff_api::meta::key(Some(&context.target.namespace), name) };
    let stored = context.api.store.get(&key).ok_or_else(|| ApiError::not_found(&resource, name))?;
    stored.object().decode::<K>().map_err(ApiError::internal)
}

fn pod(context: &Context) -> Result<(Place, How), ApiError> {
    let named = Named::parse(&context.target.name)?;
    let pod = stored::<Pod>(context, named.name)?;
    let first = || {
        let ports = pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .flat_map(|container| container.ports.iter().flatten());
        ports.map(|port| port.container_port).next()
    };
    let port = match named.port {
        "" => first().and_then(|port| u16::try_from(port).ok()).unwrap_or(80),
        text => port_number(text).ok_or_else(|| ApiError::bad_request(format!("invalid port {text:?}")))?,
    };
    let host = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
    if host.is_empty() {
        return Err(ApiError::bad_request("address not allowed"));
    }
    Ok((Place { host, port }, named.how()))
}

fn service(context: &Context) -> Result<(Place, How), ApiError> {
    let named = Named::parse(&context.target.name)?;
    let service = stored::<Service>(context, named.name)?;
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    // A number is one of the service's own ports; its name is what endpoints know it by.
    let number = named.port.parse::<i32>().ok();
    let mut wanted = named.port.to_owned();
    let mut fallback = number;
    if let Some(port) = number.and_then(|number| ports.iter().find(|port| port.port == number)) {
        wanted = port.name.clone().unwrap_or_default();
        fallback = match &port.target_port {
            Some(IntOrString::Int(target)) if *target != 0 => Some(*target),
            _ => Some(port.port),
        };
    } else if named.port.is_empty()
        && let [only] = ports
    {
        wanted = only.name.clone().unwrap_or_default();
    }
    let none = || ApiError::unavailable(format!("no endpoints available for service {:?}", named.name));
    let endpoints = stored::<Endpoints>(context, named.name).map_err(|_| none())?;
    let mut places = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset.ports.as_deref().unwrap_or_default();
        let port = ports
            .iter()
            .find(|port| port.name.as_deref().unwrap_or_default() == wanted)
            .or_else(|| ports.iter().find(|port| Some(port.port) == fallback));
        let Some(port) = port.and_then(|port| u16::try_from(port.port).ok()) else { continue };
        for address in subset.addresses.iter().flatten() {
            places.push(Place { host: address.ip.clone(), port });
        }
    }
    if places.is_empty() {
        return Err(none());
    }
    Ok((places.swap_remove(rand::random_range(0..places.len())), named.how()))
}

/// A node's place; without a port, or with the kubelet's, its kubelet.
fn node(context: &Context) -> Result<(Place, How), ApiError> {
    let named = Named::parse(&context.target.name)?;
    // `https:name` without a port reads as a port of a node called https.
    let (name, port) = if named.scheme.is_empty() && named.name == "https" {
        (named.port, "")
    } else {
        (named.name, named.port)
    };
    let place = kubelet::of(&context.api, name)?;
    match port {
        "" => Ok((place, How::Kubelet)),
        text => match port_number(text) {
            Some(port) if port == place.port => Ok((place, How::Kubelet)),
            Some(port) => Ok((Place { port, ..place }, named.how())),
            None => Err(ApiError::bad_request(format!("invalid port {text:?}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_scheme_and_port() {
        assert_eq!(Named::parse("a").unwrap(), Named { scheme: "", name: "a", port: "" });
        assert_eq!(Named::parse("a:80").unwrap(), Named { scheme: "", name: "a", port: "80" });
        assert_eq!(Named::parse("http:a:web").unwrap(), Named { scheme: "http", name: "a", port: "web" });
        assert_eq!(Named::parse("https:a:web").unwrap().how(), How::Tls);
        assert_eq!(Named::parse("a:443").unwrap().how(), How::Plain);
        assert!(Named::parse("ftp:a:web").is_err());
        assert!(Named::parse("a:b:c:d").is_err());
    }
}
