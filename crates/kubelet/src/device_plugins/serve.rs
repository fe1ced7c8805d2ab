//! Where plugins of devices make themselves known: a socket of the kubelet's own, and the one call that it answers.

use std::path::Path;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use skiff_base::Tasks;
use tokio::net::UnixListener;

use super::proto::{Register, VERSION};
use super::{DevicePlugins, FILE, table};
use crate::plugins::client::Plugin;

const SOCKET: &str = "kubelet.sock";

/// Unknown and unimplemented, of gRPC's codes.
const UNKNOWN: &str = "2";
const UNIMPLEMENTED: &str = "12";

/// Removes what plugins of before left, by which those that still run see that they must register again.
fn listen(folder: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != FILE && !entry.file_type()?.is_dir() {
            std::fs::remove_file(entry.path())?;
        }
    }
    UnixListener::bind(folder.join(SOCKET))
}

/// Answers for ever.
pub(super) async fn serve(plugins: DevicePlugins, tasks: Tasks) {
    let listener = match listen(&plugins.inner.folder) {
        Ok(listener) => listener,
        Err(error) => {
            let folder = plugins.inner.folder.display();
            tracing::error!(%folder, %error, "no plugins of devices can register");
            return;
        }
    };
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a plugin of devices was not heard");
                continue;
            }
        };
        let own = plugins.clone();
        let service = service_fn(move |request| answer(own.clone(), request));
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(socket), service);
        tasks.spawn_until_stop(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, "a plugin of devices hung up");
            }
        });
    }
}

async fn answer(
    plugins: DevicePlugins,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let outcome = match path.as_str() {
        "/v1beta1.Registration/Register" => register(&plugins, &body).map_err(|error| (UNKNOWN, error)),
        _ => Err((UNIMPLEMENTED, format!("unknown method {path}"))),
    };
    let mut trailers = HeaderMap::new();
    let mut frames = Vec::new();
    match outcome {
        Ok(()) => {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            // An empty message: a flag and its length.
            frames.push(Ok(Frame::data(Bytes::from_static(&[0; 5]))));
        }
        Err((code, error)) => {
            trailers.insert("grpc-status", HeaderValue::from_static(code));
            let message =
                percent_encoding::utf8_percent_encode(&error, percent_encoding::CONTROLS).to_string();
            if let Ok(message) = HeaderValue::from_str(&message) {
                trailers.insert("grpc-message", message);
            }
        }
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn register(plugins: &DevicePlugins, body: &[u8]) -> Result<(), String> {
    // Before the message stand a flag and its length.
    let message = body.get(5..).unwrap_or_default();
    let asked = Register::decode(message).map_err(|error| error.to_string())?;
    if asked.version != VERSION {
        return Err(format!(
            "requested API version {:?} is not supported by kubelet. Supported versions are [{VERSION:?}]",
            asked.version
        ));
    }
    if !table::is_extended(&asked.resource_name) {
        return Err(format!("the ResourceName {:?} is invalid", asked.resource_name));
    }
    if asked.endpoint.is_empty() || asked.endpoint.contains('/') {
        return Err(format!("the endpoint {:?} is no name of a socket beside the kubelet's", asked.endpoint));
    }
    let plugin = Plugin::at(&plugins.inner.folder.join(&asked.endpoint));
    plugins.register(&asked.resource_name, plugin, asked.options.unwrap_or_default());
    Ok(())
}
