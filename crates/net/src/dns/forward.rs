//! Names that are not the cluster's: asked of the machine's own resolvers.
//!
//! Questions and answers pass as bytes, so that record types we don't know survive. Each question leaves from a port of
//! its own and only an answer with its number from the resolver asked counts: forging one means guessing both.
//! We never ask ourselves; what a resolver that asks us back can cost is bounded by the server's limit of open questions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long one resolver may take; a pod's own resolver gives up after 5 seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The machine's resolvers, read again when the file changes.
#[derive(Debug)]
pub(super) struct Upstreams {
    file: PathBuf,
    ourselves: Vec<SocketAddr>,
    known: Mutex<(Option<SystemTime>, Vec<SocketAddr>)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is nobody to ask.
    Nobody,
    /// Nobody answered.
    Silence,
}

impl Upstreams {
    pub(super) fn new(file: PathBuf, ourselves: Vec<SocketAddr>) -> Self {
        Self { file, ourselves, known: Mutex::new((None, Vec::new())) }
    }

    fn current(&self) -> Vec<SocketAddr> {
        let changed = std::fs::metadata(&self.file).and_then(|about| about.modified()).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.is_none() || known.0 != changed {
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            *known = (changed, resolvers(&text, &self.ourselves));
        }
        known.1.clone()
    }

    /// Asks the resolvers one after the other; the answer as it came.
    pub(super) async fn ask(&self, question: &[u8], stream: bool) -> Result<Vec<u8>, Failure> {
        let upstreams = self.current();
        if upstreams.is_empty() {
            return Err(Failure::Nobody);
        }
        for upstream in upstreams {
            let asked = async {
                if stream { over_tcp(upstream, question).await } else { over_udp(upstream, question).await }
            };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => tracing::debug!(%upstream, %error, "resolver failed"),
                Err(_) => tracing::debug!(%upstream, "resolver did not answer in time"),
            }
        }
        Err(Failure::Silence)
    }
}

/// The resolvers named in a resolv.conf, without ourselves.
pub(super) fn resolvers(text: &str, ourselves: &[SocketAddr]) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())??.parse::<IpAddr>().ok()
    });
    named.map(|address| SocketAddr::new(address, 53)).filter(|address| !ourselves.contains(address)).collect()
}

async fn over_udp(upstream: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let size = socket.recv(&mut buffer).await?;
        if buffer[..size].get(..2) == question.get(..2) {
            buffer.truncate(size);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(upstream: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    write_framed(&mut stream, question).await?;
    read_framed(&mut stream).await
}

/// A message on a stream: its length in two bytes, then it.
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

pub(super) async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
