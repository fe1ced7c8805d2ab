//! Where a server elsewhere is and who we are there: the client for a remote link.

use http::Uri;
use http::header::{HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use skiff_base::pki::Identity;

use crate::link::Link;

/// Who owns the fields that are set from afar: only nodes are.
const AGENT: HeaderValue = HeaderValue::from_static("kubelet");

/// A server and the identity to show it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// `https://10.89.0.1:6443`.
    pub server: Uri,
    /// The cluster's authority, PEM.
    pub ca_pem: String,
    /// Client certificate and key.
    pub identity: Identity,
}

/// A remote that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The certificates are malformed.
    #[error(transparent)]
    Tls(#[from] skiff_base::tls::TlsError),
}

impl Remote {
    /// A link over HTTPS. Nothing is sent yet.
    ///
    /// # Errors
    /// If the certificates are malformed. Must be called inside a tokio runtime.
    pub fn link(&self) -> Result<Link, RemoteError> {
        let mut tls = skiff_base::tls::client(&self.ca_pem, Some(&self.identity))?;
        tls.alpn_protocols.clear();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        let http: Http<_, kube::client::Body> = Http::builder(TokioExecutor::new()).build(connector);
        let service = tower::ServiceBuilder::new()
            .layer(kube::client::middleware::BaseUriLayer::new(self.server.clone()))
            .map_request(|mut request: http::Request<kube::client::Body>| {
                request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
                request
            })
            .service(http);
        Ok(Link::remote(kube::Client::new(service, "default")))
    }
}
