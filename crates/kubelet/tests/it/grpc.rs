//! Answers calls over a Unix socket, and makes them: as much of gRPC as a plugin needs.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use skiff_base::Tasks;
use tokio::net::{UnixListener, UnixStream};

/// What comes of a call: the answer's bytes, or one answer after the other, or why not.
pub(crate) enum Answer {
    One(Result<Vec<u8>, String>),
    Many(BoxStream<'static, Vec<u8>>),
}

/// Carries a call out, by its name.
pub(crate) type CarryOut = Arc<dyn Fn(&str, &[u8]) -> Answer + Send + Sync>;

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

/// Before a message stand a flag and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut data = vec![0];
    data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    data.extend(message);
    Bytes::from(data)
}

fn good() -> Frame<Bytes> {
    Frame::trailers(
        [(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))].into_iter().collect(),
    )
}

async fn answer(
    carry_out: CarryOut,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let frames: BoxStream<'static, Frame<Bytes>> =
        match carry_out(path.rsplit('/').next().unwrap(), &body[5..]) {
            Answer::One(Ok(message)) => stream::iter([Frame::data(framed(&message)), good()]).boxed(),
            Answer::One(Err(error)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("13"));
                trailers.insert("grpc-message", HeaderValue::from_str(&error).unwrap());
                stream::iter([Frame::trailers(trailers)]).boxed()
            }
            Answer::Many(messages) => messages.map(|message| Frame::data(framed(&message))).boxed(),
        };
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(StreamBody::new(frames.map(Ok))).unwrap())
}

/// Asks who serves at `socket`; the answer's bytes, or the message of the refusal.
pub(crate) async fn call(socket: &Path, path: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let ask = async {
        let request = Request::post(format!("http://plugin.invalid{path}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let request = request.body(Full::new(framed(message))).unwrap();
        let answer = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        let told = answer.trailers().and_then(|trailers| trailers.get("grpc-message")).cloned();
        match told {
            Some(told) => Err(told.to_str().unwrap().to_owned()),
            None => Ok(answer.to_bytes()[5..].to_vec()),
        }
    };
    tokio::select! {
        answer = ask => answer,
        ended = connection => panic!("the connection to {} ended: {ended:?}", socket.display()),
    }
}
