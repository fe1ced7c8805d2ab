//! The client's side of the streaming URLs a CRI runtime hands out: exec, attach and forwarded ports over SPDY.
//!
//! SPDY although the runtimes speak WebSocket too: their WebSocket protocol (v4) has no way to close stdin alone, so
//! `echo x | kubectl exec -i .. cat` would never end. The URL is a secret token on the loopback of the
//! runtime's network namespace; it serves one connection and is never shown to anyone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use skiff_base::Tasks;
use skiff_base::task::Policy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::runtime::{AttachRequest, Duplex, ExecRequest, Result, RuntimeError, Session};
use crate::spdy::{Connection, Role, Sink, Source};

/// How much is kept between the runtime's pipe and whoever reads it.
const PIPE: usize = 64 * 1024;
/// How long a runtime on the same machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which pipes of the process are wanted; the URL was asked for with the same.
#[derive(Debug, Clone, Copy, Default)]
struct Pipes {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

fn broken(what: &str) -> impl Fn(&dyn std::fmt::Display) -> RuntimeError {
    let what = what.to_owned();
    move |error| RuntimeError::Stream(format!("{what}: {error}"))
}

/// Follows an exec URL.
pub(super) async fn exec(url: &str, request: &ExecRequest) -> Result<Session> {
    let ExecRequest { stdin, stdout, stderr, tty, .. } = *request;
    session(url, Pipes { stdin, stdout, stderr, tty }).await
}

/// Follows an attach URL.
pub(super) async fn attach(url: &str, request: &AttachRequest) -> Result<Session> {
    let AttachRequest { stdin, stdout, stderr, tty, .. } = *request;
    session(url, Pipes { stdin, stdout, stderr, tty }).await
}

async fn session(url: &str, pipes: Pipes) -> Result<Session> {
    let open = async {
        let connection = connect(url, Some("v4.channel.k8s.io")).await?;
        Opened::all(connection, pipes).await
    };
    let opened = tokio::time::timeout(PATIENCE, open)
        .await
        .map_err(|_| RuntimeError::Deadline("the runtime did not open the streams".to_owned()))??;
    Ok(opened.into_session())
}

/// Follows a port-forward URL to one port.
pub(super) async fn port_forward(url: &str, port: u16) -> Result<Box<dyn Duplex>> {
    let open = async {
        let connection = connect(url, Some("portforward.k8s.io")).await?;
        let stream = |kind: &str| {
            let headers = [("streamtype", kind), ("port", &port.to_string()), ("requestid", "0")];
            headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
        };
        let failed = broken("open the port's streams");
        let mut errors = connection.open(stream("error")).await.map_err(|error| failed(&error))?;
        errors.accepted().await.map_err(|error| failed(&error))?;
        let mut data = connection.open(stream("data")).await.map_err(|error| failed(&error))?;
        data.accepted().await.map_err(|error| failed(&error))?;
        Ok::<_, RuntimeError>((connection, errors.split(), data.split()))
    };
    let (connection, (mut errors, no_errors), (source, sink)) =
        tokio::time::timeout(PATIENCE, open)
            .await
            .map_err(|_| RuntimeError::Deadline("the runtime did not open the port".to_owned()))??;
    // We have nothing to say on the error stream, and Go's server waits for its end.
    let _ended = no_errors.finish().await;

    let (ours, theirs) = tokio::io::duplex(PIPE);
    let (from_caller, mut to_caller) = tokio::io::split(ours);
    let (complain, complaint) = oneshot::channel();
    Tasks::new().spawn("forwarded port", Policy::Optional, async move {
        let outwards = async {
            let mut source = source;
            while let Some(bytes) = source.read().await {
                if to_caller.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            // The runtime ends the error stream with the data stream; what it says explains the end.
            let said = tokio::time::timeout(Duration::from_secs(1), read_all(&mut errors)).await;
            if let Some(text) = said.ok().filter(|text| !text.is_empty()) {
                let _hung_up = complain.send(String::from_utf8_lossy(&text).into_owned());
            }
            let _already_closed = to_caller.shutdown().await;
        };
        let inwards = async {
            feed(from_caller, sink).await;
            // The pod may still have something to say after the caller has finished.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = outwards => {}
            () = inwards => {}
        }
        connection.close(Duration::from_secs(1)).await;
        Ok::<(), RuntimeError>(())
    });
    Ok(Box::new(Port { pipe: theirs, complaint }))
}

/// A forwarded port whose end may have a reason: reading then fails with it.
struct Port {
    pipe: DuplexStream,
    complaint: oneshot::Receiver<String>,
}

impl AsyncRead for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        if buf.filled().len() == before
            && buf.remaining() > 0
            && let Ok(text) = self.complaint.try_recv()
        {
            return Poll::Ready(Err(io::Error::other(text)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Port {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

async fn read_all(source: &mut Source) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some(bytes) = source.read().await {
        text.extend_from_slice(&bytes);
    }
    text
}

/// Opens the TCP connection and changes over to SPDY.
async fn connect(url: &str, protocol: Option<&str>) -> Result<Connection> {
    let uri: http::Uri = url.parse().map_err(|error| broken("the runtime's streaming URL")(&error))?;
    if uri.scheme_str() != Some("http") {
        return Err(RuntimeError::Stream(format!(
            "the runtime's streaming URL is not plain HTTP: {:?}",
            uri.scheme()
        )));
    }
    let authority =
        uri.authority().ok_or_else(|| RuntimeError::Stream("streaming URL without a host".to_owned()))?;
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    let socket =
        TcpStream::connect(&address).await.map_err(|error| broken("connect to the runtime")(&error))?;
    // Keystrokes are small and must not wait for each other.
    let _refused = socket.set_nodelay(true);

    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken("ask the runtime for a stream")(&error))?;
    if let Some(protocol) = protocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        request.headers_mut().insert("x-stream-protocol-version", protocol);
    }
    let failed = broken("upgrade the connection to the runtime");
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| failed(&error))?;
    Tasks::new().spawn("upgrade to the runtime", Policy::Optional, driver.with_upgrades());
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        let text = match Limited::new(response.into_body(), 8 * 1024).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
            Err(_) => String::new(),
        };
        return Err(RuntimeError::Stream(format!("unable to upgrade connection: {status}: {text}")));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| failed(&error))?;
    Ok(Connection::start(TokioIo::new(upgraded), Role::Client))
}

