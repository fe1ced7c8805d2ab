//! A server behind an APIService: how it is reached, how it proves who it is, and what it has said of itself.
//!
//! Connections are kept: a handshake is paid once, not once a request. One that is told to carry something else than
//! HTTP is not kept.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming as Received;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIServiceSpec;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use skiff_base::pki::Identity;
use skiff_base::task::Policy;
use skiff_base::tls::{self, TlsError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::discovery::Said;
use super::pass;
use crate::admission::webhook::places;
use crate::api::Api;
use crate::stream::kubelet::{self, Place};
use crate::wire::{self, Incoming, Request};

/// How many idle connections are kept.
const IDLE: usize = 32;
/// The longest document that is read.
const LONGEST: usize = 32 * 1024 * 1024;

type Sender = SendRequest<Incoming>;

/// The server.
pub(crate) struct Backend {
    spec: APIServiceSpec,
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: i32,
    trust: Result<TlsConnector, String>,
    /// For finding out whether it answers, where it need not prove anything.
    credulous: Result<TlsConnector, String>,
    /// Connections at rest, and whom they lead to.
    idle: Mutex<Vec<(String, Sender)>>,
    /// What it has said of what it serves.
    pub(super) said: ArcSwap<Said>,
}

impl Backend {
    pub(super) fn new(spec: &APIServiceSpec, identity: Option<&Identity>) -> Self {
        let at = spec.service.clone().unwrap_or_default();
        let connector = |made: Result<rustls::ClientConfig, TlsError>| {
            let mut config = made.map_err(|error| format!("unable to load root certificates: {error}"))?;
            // Upgrades need HTTP/1.1.
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let bundle = spec.ca_bundle.as_ref().map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned());
        let credulous = connector(tls::any_client(identity));
        let trust = match bundle.filter(|bundle| !bundle.trim().is_empty()) {
            Some(bundle) => connector(tls::client(&bundle, identity)),
            None if spec.insecure_skip_tls_verify == Some(true) => credulous.clone(),
            None => {
                Err("tls: failed to verify certificate: x509: certificate signed by unknown authority"
                    .to_owned())
            }
        };
        Self {
            spec: spec.clone(),
            namespace: at.namespace.unwrap_or_default(),
            service: at.name.unwrap_or_default(),
            port: at.port.unwrap_or(443),
            trust,
            credulous,
            idle: Mutex::default(),
            said: ArcSwap::default(),
        }
    }

    /// Whether an APIService means this server, and trusts it in this way.
    pub(super) fn is_of(&self, spec: &APIServiceSpec) -> bool {
        self.spec.service == spec.service
            && self.spec.ca_bundle == spec.ca_bundle
            && self.spec.insecure_skip_tls_verify == spec.insecure_skip_tls_verify
    }

    /// Where it can be reached, best first.
    pub(super) fn places(&self, api: &Api) -> Result<Vec<Place>, String> {
        places(api, &self.namespace, &self.service, self.port)
    }

    /// A connection to `place`, whoever answers there.
    pub(super) async fn try_out(&self, place: &Place) -> Result<TlsStream<TcpStream>, String> {
        let connector = self.credulous.as_ref().map_err(Clone::clone)?;
        self.shake(connector, place).await
    }

    async fn shake(&self, connector: &TlsConnector, place: &Place) -> Result<TlsStream<TcpStream>, String> {
        let name = format!("{}.{}.svc", self.service, self.namespace);
        let name = ServerName::try_from(name.clone()).map_err(|error| format!("{name}: {error}"))?;
        let stream = kubelet::dial(place).await?;
        connector.connect(name, stream).await.map_err(|error| format!("tls: {}: {error}", place.authority()))
    }

    /// A connection to the first place that takes one.
    pub(super) async fn connect(&self, api: &Api) -> Result<(TlsStream<TcpStream>, String), String> {
        let connector = self.trust.as_ref().map_err(Clone::clone)?;
        let mut why = String::new();
        for place in self.places(api)? {
            match self.shake(connector, &place).await {
                Ok(stream) => return Ok((stream, place.authority())),
                Err(failed) if why.is_empty() => why = failed,
                Err(_) => {}
            }
        }
        Err(why)
    }

    /// Sends a request that stays HTTP.
    ///
    /// # Errors
    /// A text fit for the client.
    pub(super) async fn send(
        &self,
        api: &Arc<Api>,
        mut request: Request,
    ) -> Result<http::Response<Received>, String> {
        let current: Vec<String> = self.places(api)?.iter().map(Place::authority).collect();
        while let Some((authority, mut sender)) = self.rested(&current) {
            name_host(request.headers_mut(), &authority);
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(authority, sender);
                    return Ok(response);
                }
                // It was closed meanwhile, and the request never left.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().to_string()),
                },
            }
        }
        let (stream, authority) = self.connect(api).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let stop = api.tasks.token().clone();
        api.tasks.spawn("connection to another API server", Policy::Optional, async move {
            tokio::select! {
                outcome = connection => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "a connection to another API server ended early");
                    }
                }
                () = stop.cancelled() => {}
            }
            Ok::<_, Infallible>(())
        });
        name_host(request.headers_mut(), &authority);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        self.keep(authority, sender);
        Ok(response)
    }

    /// A connection whose last answer has been read to its end.
    fn rested(&self, current: &[String]) -> Option<(String, Sender)> {
        let mut idle = self.idle.lock();
        idle.retain(|(authority, sender)| !sender.is_closed() && current.contains(authority));
        let ready = idle.iter().position(|(_, sender)| sender.is_ready())?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, authority: String, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE && !sender.is_closed() {
            idle.push((authority, sender));
        }
    }

    /// A document of the server's, asked for in our own name.
    ///
    /// # Errors
    /// A text fit for people.
    pub(super) async fn document(
        &self,
        api: &Arc<Api>,
        path: &str,
        headers: &[(&'static str, &str)],
        patience: Duration,
    ) -> Result<http::Response<Bytes>, String> {
        let body = wire::incoming(http_body_util::Empty::<Bytes>::new());
        let mut request =
            http::Request::get(path).body(body).map_err(|error: http::Error| error.to_string())?;
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        }
        pass::introduce(request.headers_mut(), &pass::ourselves());
        let answer = async {
            let (parts, body) = self.send(api, request).await?.into_parts();
            let body = Limited::new(body, LONGEST).collect().await.map_err(|error| error.to_string())?;
            Ok(http::Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err("request timed out".to_owned()))
    }
}

fn name_host(headers: &mut HeaderMap, authority: &str) {
    if let Ok(authority) = HeaderValue::from_str(authority) {
        headers.insert(HOST, authority);
    }
}
