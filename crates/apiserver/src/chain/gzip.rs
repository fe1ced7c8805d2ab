//! Large answers travel compressed to clients that take it so.
//!
//! Follows upstream's `responsewriters.deferredResponseWriter`: from 128 KiB on, at the fastest level. Watches and what
//! comes from elsewhere pass untouched; lists are compressed piece by piece, so that they are never whole in memory.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::BoxFuture;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};
use http_body_util::BodyExt;

use super::{Call, Next};
use crate::api::Api;
use crate::wire::{Body, BoxError, Response};

/// Smaller answers are sent as they are.
const THRESHOLD: usize = 128 * 1024;

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    if !takes_gzip(call.request.headers()) {
        return next.run(api, call);
    }
    Box::pin(async move {
        let response = next.run(api, call).await;
        if !response.body().is_finite() || response.headers().contains_key(CONTENT_ENCODING) {
            return response;
        }
        compressed(response).await
    })
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|part| matches!(part, "q=0" | "q=0.0"))
        })
    })
}

async fn compressed(response: Response) -> Response {
    let (mut parts, mut body) = response.into_parts();
    let mut first = Vec::new();
    let mut size = 0;
    while size < THRESHOLD {
        let Some(Ok(frame)) = body.frame().await else {
            // It is all there, and small.
            let whole: Vec<u8> = first.concat();
            return Response::from_parts(parts, Body::full(whole));
        };
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        first.push(data.to_vec());
    }
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(CONTENT_LENGTH);
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let pieces = futures::stream::unfold(
        (first.into_iter(), body, encoder),
        |(mut first, mut body, encoder)| async move {
            let mut encoder = encoder?;
            loop {
                let piece = match first.next() {
                    Some(piece) => Some(Bytes::from(piece)),
                    None => match body.frame().await {
                        Some(Ok(frame)) => Some(frame.into_data().unwrap_or_default()),
                        Some(Err(error)) => return Some((Err(error), (first, body, None))),
                        None => None,
                    },
                };
                let Some(piece) = piece else {
                    let end = encoder.finish().map(Bytes::from).map_err(BoxError::from);
                    return Some((end, (first, body, None)));
                };
                if let Err(error) = encoder.write_all(&piece) {
                    return Some((Err(error.into()), (first, body, None)));
                }
                let out = std::mem::take(encoder.get_mut());
                if !out.is_empty() {
                    return Some((Ok(Bytes::from(out)), (first, body, Some(encoder))));
                }
            }
        },
    );
    Response::from_parts(parts, Body::stream(pieces))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn passed(size: usize) -> (Option<HeaderValue>, Bytes) {
        let pieces = (0..size / 1000).map(|at| Bytes::from(format!("{at:0>999}")));
        let body = Body::join("[".into(), pieces, "]".into());
        let response = compressed(Response::new(body)).await;
        let encoding = response.headers().get(CONTENT_ENCODING).cloned();
        (encoding, response.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn large_answers_are_compressed_and_small_ones_are_not() {
        let (encoding, small) = passed(100_000).await;
        assert_eq!((encoding, small.len()), (None, 100_001));
        let (encoding, large) = passed(1_000_000).await;
        assert_eq!(encoding, Some(HeaderValue::from_static("gzip")));
        let mut text = String::new();
        flate2::read::GzDecoder::new(&large[..]).read_to_string(&mut text).unwrap();
        assert!(large.len() < 100_000 && text.len() == 1_000_001, "{} {}", large.len(), text.len());
        assert!(text.starts_with("[0000") && text.ends_with("0999]"));
    }

    #[test]
    fn gzip_must_be_asked_for() {
        for (text, expected) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("br, identity", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(takes_gzip(&headers), expected, "{text}");
        }
    }
}
