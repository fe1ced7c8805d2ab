//! tcpSocket: a connection that can be opened.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Outcome;
use super::target::authority;

pub(super) async fn check(host: &str, port: u16, within: Duration) -> Outcome {
    match connect(host, port, within).await {
        Ok(_) => Outcome::Success(String::new()),
        Err(text) => Outcome::Failure(text),
    }
}

/// Connects, or says why not in the words of Go's dialer, which users know from `kubectl describe`.
pub(super) async fn connect(host: &str, port: u16, within: Duration) -> Result<TcpStream, String> {
    let address = authority(host, port);
    let dial = async {
        match host.parse() {
            Ok(ip) => TcpStream::connect(SocketAddr::new(ip, port)).await,
            Err(_) => TcpStream::connect((host, port)).await,
        }
    };
    match tokio::time::timeout(within, dial).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("dial tcp {address}: connect: connection refused"))
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::HostUnreachable => {
            Err(format!("dial tcp {address}: connect: no route to host"))
        }
        Ok(Err(error)) => Err(format!("dial tcp {address}: {error}")),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}
