//! Where a network probe or hook goes: ports by name, and the request an `httpGet` stands for. Pure.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A GET to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Request {
    /// As it is shown in messages.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", authority(&self.host, self.port), self.path)
    }
}

/// Host and port, with brackets where the host is an IPv6 address.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The number of a port that may be given by name.
pub(crate) fn port_number(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            match named {
                Some(port) => port.container_port,
                None => {
                    name.parse().map_err(|_| format!("couldn't find port: {name:?} in pod's container"))?
                }
            }
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

/// The request an action stands for; `agent` unless the action names its own.
pub(crate) fn request_of(
    action: &HTTPGetAction,
    container: &Container,
    ip: IpAddr,
    agent: &str,
) -> Result<Request, String> {
    let port = port_number(&action.port, container)?;
    let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| ip.to_string());
    let https = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let mut path = action.path.clone().unwrap_or_default();
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    let mut headers = HeaderMap::new();
    for wanted in action.http_headers.iter().flatten() {
        let name = HeaderName::from_bytes(wanted.name.as_bytes()).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_str(&wanted.value).map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    let usual =
        |value: &str| HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static("*/*"));
    // An empty value of the user's means that the header is not wanted.
    for (name, value) in [(header::USER_AGENT, agent), (header::ACCEPT, "*/*")] {
        match headers.get(&name) {
            None => {
                headers.insert(name, usual(value));
            }
            Some(given) if given.is_empty() => {
                headers.remove(&name);
            }
            Some(_) => {}
        }
    }
    if headers.get(header::HOST).is_none_or(HeaderValue::is_empty) {
        headers.insert(header::HOST, usual(&authority(&host, port)));
    }
    Ok(Request { https, host, port, path, headers })
}
