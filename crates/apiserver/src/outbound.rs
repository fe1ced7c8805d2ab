//! Servers elsewhere that this one asks: issuers of tokens, webhooks that say who somebody is and what they may.
//!
//! A connection lives for one question; the answers are what is kept, by whoever asked.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde_json::Value;
use skiff_base::Backoff;
use skiff_base::pki::Identity;
use skiff_base::task::{Policy, Tasks};
use skiff_base::tls;
use tokio_rustls::TlsConnector;

use crate::stream::kubelet::{self, Place};

/// The largest answer that is read.
const LARGEST: usize = 8 * 1024 * 1024;

/// Whom to believe and who we are, for one server elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `https://host:port/path`.
    pub url: String,
    /// The authority of its certificate, PEM; the machine's own choice if there is none.
    pub ca_pem: Option<String>,
    /// Our certificate and key.
    pub identity: Option<Identity>,
    /// The token that we bear.
    pub token: Option<String>,
    /// Where it stands, if it may change: read again for each question. While that fails, the last one goes on.
    pub token_file: Option<PathBuf>,
    /// Whether anybody may answer.
    pub insecure: bool,
}

/// An access that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not `https://`.
    #[error("{0:?} has invalid scheme, require 'https'")]
    Scheme(String),
    /// When it is to be asked cannot be understood.
    #[error("match condition: {0}")]
    Condition(String),
    /// Not an address.
    #[error("{0:?} is no URL")]
    Url(String),
    /// The certificates cannot be used.
    #[error("trust {url}")]
    Tls {
        /// Who is asked.
        url: String,
        /// Why.
        source: tls::TlsError,
    },
}

/// A server elsewhere, ready to be asked.
pub(crate) struct Server {
    url: Uri,
    bearer: Arc<Bearer>,
    connector: TlsConnector,
}

/// The token that we bear.
struct Bearer {
    last: Mutex<Option<String>>,
    file: Option<PathBuf>,
}

impl Bearer {
    async fn token(&self) -> Option<String> {
        if let Some(file) = &self.file {
            match tokio::fs::read_to_string(file).await {
                Ok(text) if !text.trim().is_empty() => *self.last.lock() = Some(text.trim().to_owned()),
                Ok(_) => tracing::warn!(file = %file.display(), "the file of our token is empty"),
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "our token cannot be read again");
                }
            }
        }
        self.last.lock().clone()
    }
}

impl Server {
    /// # Errors
    /// If the address or the certificates cannot be used.
    pub(crate) fn new(access: &Access) -> Result<Self, AccessError> {
        let url: Uri = access.url.parse().map_err(|_| AccessError::Url(access.url.clone()))?;
        if url.scheme_str() != Some("https") {
            return Err(AccessError::Scheme(access.url.clone()));
        }
        let identity = access.identity.as_ref();
        let made = if access.insecure {
            tls::any_client(identity)
        } else {
            match &access.ca_pem {
                Some(pem) => tls::client(pem, identity),
                None => tls::system_client(identity),
            }
        };
        let mut config = made.map_err(|source| AccessError::Tls { url: access.url.clone(), source })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let bearer = Bearer { last: Mutex::new(access.token.clone()), file: access.token_file.clone() };
        Ok(Self { url, bearer: Arc::new(bearer), connector: TlsConnector::from(Arc::new(config)) })
    }

    /// The same server's other address, trusted in the same way.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn at(&self, url: &str) -> Result<Self, AccessError> {
        let url: Uri = url.parse().map_err(|_| AccessError::Url(url.to_owned()))?;
        if url.scheme_str() != Some("https") {
            return Err(AccessError::Scheme(url.to_string()));
        }
        Ok(Self { url, bearer: Arc::clone(&self.bearer), connector: self.connector.clone() })
    }

    /// A document.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn get(&self, tasks: &Tasks, patience: Duration) -> Result<Value, String> {
        self.ask(tasks, Method::GET, Vec::new(), patience).await
    }

    /// The answer to an object.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn post(
        &self,
        tasks: &Tasks,
        body: &Value,
        patience: Duration,
    ) -> Result<Value, String> {
        self.ask(tasks, Method::POST, body.to_string().into_bytes(), patience).await
    }

    async fn ask(
        &self,
        tasks: &Tasks,
        method: Method,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Value, String> {
        let word = if method == Method::GET { "Get" } else { "Post" };
        let failed = |why: String| format!("{word} \"{}\": {why}", self.url);
        let answer = tokio::time::timeout(patience, self.exchange(tasks, method, body)).await;
        let (status, body) =
            answer.map_err(|_| failed("context deadline exceeded".to_owned()))?.map_err(failed)?;
        if !status.is_success() {
            let words = String::from_utf8_lossy(&body[..body.len().min(512)]).trim().to_owned();
            return Err(failed(format!("{status}: {words}")));
        }
        serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
    }

    async fn exchange(
        &self,
        tasks: &Tasks,
        method: Method,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), String> {
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let place = Place { host: host.clone(), port: self.url.port_u16().unwrap_or(443) };
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host}: {error}"))?;
        let stream = kubelet::dial(&place).await?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| format!("tls: {error}"))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let connection = tasks.spawn("question to a server elsewhere", Policy::Optional, async move {
            let _ended = connection.await;
            Ok::<_, Infallible>(())
        });
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(method).uri(path);
        if let Some(headers) = request.headers_mut() {
            self.introduce(headers, self.bearer.token().await);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let answer = async {
            let (parts, body) =
                sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
            Ok((parts.status, body.to_bytes()))
        };
        let outcome = answer.await;
        connection.abort();
        outcome
    }

    fn introduce(&self, headers: &mut HeaderMap, token: Option<String>) {
        let authority = self.url.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let bearer = token.map(|token| format!("Bearer {token}"));
        let said = [
            (HOST, Some(authority)),
            (USER_AGENT, Some("kube-apiserver")),
            (ACCEPT, Some("application/json")),
            (CONTENT_TYPE, Some("application/json")),
            (AUTHORIZATION, bearer.as_deref()),
        ];
        for (name, value) in said {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        }
    }
}

/// Posts an object, again if that fails: a webhook may be away for a moment.
///
/// # Errors
/// Why the last try failed.
pub(crate) async fn insist(server: &Server, tasks: &Tasks, body: &Value) -> Result<Value, String> {
    const PATIENCE: Duration = Duration::from_secs(30);
    const TRIES: usize = 5;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
    let mut failed = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            backoff.wait().await;
        }
        match server.post(tasks, body, PATIENCE).await {
            Ok(answer) => return Ok(answer),
            Err(why) => failed = why,
        }
    }
    Err(failed)
}
