//! Requests to webhooks over kept connections: a handshake is paid once, not once a write.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use skiff_base::task::Policy;

use super::place::Target;
use crate::api::Api;
use crate::stream::kubelet;

/// The largest answer that is read: objects are at most half of it, and a patch is about one.
const LARGEST: usize = 8 * 1024 * 1024;
/// How many idle connections a webhook may have.
const IDLE: usize = 8;

type Sender = SendRequest<Full<Bytes>>;

/// Idle connections by address and trust.
#[derive(Default)]
pub(crate) struct Connections(Mutex<HashMap<String, Vec<Sender>>>);

impl Connections {
    /// Posts a body and returns the answer's.
    ///
    /// # Errors
    /// What upstream's client says when it cannot.
    pub(crate) async fn post(
        &self,
        api: &Api,
        target: &Target,
        timeout: Duration,
        body: Vec<u8>,
    ) -> Result<Bytes, String> {
        let body = Bytes::from(body);
        let failed = |why: String| format!("Post \"{}\": {why}", target.shown(timeout));
        while let Some(mut sender) = self.idle(&target.key) {
            // A kept connection may have been closed meanwhile: then the request never left, and goes out anew.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.send_request(request(target, timeout, &body)?).await {
                Ok(response) => return self.finish(target, sender, response).await,
                Err(error) if error.is_canceled() || error.is_closed() || error.is_incomplete_message() => {}
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        let mut sender = connect(api, target).await.map_err(failed)?;
        let response = sender.send_request(request(target, timeout, &body)?).await.map_err(|error| {
            failed(if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() })
        })?;
        self.finish(target, sender, response).await
    }

    fn idle(&self, key: &str) -> Option<Sender> {
        let mut idle = self.0.lock();
        let list = idle.get_mut(key)?;
        let sender = list.pop();
        if list.is_empty() {
            idle.remove(key);
        }
        sender
    }

    async fn finish(
        &self,
        target: &Target,
        sender: Sender,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Bytes, String> {
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if !sender.is_closed() {
            let mut idle = self.0.lock();
            let list = idle.entry(target.key.clone()).or_default();
            if list.len() < IDLE {
                list.push(sender);
            }
        }
        match status.as_u16() {
            200..=299 => Ok(body),
            404 => Err("the server could not find the requested resource".to_owned()),
            400 => Err("the server rejected our request for an unknown reason".to_owned()),
            500..=599 => {
                let words = String::from_utf8_lossy(&body[..body.len().min(2048)]).trim().to_owned();
                Err(format!("an error on the server ({words:?}) has prevented the request from succeeding"))
            }
            code => Err(format!(
                "the server responded with the status code {code} but did not return more information"
            )),
        }
    }
}

fn request(target: &Target, timeout: Duration, body: &Bytes) -> Result<Request<Full<Bytes>>, String> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("{}?timeout={}s", target.path, timeout.as_secs()))
        .header(header::HOST, &target.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(body.clone()))
        .map_err(|error| error.to_string())
}

/// A connection to the first place that takes one.
async fn connect(api: &Api, target: &Target) -> Result<Sender, String> {
    let (connector, name) = target.trust()?;
    let mut last = String::new();
    for place in target.places(api)? {
        let stream = match kubelet::dial(&place).await {
            Ok(stream) => stream,
            Err(why) => {
                if last.is_empty() {
                    last = why;
                }
                continue;
            }
        };
        let stream = connector.connect(name, stream).await.map_err(|error| handshake(&error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let stop = api.tasks.token().clone();
        api.tasks.spawn("connection to a webhook", Policy::Optional, async move {
            tokio::select! {
                outcome = connection => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "a connection to a webhook ended early");
                    }
                }
                () = stop.cancelled() => {}
            }
            Ok::<_, Infallible>(())
        });
        return Ok(sender);
    }
    Err(last)
}

/// A failed handshake in upstream's words, where it has some.
fn handshake(error: &std::io::Error) -> String {
    use rustls::{CertificateError as Why, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let why = match inner {
        Some(Error::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature)) => {
            "certificate signed by unknown authority".to_owned()
        }
        Some(Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. })) => {
            "certificate has expired or is not yet valid".to_owned()
        }
        Some(Error::InvalidCertificate(Why::NotValidForNameContext { expected, presented })) => {
            let presented: Vec<&str> = presented
                .iter()
                .map(|name| name.trim_start_matches("DnsName(\"").trim_end_matches("\")"))
                .collect();
            format!("certificate is valid for {}, not {}", presented.join(", "), expected.to_str())
        }
        _ => return format!("remote error: tls: {error}"),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}
