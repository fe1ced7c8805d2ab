//! One HTTP/1.1 connection over TLS: bare hyper, so that the client costs as little as a client can.

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::access::Access;

/// How much of each end of a long answer is kept.
const EDGE: usize = 4096;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// The type of the body.
    pub(crate) content: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: Bytes::new(),
            content: "application/json",
            headers: Vec::new(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What came of a long answer that nobody keeps.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) bytes: usize,
    pub(crate) encoding: Option<String>,
    first: BytesMut,
    last: BytesMut,
}

impl Drained {
    fn take(&mut self, data: &[u8]) {
        self.bytes += data.len();
        let room = EDGE.saturating_sub(self.first.len()).min(data.len());
        self.first.extend_from_slice(&data[..room]);
        self.last.extend_from_slice(&data[data.len().saturating_sub(EDGE)..]);
        if self.last.len() > EDGE {
            let surplus = self.last.len() - EDGE;
            let _older = self.last.split_to(surplus);
        }
    }

    /// The text of a list's metadata field: it stands at one of a list's ends.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let marker = format!("\"{name}\":\"");
        [&self.first, &self.last].into_iter().find_map(|edge| {
            let text = String::from_utf8_lossy(edge);
            let (_, rest) = text.split_once(&marker)?;
            let (value, _) = rest.split_once('"')?;
            (!value.is_empty()).then(|| value.to_owned())
        })
    }
}

/// An open connection; closed when dropped.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    _driver: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn open(access: &Access) -> anyhow::Result<Self> {
        let socket = TcpStream::connect((access.host.as_str(), access.port)).await.context("connect")?;
        socket.set_nodelay(true).context("set nodelay")?;
        let tls = TlsConnector::from(access.tls.clone());
        let stream = tls.connect(access.name.clone(), socket).await.context("shake hands")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("begin HTTP")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong is seen by the request that it happens to.
            let _ended = connection.with_upgrades().await;
        });
        Ok(Self { sender, host: format!("{}:{}", access.host, access.port), _driver: driver })
    }

    /// Sends a request; the answer's head, whatever it says.
    pub(crate) async fn send(&mut self, call: Call) -> anyhow::Result<Response<Incoming>> {
        let mut request =
            Request::builder().method(call.method).uri(call.path).header(header::HOST, self.host.as_str());
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, call.content);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body)).context("make the request")?;
        self.sender.ready().await.context("wait for the connection")?;
        self.sender.send_request(request).await.context("send the request")
    }

    /// Sends a request and reads its answer, which must be a success.
    pub(crate) async fn call(&mut self, call: Call) -> anyhow::Result<Bytes> {
        let what = format!("{} {}", call.method, call.path);
        let (status, body) = self.answer(call).await?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body[..body.len().min(600)]).into_owned();
            bail!("{what}: {status}: {text}");
        }
        Ok(body)
    }

    /// Sends a request and reads its answer, whatever it says.
    pub(crate) async fn answer(&mut self, call: Call) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.send(call).await?;
        let status = response.status();
        let body = response.into_body().collect().await.context("read the answer")?.to_bytes();
        Ok((status, body))
    }

    /// Sends a request and reads its long answer without keeping it.
    pub(crate) async fn drain(&mut self, call: Call) -> anyhow::Result<Drained> {
        let what = format!("{} {}", call.method, call.path);
        let response = self.send(call).await?;
        let status = response.status();
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        let encoding = encoding.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let mut drained = Drained { encoding, ..Drained::default() };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.context("read the answer")?.data_ref() {
                drained.take(data);
            }
        }
        if !status.is_success() {
            bail!("{what}: {status}: {}", String::from_utf8_lossy(&drained.first));
        }
        Ok(drained)
    }

    /// Begins a watch on this connection.
    pub(crate) async fn watch(self, path: &str) -> anyhow::Result<Watch> {
        self.watch_in(Form::Json, path).await
    }

    /// The same in a form of one's choice.
    pub(crate) async fn watch_in(mut self, form: Form, path: &str) -> anyhow::Result<Watch> {
        let response = self.send(Call::get(path).header("accept", form.media())).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = response.into_body().collect().await.context("read the refusal")?.to_bytes();
            bail!("watch {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(Watch {
            form,
            body: response.into_body(),
            pending: BytesMut::new(),
            searched: 0,
            _connection: self,
        })
    }
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line each.
    Json,
    /// As Go clients have it: each after its length, in four bytes.
    Protobuf,
}

impl Form {
    fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    /// How long the first event is, if it is there; what was searched already is not searched again.
    fn first(self, pending: &[u8], searched: usize) -> Option<usize> {
        match self {
            Self::Json => {
                let end = pending[searched..].iter().position(|byte| *byte == b'\n')?;
                Some(searched + end + 1)
            }
            Self::Protobuf => {
                let (length, rest) = pending.split_first_chunk::<4>()?;
                let length = u32::from_be_bytes(*length) as usize;
                (rest.len() >= length).then_some(4 + length)
            }
        }
    }
}

/// A stream of events.
pub(crate) struct Watch {
    form: Form,
    body: Incoming,
    pending: BytesMut,
    searched: usize,
    _connection: Connection,
}

impl Watch {
    /// The next event, as it is written; an error when the stream ends.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Some(length) = self.form.first(&self.pending, self.searched) {
                self.searched = 0;
                return Ok(self.pending.split_to(length).freeze());
            }
            self.searched = self.pending.len();
            let frame = self.body.frame().await.context("the watch ended")?.context("read the watch")?;
            if let Some(data) = frame.data_ref() {
                self.pending.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_as_their_form_has_it() {
        assert_eq!(Form::Json.first(b"{}\n{}", 0), Some(3));
        assert_eq!(Form::Json.first(b"{}", 0), None);
        assert_eq!(Form::Protobuf.first(b"\0\0\0\x03abcdef", 0), Some(7));
        assert_eq!(Form::Protobuf.first(b"\0\0\0\x03ab", 0), None);
    }

    #[test]
    fn both_ends_of_a_long_answer_are_kept() {
        let mut drained = Drained::default();
        drained.take(b"{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"\"},\"items\":[");
        for _ in 0..100 {
            drained.take(&[b'x'; 1000]);
        }
        drained.take(b"],\"more\":{\"continue\":\"abc\"}}");
        assert_eq!(drained.field("resourceVersion").as_deref(), Some("7"));
        assert_eq!(drained.field("continue").as_deref(), Some("abc"));
        assert_eq!(drained.field("absent"), None);
        assert!(drained.first.len() <= EDGE && drained.last.len() <= EDGE);
    }
}
