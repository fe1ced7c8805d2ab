//! httpGet: a GET whose answer is from 200 to 399.
//!
//! Every try has a connection of its own, as upstream: a kept one would say nothing about a server that accepts no new ones.
//! Certificates are not verified, for a probe asks whether a server answers and not who it is.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use skiff_base::{Tasks, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Outcome;
use super::target::Request;
use super::tcp::connect;

/// How much of an answer is read and told.
const SHOWN: usize = 10 * 1024;
/// How many redirections are followed, as Go's client does.
const REDIRECTIONS: usize = 10;

/// Asks once.
pub(super) async fn check(request: &Request, within: Duration) -> Outcome {
    match get(request, within).await {
        Ok((status, _)) if (200..300).contains(&status.as_u16()) => {
            Outcome::Success("HTTP probe succeeded".to_owned())
        }
        Ok((status, body)) if status.is_redirection() => {
            Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
        }
        Ok((status, _)) => {
            Outcome::Failure(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
        }
        Err(why) => Outcome::Failure(format!("Get {:?}: {why}", request.url())),
    }
}

/// Makes a GET and reads its answer, following redirections to the same host.
pub(crate) async fn get(request: &Request, within: Duration) -> Result<(StatusCode, String), String> {
    let ask = async {
        let mut request = request.clone();
        for turn in 0..=REDIRECTIONS {
            let (status, location, body) = one(&request, within).await?;
            match location.filter(|_| status.is_redirection()).and_then(|to| redirected(&request, &to)) {
                Some(next) if turn < REDIRECTIONS => request = next,
                Some(_) => return Err("stopped after 10 redirects".to_owned()),
                None => return Ok((status, body)),
            }
        }
        Err("stopped after 10 redirects".to_owned())
    };
    match tokio::time::timeout(within, ask).await {
        Ok(answer) => answer,
        Err(_) => {
            Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned())
        }
    }
}

/// Where a redirection leads; none if it leads to another host, which a probe does not follow.
fn redirected(from: &Request, location: &str) -> Option<Request> {
    let to: http::Uri = location.parse().ok()?;
    let mut next = from.clone();
    if let Some(authority) = to.authority() {
        if authority.host().trim_matches(['[', ']']) != from.host {
            return None;
        }
        next.https = to.scheme_str() == Some("https");
        next.port = authority.port_u16().unwrap_or(if next.https { 443 } else { 80 });
        next.headers.insert(header::HOST, authority.as_str().parse().ok()?);
    }
    let path = to.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    next.path = if path.starts_with('/') {
        path.to_owned()
    } else {
        let folder = from.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{path}")
    };
    Some(next)
}

async fn one(request: &Request, within: Duration) -> Result<(StatusCode, Option<String>, String), String> {
    let socket = connect(&request.host, request.port, within).await?;
    if request.https {
        let name = ServerName::try_from(request.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&TLS))
            .connect(name, socket)
            .await
            .map_err(|error| error.to_string())?;
        exchange(request, stream).await
    } else {
        exchange::<TcpStream>(request, socket).await
    }
}

async fn exchange<T>(request: &Request, stream: T) -> Result<(StatusCode, Option<String>, String), String>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let tasks = Tasks::new();
    tasks.spawn_until_stop(async move {
        // What ends the connection also ends the request, which tells.
        let _told_by_the_request = connection.await;
    });
    let mut wanted = http::Request::get(request.path.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    *wanted.headers_mut() = request.headers.clone();
    wanted.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let answer = sender.send_request(wanted).await.map_err(text);
    let result = match answer {
        Ok(answer) => {
            let status = answer.status();
            let location =
                answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
            Ok((status, location, beginning(answer.into_body()).await))
        }
        Err(error) => Err(error),
    };
    tasks.stop();
    result
}

/// The first kilobytes of a body; one that breaks off is as good as one that ends.
async fn beginning(mut body: Incoming) -> String {
    let mut bytes = BytesMut::new();
    while bytes.len() < SHOWN {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
            _ => break,
        }
    }
    bytes.truncate(SHOWN);
    String::from_utf8_lossy(&bytes).into_owned()
}

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    tls::install_provider();
    let config = ClientConfig::builder().dangerous().with_custom_certificate_verifier(tls::any_server());
    Arc::new(config.with_no_client_auth())
});
