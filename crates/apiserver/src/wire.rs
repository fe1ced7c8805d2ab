//! HTTP as this server sees it: one request type, one response type, and the shapes a body can have.
//!
//! Bodies are erased early, so that requests from TLS connections, from a plain port and from this process are the same
//! type from here on.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use futures::stream::BoxStream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use skiff_api::ApiError;

/// Any error under a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A request's body, wherever it comes from.
pub type Incoming = UnsyncBoxBody<Bytes, BoxError>;
/// A request.
pub type Request = http::Request<Incoming>;
/// An answer.
pub type Response = http::Response<Body>;

/// What JSON bodies are called.
pub(crate) const JSON: &str = "application/json";

/// A list goes out in pieces of about this size, so that no answer is ever whole in memory.
const PIECE: usize = 64 * 1024;

/// An answer's body.
pub struct Body(Shape, Option<Kept>);

/// What lives as long as a body.
type Kept = Box<dyn std::any::Any + Send>;

enum Shape {
    Full(Option<Bytes>),
    Join(Join),
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
    Foreign(Incoming),
}

/// `head`, then slices with or without commas between, then `tail`; copied out piece by piece.
struct Join {
    commas: bool,
    head: Option<Bytes>,
    slices: std::iter::Peekable<Box<dyn Iterator<Item = Bytes> + Send>>,
    tail: Option<Bytes>,
}

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self(Shape::Full(None), None)
    }

    /// The whole body.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Shape::Full(Some(bytes.into())), None)
    }

    /// The same body; `kept` is dropped with it.
    pub(crate) fn kept_until_end(self, kept: impl std::any::Any + Send) -> Self {
        let kept: Kept = match self.1 {
            Some(before) => Box::new((before, kept)),
            None => Box::new(kept),
        };
        Self(self.0, Some(kept))
    }

    /// Whether it ends by itself: no watch, nothing from elsewhere.
    pub(crate) fn is_finite(&self) -> bool {
        matches!(self.0, Shape::Full(_) | Shape::Join(_))
    }

    /// Takes the bytes of a body that is one piece.
    pub(crate) fn take_full(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Shape::Full(bytes) => bytes.take(),
            _ => None,
        }
    }

    /// Slices joined by commas between a head and a tail.
    pub(crate) fn join(
        head: Bytes,
        slices: impl Iterator<Item = Bytes> + Send + 'static,
        tail: Bytes,
    ) -> Self {
        Self::pieces(true, head, slices, tail)
    }

    /// Slices after a head, as they are.
    pub(crate) fn row(head: Bytes, slices: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self::pieces(false, head, slices, Bytes::new())
    }

    fn pieces(
        commas: bool,
        head: Bytes,
        slices: impl Iterator<Item = Bytes> + Send + 'static,
        tail: Bytes,
    ) -> Self {
        let slices: Box<dyn Iterator<Item = Bytes> + Send> = Box::new(slices);
        let slices = slices.peekable();
        Self(Shape::Join(Join { commas, head: Some(head), slices, tail: Some(tail) }), None)
    }

    /// Bytes as they come.
    pub(crate) fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Shape::Stream(Box::pin(stream)), None)
    }

    /// Another server's body, passed on.
    pub(crate) fn foreign<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Shape::Foreign(incoming(body)), None)
    }
}

/// Erases a body.
pub(crate) fn incoming<B>(body: B) -> Incoming
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    UnsyncBoxBody::new(http_body_util::BodyExt::map_err(body, Into::into))
}

impl Join {
    fn next(&mut self) -> Option<Bytes> {
        self.tail.as_ref()?;
        let mut piece = BytesMut::with_capacity(PIECE);
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(&head);
        }
        for slice in self.slices.by_ref() {
            piece.extend_from_slice(&slice);
            if piece.len() >= PIECE {
                break;
            }
            if self.commas {
                piece.extend_from_slice(b",");
            }
        }
        Some(self.finish(piece))
    }

    fn finish(&mut self, mut piece: BytesMut) -> Bytes {
        let ended = self.slices.peek().is_none();
        if ended {
            if self.commas && piece.last() == Some(&b',') {
                piece.truncate(piece.len() - 1);
            }
            if let Some(tail) = self.tail.take() {
                piece.extend_from_slice(&tail);
            }
        } else if self.commas && piece.last() != Some(&b',') {
            piece.extend_from_slice(b",");
        }
        piece.freeze()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Shape::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Shape::Join(join) => Poll::Ready(join.next().map(|piece| Ok(Frame::data(piece)))),
            Shape::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|next| next.map(|bytes| bytes.map(Frame::data)))
            }
            Shape::Foreign(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Shape::Full(bytes) => bytes.is_none(),
            Shape::Join(join) => join.tail.is_none(),
            Shape::Stream(_) => false,
            Shape::Foreign(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Shape::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Shape::Foreign(body) => body.size_hint(),
            Shape::Join(_) | Shape::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer with a body of a media type; `kind` must be a legal header value.
pub(crate) fn answer(code: u16, kind: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache, private"));
    response
}

/// JSON that is already bytes.
pub(crate) fn json(code: u16, bytes: impl Into<Bytes>) -> Response {
    answer(code, JSON, Body::full(bytes))
}

/// JSON of anything that can be encoded.
pub(crate) fn encoded(code: u16, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json(code, bytes),
        Err(error) => refusal(&ApiError::internal(error)),
    }
}

/// A plain text.
pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Response {
    answer(code, "text/plain; charset=utf-8", Body::full(text))
}

/// An error as the client sees it.
pub(crate) fn refusal(error: &ApiError) -> Response {
    let bytes = serde_json::to_vec(&error.status).unwrap_or_default();
    let mut response = json(error.code(), bytes);
    let wait = error.status.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(wait) = wait {
        response.headers_mut().insert("retry-after", HeaderValue::from(wait));
    }
    response
}

/// Adds a `Warning` header for each text.
pub(crate) fn warn(response: &mut Response, warnings: &[String]) {
    for text in warnings {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let clean: String = quoted.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()) {
            response.headers_mut().append("warning", value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn joined(slices: Vec<Bytes>) -> String {
        let body = Body::join("[".into(), slices.into_iter(), "]".into());
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn slices_are_joined_whatever_their_number_and_size() {
        assert_eq!(joined(vec![]).await, "[]");
        assert_eq!(joined(vec!["1".into()]).await, "[1]");
        assert_eq!(joined(vec!["1".into(), "2".into(), "3".into()]).await, "[1,2,3]");
        let big = "x".repeat(PIECE);
        let whole = joined(vec![big.clone().into(), "2".into(), big.clone().into()]).await;
        assert_eq!(whole, format!("[{big},2,{big}]"));
        let row = Body::row("[".into(), vec![big.clone().into(), ",".into(), ",".into()].into_iter());
        assert_eq!(row.collect().await.unwrap().to_bytes(), format!("[{big},,"));
    }
}
