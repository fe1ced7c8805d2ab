//! Where a webhook listens: a URL, or a service, which is looked up in memory.
//!
//! The server may be outside the pod network, so both ways are tried: an endpoint's own address first, which is what
//! works wherever pods can be reached, then the service's address, which works on a node.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::pki_types::ServerName;
use skiff_api::meta;
use skiff_base::tls;
use skiff_store::Key;
use tokio_rustls::TlsConnector;

use crate::api::Api;
use crate::stream::kubelet::Place;

/// A webhook's address and how to trust it.
pub(crate) struct Target {
    /// As it stands in the `Host` header and in messages.
    pub(super) authority: String,
    pub(super) path: String,
    /// Distinguishes connections: address and trust.
    pub(super) key: String,
    host: String,
    port: u16,
    /// Namespace, name and port of a service.
    service: Option<(String, String, i32)>,
    trust: Result<TlsConnector, String>,
}

impl Target {
    pub(crate) fn new(client: &WebhookClientConfig) -> Self {
        let (host, port, path, service) = match (&client.service, &client.url) {
            (Some(service), _) => {
                let host = format!("{}.{}.svc", service.name, service.namespace);
                let port = service.port.unwrap_or(443);
                let path = service.path.clone().unwrap_or_default();
                let at = (service.namespace.clone(), service.name.clone(), port);
                (host, u16::try_from(port).unwrap_or(443), path, Some(at))
            }
            (None, url) => {
                let url = url.as_deref().unwrap_or_default();
                let rest = url.strip_prefix("https://").unwrap_or(url);
                let (authority, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
                let (host, port) = split(authority);
                (host, port.unwrap_or(443), format!("/{path}"), None)
            }
        };
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let authority = match (&service, &client.url) {
            (None, Some(_)) if port == 443 => host.clone(),
            _ if host.contains(':') => format!("[{host}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        let bundle = client.ca_bundle.as_ref().map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned());
        Self {
            key: format!("{authority}\n{}", bundle.as_deref().unwrap_or_default()),
            trust: trust(bundle.as_deref()),
            authority,
            path,
            host,
            port,
            service,
        }
    }

    /// The address as messages show it.
    pub(super) fn shown(&self, timeout: Duration) -> String {
        format!("https://{}{}?timeout={}s", self.authority, self.path, timeout.as_secs())
    }

    /// Who it must prove to be, and how that is checked.
    ///
    /// # Errors
    /// A text fit for the client.
    pub(super) fn trust(&self) -> Result<(&TlsConnector, ServerName<'static>), String> {
        let connector = self.trust.as_ref().map_err(Clone::clone)?;
        let name =
            ServerName::try_from(self.host.clone()).map_err(|error| format!("{}: {error}", self.host))?;
        Ok((connector, name))
    }

    /// Where to connect to, best first.
    ///
    /// # Errors
    /// A text fit for the client.
    pub(super) fn places(&self, api: &Api) -> Result<Vec<Place>, String> {
        match &self.service {
            None => Ok(vec![Place { host: self.host.clone(), port: self.port }]),
            Some((namespace, name, port)) => places(api, namespace, name, *port),
        }
    }
}

/// Host and port of an authority, which may have an address of version 6 in brackets.
fn split(authority: &str) -> (String, Option<u16>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host.to_owned(), rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.split_once(':') {
        Some((host, port)) => (host.to_owned(), port.parse().ok()),
        None => (authority.to_owned(), None),
    }
}

fn trust(bundle: Option<&str>) -> Result<TlsConnector, String> {
    let Some(bundle) = bundle.filter(|bundle| !bundle.trim().is_empty()) else {
        return Err(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        );
    };
    let mut config =
        tls::client(bundle, None).map_err(|error| format!("unable to load root certificates: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Where a service's port can be reached, best first.
///
/// # Errors
/// A text fit for the client.
pub(crate) fn places(api: &Api, namespace: &str, name: &str, port: i32) -> Result<Vec<Place>, String> {
    let key = Key { table: "services".into(), name: meta::key(Some(namespace), name) };
    let service = api
        .store
        .get(&key)
        .and_then(|stored| stored.object().decode::<Service>().ok())
        .ok_or_else(|| format!("service \"{name}\" not found"))?;
    let spec = service.spec.as_ref();
    if let Some(spec) = spec.filter(|spec| spec.type_.as_deref() == Some("ExternalName")) {
        let host = spec.external_name.clone().unwrap_or_default();
        return Ok(vec![Place { host, port: u16::try_from(port).unwrap_or(443) }]);
    }
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let own = ports
        .iter()
        .find(|own| own.port == port)
        .ok_or_else(|| format!("no service port {port} found for service \"{name}\""))?;
    let mut places = Vec::new();
    let slices = api.store.snapshot("discovery.k8s.io/endpointslices");
    let prefix = meta::key(Some(namespace), "");
    for (_, stored) in slices.beginning(&prefix) {
        let of =
            stored.object().meta().labels.get("kubernetes.io/service-name").is_some_and(|of| &**of == name);
        let Some(slice) = of.then(|| stored.object().decode::<EndpointSlice>().ok()).flatten() else {
            continue;
        };
        let wanted = own.name.as_deref().unwrap_or_default();
        let port =
            slice.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == wanted);
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            if ready {
                places.extend(endpoint.addresses.first().map(|host| Place { host: host.clone(), port }));
            }
        }
    }
    if places.len() > 1 {
        let first = rand::random_range(0..places.len());
        places.rotate_left(first);
    }
    let address = spec.and_then(|spec| spec.cluster_ip.clone()).filter(|ip| !ip.is_empty() && ip != "None");
    if places.is_empty() {
        return Err(format!("no endpoints available for service \"{name}\""));
    }
    let target = match own.target_port {
        Some(IntOrString::Int(_) | IntOrString::String(_)) | None => u16::try_from(own.port).unwrap_or(443),
    };
    places.extend(address.map(|host| Place { host, port: target }));
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_host_port_and_path() {
        let of = |url: &str| {
            let client = WebhookClientConfig { url: Some(url.to_owned()), ..Default::default() };
            let target = Target::new(&client);
            (target.host.clone(), target.port, target.shown(Duration::from_secs(10)))
        };
        assert_eq!(of("https://a.b/c/d"), ("a.b".into(), 443, "https://a.b/c/d?timeout=10s".into()));
        assert_eq!(of("https://a:8443"), ("a".into(), 8443, "https://a:8443/?timeout=10s".into()));
        assert_eq!(of("https://[::1]:1/x"), ("::1".into(), 1, "https://[::1]:1/x?timeout=10s".into()));
    }
}
