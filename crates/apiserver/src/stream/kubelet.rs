//! Where a node's kubelet is and how to speak to it.

use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::Node;
use rustls::pki_types::ServerName;
use skiff_api::{ApiError, Resource};
use skiff_base::tls::{self, TlsError};
use skiff_store::Key;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::api::Api;
use crate::options::KubeletAccess;

/// The port of a kubelet that does not say.
const PORT: u16 = 10250;

/// The server's identity towards kubelets.
pub(crate) struct Kubelets {
    connector: Option<TlsConnector>,
}

/// A kubelet's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Place {
    /// `10.0.0.1:10250`, as it stands in URLs.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Kubelets {
    /// # Errors
    /// If the certificates are malformed.
    pub(crate) fn new(access: Option<&KubeletAccess>) -> Result<Self, TlsError> {
        let connector = match access {
            None => None,
            Some(access) => {
                let mut config = tls::client(&access.ca_pem, Some(&access.identity))?;
                // Upgrades need HTTP/1.1.
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(TlsConnector::from(Arc::new(config)))
            }
        };
        Ok(Self { connector })
    }

    /// Connects.
    ///
    /// # Errors
    /// A text fit for the client.
    pub(crate) async fn connect(&self, place: &Place) -> Result<TlsStream<TcpStream>, String> {
        let connector = self.connector.as_ref().ok_or("the server has no identity for kubelets")?;
        let stream = dial(place).await?;
        let name =
            ServerName::try_from(place.host.clone()).map_err(|error| format!("{}: {error}", place.host))?;
        connector.connect(name, stream).await.map_err(|error| format!("tls: {}: {error}", place.authority()))
    }
}

/// A plain connection.
///
/// # Errors
/// A text fit for the client.
pub(crate) async fn dial(place: &Place) -> Result<TcpStream, String> {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
    let authority = place.authority();
    let connect = TcpStream::connect((place.host.as_str(), place.port));
    match tokio::time::timeout(PATIENCE, connect).await {
        Ok(Ok(stream)) => {
            let _refused_by_the_kernel = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(format!("dial tcp {authority}: {error}")),
        Err(_) => Err(format!("dial tcp {authority}: i/o timeout")),
    }
}

/// A TLS connection with whoever answers.
///
/// # Errors
/// A text fit for the client.
pub(crate) async fn dial_any(place: &Place) -> Result<TlsStream<TcpStream>, String> {
    static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(|| {
        let builder = rustls::ClientConfig::builder().dangerous();
        let mut config = builder.with_custom_certificate_verifier(tls::any_server()).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    });
    let name =
        ServerName::try_from(place.host.clone()).map_err(|error| format!("{}: {error}", place.host))?;
    let stream = dial(place).await?;
    CONNECTOR.connect(name, stream).await.map_err(|error| format!("tls: {}: {error}", place.authority()))
}

/// The kubelet of a node.
///
/// # Errors
/// 404 if the node is not there, 500 if it has no address.
pub(crate) fn of(api: &Api, node: &str) -> Result<Place, ApiError> {
    let stored = api
        .store
        .get(&Key::new("nodes", node))
        .ok_or_else(|| ApiError::not_found(&Resource::of::<Node>(), node))?;
    let found = stored.object().decode::<Node>().map_err(ApiError::internal)?;
    let status = found.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    // Upstream's order of preference, without names: those are for people.
    let host = ["InternalIP", "ExternalIP", "Hostname"]
        .iter()
        .find_map(|kind| addresses.iter().find(|address| address.type_ == *kind))
        .map(|address| address.address.clone())
        .ok_or_else(|| {
            ApiError::internal(format!("no preferred addresses found; known addresses: [] (node {node})"))
        })?;
    let port = status
        .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
        .and_then(|endpoint| u16::try_from(endpoint.port).ok())
        .filter(|port| *port != 0)
        .unwrap_or(PORT);
    Ok(Place { host, port })
}
