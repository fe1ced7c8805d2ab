//! The way to an extender: one POST a question, over connections that are kept.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;

/// The largest answer that is read.
const LARGEST: usize = 64 * 1024 * 1024;

/// A program elsewhere.
pub(crate) struct Client {
    url: String,
    patience: Duration,
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// `server` is the name on its certificate, if it is not that of the address.
    pub(crate) fn new(
        url: String,
        patience: Duration,
        mut tls: ClientConfig,
        server: Option<ServerName<'static>>,
    ) -> Self {
        tls.alpn_protocols.clear();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match server {
            Some(name) => {
                let fixed = hyper_rustls::FixedServerNameResolver::new(name);
                builder.with_server_name_resolver(fixed).enable_http1().wrap_connector(tcp)
            }
            None => builder.enable_http1().wrap_connector(tcp),
        };
        Self { url, patience, http: Http::builder(TokioExecutor::new()).build(connector) }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn post(&self, verb: &str, body: Vec<u8>) -> Result<Value, String> {
        let url = format!("{}/{verb}", self.url.trim_end_matches('/'));
        let failed = |why: String| format!("Post {url:?}: {why}");
        let request = http::Request::post(&url).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(body)).map_err(|error| failed(error.to_string()))?;
        let asked = async {
            let response = self.http.request(request).await.map_err(|error| failed(words(&error)))?;
            let code = response.status();
            if code != http::StatusCode::OK {
                return Err(format!("failed {verb} with extender at URL {url}, code {}", code.as_u16()));
            }
            let answer = Limited::new(response.into_body(), LARGEST).collect().await;
            let answer = answer.map_err(|error| failed(error.to_string()))?.to_bytes();
            serde_json::from_slice(&answer).map_err(|error| failed(error.to_string()))
        };
        let late = || {
            failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned())
        };
        tokio::time::timeout(self.patience, asked).await.unwrap_or_else(|_| Err(late()))
    }
}

/// The innermost reason: what surrounds it only says that there is one.
fn words(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), words)
}
