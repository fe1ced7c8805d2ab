//! HTTP answers: plain texts for errors, as the upstream kubelet gives them, JSON for data, streams for logs.

use std::io;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The body of every answer of this server.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// No body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A text, such as an error's.
pub(super) fn text(status: StatusCode, text: &str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", full(text.to_owned()))
}

/// Data.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => typed(StatusCode::OK, "application/json", full(bytes)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Metrics in the OpenMetrics format, as our registry writes them.
pub(super) fn open_metrics(content: String) -> Response<Body> {
    typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", full(content))
}

/// Metrics in Prometheus' text format.
pub(super) fn metrics(content: String) -> Response<Body> {
    typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(content))
}

/// Bytes as they come.
pub(super) fn stream(bytes: mpsc::Receiver<io::Result<Bytes>>) -> Response<Body> {
    let frames = ReceiverStream::new(bytes).map(|bytes| bytes.map(Frame::data));
    typed(StatusCode::OK, "text/plain", BodyExt::boxed_unsync(StreamBody::new(frames)))
}
