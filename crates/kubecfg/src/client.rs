//! The HTTP client: requests to `/api/v1beta1`, answers as objects, failures as the messages of 2014.

pub(crate) mod auth;
pub(crate) mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::args::Flags;
use crate::ending::Ending;
use crate::target::Target;
use crate::world::World;

/// How long to wait before asking again for an operation that is not finished.
const POLL: Duration = Duration::from_secs(2);
/// All that may not stand in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a request did not give an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused; the text is its Status's message.
    #[error("{0}")]
    Refused(String),
    /// No answer came.
    #[error("{0}")]
    Transport(String),
    /// An answer came that is none.
    #[error("request to {url} failed ({code}) {reason}: {text}")]
    Odd {
        /// What was asked.
        url: String,
        /// The HTTP status.
        code: u16,
        /// Its word.
        reason: String,
        /// The body.
        text: String,
    },
}

/// Talks to one server.
pub(crate) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Target,
    version: String,
    authorization: Option<HeaderValue>,
    /// Sent with every request unless it is `default`, which needs no saying.
    pub(crate) namespace: String,
}

impl Client {
    /// Reads credentials and certificates as the flags and the target say.
    pub(crate) async fn new(flags: &Flags, target: Target, world: &mut World) -> Result<Self, Ending> {
        let credentials = auth::load(flags, &target, world).await?;
        let config = tls::config(flags, &target, &credentials).await?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            http: Http::builder(TokioExecutor::new()).build(connector),
            target,
            version: flags.text("api_version").to_owned(),
            authorization: credentials.header(),
            namespace: String::new(),
        })
    }

    /// The server without a path.
    pub(crate) fn root(&self) -> &str {
        self.target.root()
    }

    /// The URL of a resource path (`pods/a`), with these parameters.
    pub(crate) fn url(&self, path: &str, params: &[(&str, &str)]) -> String {
        let segments: Vec<String> =
            path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(params.iter().filter(|(_, value)| !value.is_empty()));
        if !self.namespace.is_empty() && self.namespace != "default" {
            query.append_pair("namespace", &self.namespace);
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/{}/{}{mark}{query}", self.target.base, self.version, segments.join("/"))
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let mut request = Request::builder().method(method).uri(url);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let mut request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::Transport(error.to_string()))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.pass(request).await
    }

    /// Sends a request of somebody else's, with our credentials only if it has them.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.http.request(request).await.map_err(|error| Failure::Transport(chain(&error)))
    }

    /// The same, with the whole answer read.
    pub(crate) async fn pass(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.open(request).await?;
        let code = response.status();
        let body = response.into_body().collect().await.map_err(|error| Failure::Transport(chain(&error)))?;
        Ok((code, body.to_bytes()))
    }

    /// Our credentials, for requests passed on.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }

    /// A request over a resource path; a write that is not finished is waited for.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
        body: Option<String>,
        world: &mut World,
    ) -> Result<Bytes, Failure> {
        let mut url = self.url(path, params);
        let mut answer = self.send(method, &url, body).await?;
        while answer.0 == StatusCode::ACCEPTED {
            let Some(id) = operation(&answer.1) else { break };
            world.inform(&format!("Waiting for completion of operation {id}"));
            tokio::time::sleep(POLL).await;
            url = self.url(&format!("operations/{id}"), &[]);
            answer = self.send(Method::GET, &url, None).await?;
        }
        let (code, bytes) = answer;
        if code.is_success() {
            return Ok(bytes);
        }
        let status: skiff_api::v1beta1::Status = serde_json::from_slice(&bytes).unwrap_or_default();
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        if !status.message.is_empty() {
            return Err(Failure::Refused(status.message));
        }
        if let Some(cause) = causes.first() {
            return Err(Failure::Refused(cause.message.clone()));
        }
        let reason = code.canonical_reason().unwrap_or_default().to_owned();
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        Err(Failure::Odd { url, code: code.as_u16(), reason, text })
    }
}

/// The id of the operation a `Working` Status speaks of.
fn operation(body: &[u8]) -> Option<String> {
    let status: skiff_api::v1beta1::Status = serde_json::from_slice(body).ok()?;
    if status.status != "Working" {
        return None;
    }
    status.details.map(|details| details.id).filter(|id| !id.is_empty())
}

/// An error with its causes; hyper's own texts end before the reason.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
