//! Answers calls over a Unix socket: as much of gRPC as a plugin needs.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use skiff_base::Tasks;
use tokio::net::UnixListener;

/// Carries a call out, by its name: the answer's bytes, or why not.
pub(crate) type CarryOut = Arc<dyn Fn(&str, &[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// Serves at `socket` until the tasks stop.
pub(crate) fn serve(socket: &Path, carry_out: CarryOut, tasks: &Tasks) {
    let _none_left = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    let own = tasks.clone();
    tasks.spawn_until_stop(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let carry_out = Arc::clone(&carry_out);
            let service = service_fn(move |request| answer(Arc::clone(&carry_out), request));
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service);
            own.spawn_until_stop(async move {
                // A caller may hang up at any time.
                let _ended = served.await;
            });
        }
    });
}

async fn answer(
    carry_out: CarryOut,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = HeaderMap::new();
    let mut data = vec![0];
    // Before the message stand a flag and its length.
    match carry_out(path.rsplit('/').next().unwrap(), &body[5..]) {
        Ok(message) => {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            data.extend(message);
        }
        Err(error) => {
            trailers.insert("grpc-status", HeaderValue::from_static("13"));
            trailers.insert("grpc-message", HeaderValue::from_str(&error).unwrap());
            data.clear();
        }
    }
    let frames = [Ok(Frame::data(Bytes::from(data))), Ok(Frame::trailers(trailers))];
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(StreamBody::new(stream::iter(frames))).unwrap())
}