/// The streams of one session, opened and accepted.
struct Opened {
    connection: Connection,
    errors: (Source, Sink),
    stdin: Option<(Source, Sink)>,
    stdout: Option<(Source, Sink)>,
    stderr: Option<(Source, Sink)>,
    resize: Option<(Source, Sink)>,
}

impl Opened {
    async fn all(connection: Connection, pipes: Pipes) -> Result<Self> {
        let failed = broken("open the session's streams");
        let one = async |kind: &str, wanted: bool| -> Result<Option<(Source, Sink)>> {
            if !wanted {
                return Ok(None);
            }
            let headers = vec![("streamtype".to_owned(), kind.to_owned())];
            let mut stream = connection.open(headers).await.map_err(|error| failed(&error))?;
            stream.accepted().await.map_err(|error| failed(&error))?;
            Ok(Some(stream.split()))
        };
        let errors =
            one("error", true).await?.ok_or_else(|| RuntimeError::Stream("no error stream".to_owned()))?;
        let stdin = one("stdin", pipes.stdin).await?;
        let stdout = one("stdout", pipes.stdout).await?;
        let stderr = one("stderr", pipes.stderr && !pipes.tty).await?;
        let resize = one("resize", pipes.tty).await?;
        Ok(Self { errors, stdin, stdout, stderr, resize, connection })
    }

