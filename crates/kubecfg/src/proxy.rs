//! `-proxy`: a port of this machine that leads to the cluster with our credentials, and to a directory of pages.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use skiff_api::v1beta1::Status;
use skiff_base::command;
use skiff_base::task::{Policy, Tasks};
use tokio::net::TcpListener;

use crate::args::Flags;
use crate::client::Client;
use crate::ending::Ending;
use crate::world::World;

/// The port of 2014.
const PORT: u16 = 8001;
/// How long the user interface is given to be there before a browser is pointed at it.
const BROWSE_AFTER: Duration = Duration::from_secs(2);

/// Serves for ever.
pub(crate) async fn serve(flags: &Flags, client: Client, world: &mut World) -> Result<(), Ending> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))
        .await
        .map_err(|error| Ending::fatal(format!("listen on port {PORT}: {error}")))?;
    world.inform(&format!("Starting to serve on localhost:{PORT}"));
    let tasks = Tasks::new();
    if flags.truth("open_browser") {
        tasks.spawn("browser", Policy::Optional, browse());
    }
    let www = Some(flags.text("www")).filter(|www| !www.is_empty()).map(PathBuf::from);
    accept(listener, Arc::new(Proxy { client, www }), &tasks).await
}

async fn browse() -> Result<(), command::CommandError> {
    tokio::time::sleep(BROWSE_AFTER).await;
    let url = format!("http://localhost:{PORT}/static/");
    command::run("xdg-open", [url], &[], Duration::from_secs(10)).await.map(|_| ())
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>, tasks: &Tasks) -> Result<(), Ending> {
    loop {
        let (stream, _) =
            listener.accept().await.map_err(|error| Ending::fatal(format!("accept: {error}")))?;
        let proxy = Arc::clone(&proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tasks.spawn("connection", Policy::Optional, connection);
    }
}

/// Where requests go.
struct Proxy {
    client: Client,
    www: Option<PathBuf>,
}

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

fn whole(bytes: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (path.strip_prefix("/static/"), &self.www) {
            (Some(rest), Some(www)) => file(www, rest).await,
            _ if path == "/api" || path.starts_with("/api/") => self.forward(request).await,
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Answer {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let refused = |why: String| {
            let body = Status::failure(500, "", why).json();
            let mut answer = text(StatusCode::INTERNAL_SERVER_ERROR, &body);
            answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            answer
        };
        match format!("{}{path}", self.client.root()).parse() {
            Ok(uri) => parts.uri = uri,
            Err(error) => return refused(format!("{path}: {error}")),
        }
        parts.headers.remove(HOST);
        parts.headers.remove(CONNECTION);
        if let Some(authorization) = self.client.authorization() {
            parts.headers.insert(AUTHORIZATION, authorization);
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return refused(error.to_string()),
        };
        // Streamed, as a watch has no end.
        match self.client.open(Request::from_parts(parts, Full::new(body))).await {
            Ok(response) => response.map(BodyExt::boxed_unsync),
            Err(error) => refused(error.to_string()),
        }
    }
}

fn text(code: StatusCode, text: &str) -> Answer {
    let mut answer = whole(text.to_owned());
    *answer.status_mut() = code;
    answer
}

/// A file below the directory; nothing above it, however it is asked for.
async fn file(www: &Path, rest: &str) -> Answer {
    let decoded = percent_encoding::percent_decode_str(rest).decode_utf8_lossy().into_owned();
    let relative = Path::new(&decoded);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let mut path = www.join(relative);
    if decoded.is_empty() || tokio::fs::metadata(&path).await.is_ok_and(|found| found.is_dir()) {
        path.push("index.html");
    }
    let Ok(bytes) = tokio::fs::read(&path).await else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let mut answer = whole(bytes);
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind(&path)));
    answer
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|end| end.to_str()).unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "application/javascript",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
