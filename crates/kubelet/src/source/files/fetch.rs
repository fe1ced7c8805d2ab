//! Fetches a URL again and again, and says only what is new.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};

/// No manifest is larger.
const LARGEST: usize = 8 * 1024 * 1024;
/// A server that takes longer is not there.
const WITHIN: Duration = Duration::from_secs(10);
/// Where Debian keeps the authorities the machine trusts.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why a URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer came.
    #[error("{0}")]
    Connect(String),
    /// The answer is not a manifest.
    #[error("answered {0}")]
    Status(StatusCode),
    /// The answer broke off or is too long.
    #[error("read the answer: {0}")]
    Body(String),
    /// It did not come in time.
    #[error("no answer within {WITHIN:?}")]
    Late,
}

pub(super) struct Fetch {
    url: Uri,
    client: Option<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>>,
    etag: Option<HeaderValue>,
    last: Option<[u8; 32]>,
}

impl Fetch {
    pub(super) fn new(url: Uri) -> Self {
        Self { url, client: None, etag: None, last: None }
    }

    pub(super) fn url(&self) -> String {
        self.url.to_string()
    }

    /// The content, or none if it is what it was.
    pub(super) async fn again(&mut self) -> Result<Option<Bytes>, FetchError> {
        tokio::time::timeout(WITHIN, self.once()).await.map_err(|_| FetchError::Late)?
    }

    async fn once(&mut self) -> Result<Option<Bytes>, FetchError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let client = client().await?;
                self.client = Some(client.clone());
                client
            }
        };
        let mut request = Request::get(self.url.clone())
            .body(Empty::new())
            .map_err(|error| FetchError::Connect(error.to_string()))?;
        if let Some(etag) = &self.etag {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag.clone());
        }
        let answer = client.request(request).await.map_err(|error| FetchError::Connect(error.to_string()))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(None),
            other => return Err(FetchError::Status(other)),
        }
        let etag = answer.headers().get(header::ETAG).cloned();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let bytes = body.map_err(|error| FetchError::Body(error.to_string()))?.to_bytes();
        self.etag = etag;
        // A server without ETags says the same again and again.
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if self.last.replace(hash) == Some(hash) { Ok(None) } else { Ok(Some(bytes)) }
    }
}

async fn client() -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, FetchError> {
    // A machine without authorities can still be told its pods over plain HTTP.
    let authorities = tokio::fs::read_to_string(AUTHORITIES).await.unwrap_or_default();
    let tls = skiff_base::tls::client(&authorities, None)
        .map_err(|error| FetchError::Connect(error.to_string()))?;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