    fn into_session(self) -> Session {
        let (tell, told) = oneshot::channel();
        let (resize, sizes) = mpsc::channel(4);
        let mut readers = Vec::new();
        let mut reader = |stream: Option<(Source, Sink)>| {
            stream.map(|(source, _)| {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                let (_, to_caller) = tokio::io::split(ours);
                readers.push(drain(source, to_caller));
                Box::new(theirs) as crate::runtime::Reader
            })
        };
        let (stdout, stderr) = (reader(self.stdout), reader(self.stderr));
        let (stdin, feeding) = match self.stdin {
            Some((_, sink)) => {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                let (from_caller, _) = tokio::io::split(ours);
                (Some(Box::new(theirs) as crate::runtime::Writer), Some(feed(from_caller, sink)))
            }
            None => (None, None),
        };
        let (connection, errors) = (self.connection, self.errors);
        let resizing = resize_with(self.resize.map(|(_, sink)| sink), sizes);
        Tasks::new().spawn("session", Policy::Optional, async move {
            let mut tell = tell;
            let work = async {
                let input = async {
                    match feeding {
                        Some(feeding) => feeding.await,
                        None => std::future::pending().await,
                    }
                };
                let output = async { tokio::join!(outcome(errors), futures::future::join_all(readers)).0 };
                // Input and sizes matter only while the process runs.
                tokio::select! {
                    outcome = output => outcome,
                    never = async { tokio::join!(input, resizing); std::future::pending().await } => never,
                }
            };
            let outcome = tokio::select! {
                outcome = work => outcome,
                // The caller has dropped the session.
                () = tell.closed() => return Ok::<(), RuntimeError>(()),
            };
            let _hung_up = tell.send(outcome);
            connection.close(Duration::from_secs(1)).await;
            Ok(())
        });
        let exit = async move {
            told.await.unwrap_or_else(|_| Err(RuntimeError::Stream("the session was abandoned".to_owned())))
        };
        Session { stdin, stdout, stderr, resize, exit: Box::pin(exit) }
    }
}

/// Reads the error stream to its end: a v4 Status, or nothing if the connection broke.
async fn outcome((mut source, sink): (Source, Sink)) -> Result<i32> {
    let _ended = sink.finish().await;
    let text = read_all(&mut source).await;
    if text.is_empty() {
        return Err(RuntimeError::Stream("the runtime closed the session without a result".to_owned()));
    }
    exit_code(&text)
}

/// What the Status on the error stream says: the exit code, or why there is none.
fn exit_code(text: &[u8]) -> Result<i32> {
    let plain = || RuntimeError::Stream(String::from_utf8_lossy(text).into_owned());
    let status: Status = serde_json::from_slice(text).map_err(|_| plain())?;
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    if status.reason.as_deref() == Some("NonZeroExitCode") {
        let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
        if let Some(code) = code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
            return Ok(code);
        }
    }
    Err(status.message.map_or_else(plain, RuntimeError::Stream))
}

async fn resize_with(sink: Option<Sink>, mut sizes: mpsc::Receiver<(u16, u16)>) {
    while let Some((width, height)) = sizes.recv().await {
        let size = format!("{{\"Width\":{width},\"Height\":{height}}}\n");
        if let Some(sink) = &sink
            && sink.write(Bytes::from(size)).await.is_err()
        {
            return;
        }
    }
}

/// Stream to pipe, until either ends.
async fn drain(mut source: Source, mut pipe: tokio::io::WriteHalf<DuplexStream>) {
    while let Some(bytes) = source.read().await {
        if pipe.write_all(&bytes).await.is_err() {
            // Nobody reads: what still comes is thrown away, so that the process is not held up.
            while source.read().await.is_some() {}
            return;
        }
    }
    // The other half of the pipe may still be in use, so only this direction is ended.
    let _already_closed: io::Result<()> = pipe.shutdown().await;
}

/// Pipe to stream, until either ends.
async fn feed(mut pipe: ReadHalf<DuplexStream>, sink: Sink) {
    let mut buffer = bytes::BytesMut::new();
    loop {
        buffer.reserve(32 * 1024);
        match pipe.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                if sink.write(buffer.split().freeze()).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ended = sink.finish().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_exit_codes() {
        let non_zero = br#"{"metadata":{},"status":"Failure","message":"x","reason":"NonZeroExitCode",
            "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(exit_code(br#"{"metadata":{},"status":"Success"}"#).unwrap(), 0);
        assert_eq!(exit_code(non_zero).unwrap(), 3);
        let failed = br#"{"status":"Failure","message":"no such file","reason":"InternalError"}"#;
        assert_eq!(exit_code(failed).unwrap_err().message(), "no such file");
        assert_eq!(exit_code(b"plain").unwrap_err().message(), "plain");
    }
}
