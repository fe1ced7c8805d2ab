//! One request passed on over one connection of its own, and its answer passed back; upgraded if both ends agree.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use hyper::body::Incoming as Received;
use hyper_util::rt::TokioIo;
use skiff_base::task::Policy;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::Api;
use crate::wire::{Body, Request, Response};

/// Headers that speak of one connection only.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// True if the client wants to speak something else than HTTP.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    let connection =
        headers.get(header::CONNECTION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    headers.contains_key(header::UPGRADE)
        && connection.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// Sends `request` with another path over `io`.
///
/// # Errors
/// A text fit for the client.
pub(crate) async fn send(
    api: &Arc<Api>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    path: &str,
    mut request: Request,
) -> Result<http::Response<Received>, String> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| error.to_string())?;
    let stop = api.tasks.token().clone();
    api.tasks.spawn("proxied connection", Policy::Optional, async move {
        tokio::select! {
            outcome = connection.with_upgrades() => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "a proxied connection ended early");
                }
            }
            () = stop.cancelled() => {}
        }
        Ok::<_, Infallible>(())
    });
    prepare(&mut request, path)?;
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    sender.send_request(request).await.map_err(|error| error.to_string())
}

/// Makes of a request to us one to somebody else, with another path.
///
/// # Errors
/// A text fit for the client.
pub(crate) fn prepare(request: &mut Request, path: &str) -> Result<(), String> {
    let upgrade = wants_upgrade(request.headers());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| error.to_string())?;
    *request.version_mut() = http::Version::HTTP_11;
    let headers = request.headers_mut();
    if !upgrade {
        HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
    }
    // Credentials were for us.
    headers.remove(header::AUTHORIZATION);
    Ok(())
}

/// Passes a request on and its answer back.
///
/// # Errors
/// A text fit for the client.
pub(crate) async fn pass(
    api: &Arc<Api>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    path: &str,
    mut request: Request,
) -> Result<Response, String> {
    let ours = wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let mut response = send(api, io, authority, path, request).await?;
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(ours)) = (response.status(), ours) {
        let theirs = hyper::upgrade::on(&mut response);
        let stop = api.tasks.token().clone();
        api.tasks.spawn("relayed stream", Policy::Optional, async move {
            let both = async {
                let (ours, theirs) = tokio::try_join!(ours, theirs)?;
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                // Either end may simply hang up.
                let _hung_up = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
                Ok::<_, hyper::Error>(())
            };
            tokio::select! {
                outcome = both => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "an upgrade was not carried out");
                    }
                }
                () = stop.cancelled() => {}
            }
            Ok::<_, Infallible>(())
        });
        let (parts, _) = response.into_parts();
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    Ok(answer(response))
}

/// Somebody else's answer as ours.
pub(crate) fn answer(response: http::Response<Received>) -> Response {
    let (mut parts, body) = response.into_parts();
    HOP_BY_HOP.iter().for_each(|name| drop(parts.headers.remove(name)));
    parts.version = http::Version::HTTP_11;
    Response::from_parts(parts, Body::foreign(body))
}

/// The first kilobytes of a body: what an error says.
pub(crate) async fn words(body: Received) -> String {
    const ENOUGH: usize = 2048;
    let mut body = http_body_util::Limited::new(body, ENOUGH);
    let mut text = Vec::new();
    while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
        let data: Bytes = frame.into_data().unwrap_or_default();
        text.extend_from_slice(&data);
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}
