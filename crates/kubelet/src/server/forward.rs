//! Port-forward: connections of a client to ports in a pod, many over one carrier.
//!
//! Over SPDY the client opens a pair of streams (data, error) per connection; over plain WebSocket there is one pair of
//! channels per port, fixed in the query. Either way each pair is one task moving bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::lane::{Input, Lane};
use super::upgrade::{Carrier, Connected};
use crate::runtime::{Runtime, RuntimeError};
use crate::spdy::Stream;

/// How long the second stream of a pair may take, as upstream.
const PAIR_WITHIN: Duration = Duration::from_secs(30);
/// The protocols of port-forward over SPDY.
pub(super) const SPDY_PROTOCOLS: [&str; 1] = ["portforward.k8s.io"];

/// Where the connections go.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) sandbox: String,
}

/// The ports of a WebSocket's query, or the text of a 400.
pub(super) fn ports(query: &str) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    let mut named = false;
    for (_, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "port") {
        named = true;
        if value.is_empty() {
            return Err(r#"query parameter "port" cannot be empty"#.to_owned());
        }
        for port in value.split(',') {
            ports.push(port_number(port)?);
        }
    }
    if named { Ok(ports) } else { Err(r#"query parameter "port" is required"#.to_owned()) }
}

fn port_number(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(_) => Err(format!("unable to parse {text:?} as a port: invalid syntax")),
    }
}

/// Which channels of a WebSocket the client may write to: data, not error, for each port.
pub(super) fn readable(ports: &[u16]) -> Vec<bool> {
    ports.iter().flat_map(|_| [true, false]).collect()
}

/// Serves one carrier until the client hangs up.
pub(super) async fn serve(connected: Connected, ports: Vec<u16>, target: Target) {
    let gone = connected.carrier.ended();
    let work = async {
        match connected.carrier {
            Carrier::Spdy(connection) => pairs(connection, &target).await,
            Carrier::Socket(mut socket, _) => {
                let mut all = FuturesUnordered::new();
                for (index, port) in ports.into_iter().enumerate() {
                    let Ok(channel) = u8::try_from(index * 2) else { break };
                    let Some(input) = socket.take_input(channel) else { break };
                    let (data, error) =
                        (Lane::Socket(socket.lane(channel)), Lane::Socket(socket.lane(channel + 1)));
                    let greeting = Bytes::copy_from_slice(&port.to_le_bytes());
                    // If the client is gone, so is the work.
                    let _gone = data.write(greeting.clone()).await;
                    let _gone = error.write(greeting).await;
                    all.push(one(port, Input::Socket(input), data, error, &target));
                }
                while all.next().await.is_some() {}
                drop(all);
                socket.close(Duration::from_secs(10)).await;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = gone.cancelled() => {}
    }
}

/// A stream whose other half has not come yet.
struct Half {
    stream: Stream,
    is_data: bool,
    until: Instant,
}

async fn pairs(mut connection: crate::spdy::Connection, target: &Target) {
    let mut waiting: HashMap<String, Half> = HashMap::new();
    let mut forwarded = FuturesUnordered::new();
    loop {
        let first = waiting.values().map(|half| half.until).min();
        let stream = tokio::select! {
            stream = connection.next() => match stream {
                Some(stream) => stream,
                None => return,
            },
            _ = forwarded.next(), if !forwarded.is_empty() => continue,
            () = async { tokio::time::sleep_until(first.unwrap_or_else(Instant::now)).await }, if first.is_some() => {
                give_up(&mut waiting).await;
                continue;
            }
        };
        let (request, is_data) = match asked(&stream) {
            Ok(asked) => asked,
            Err(why) => {
                tracing::warn!(why, "stream for a forwarded port refused");
                let _gone = stream.refuse().await;
                continue;
            }
        };
        if stream.accept().await.is_err() {
            return;
        }
        match waiting.remove(&request) {
            None => {
                waiting.insert(request, Half { stream, is_data, until: Instant::now() + PAIR_WITHIN });
            }
            Some(half) if half.is_data == is_data => {
                let kind = if is_data { "data" } else { "error" };
                let text =
                    format!("error processing stream for request {request}: {kind} stream already assigned");
                tracing::warn!(text, "stream for a forwarded port refused");
                if !is_data {
                    let (_, sink) = half.stream.split();
                    let _gone = sink.write(Bytes::from(text)).await;
                }
            }
            Some(half) => {
                let (data, error) = if is_data { (stream, half.stream) } else { (half.stream, stream) };
                let port = data.header("port").and_then(|port| port.parse().ok()).unwrap_or_default();
                let (source, sink) = data.split();
                let (_, error) = error.split();
                forwarded.push(one(port, Input::Spdy(source), Lane::Spdy(sink), Lane::Spdy(error), target));
            }
        }
    }
}

async fn give_up(waiting: &mut HashMap<String, Half>) {
    let now = Instant::now();
    let late: Vec<String> =
        waiting.iter().filter(|(_, half)| half.until <= now).map(|(request, _)| request.clone()).collect();
    for request in late {
        let Some(half) = waiting.remove(&request) else { continue };
        tracing::warn!(request, "timed out waiting for streams");
        let (_, sink) = half.stream.split();
        if !half.is_data {
            let text = format!("(request={request}) timed out waiting for streams");
            let _gone = sink.write(Bytes::from(text)).await;
        }
        let _gone = sink.reset().await;
    }
}

/// Which request a stream belongs to, and whether it is the data stream.
fn asked(stream: &Stream) -> Result<(String, bool), String> {
    let port = stream.header("port").filter(|port| !port.is_empty()).ok_or(r#""port" header is required"#)?;
    port_number(port)?;
    let kind = stream.header("streamtype").unwrap_or_default();
    let is_data = match kind {
        "" => return Err(r#""streamType" header is required"#.to_owned()),
        "data" => true,
        "error" => false,
        other => return Err(format!("invalid stream type {other:?}")),
    };
    let request = match stream.header("requestid").filter(|id| !id.is_empty()) {
        Some(request) => request.to_owned(),
        // Old clients give no id, but open error and data one after the other: two numbers apart.
        None if is_data => stream.id().saturating_sub(2).to_string(),
        None => stream.id().to_string(),
    };
    Ok((request, is_data))
}

/// Moves the bytes of one connection until both sides have finished, or one breaks.
async fn one(port: u16, mut input: Input, data: Lane, error: Lane, target: &Target) {
    let outcome = async {
        let connection = target.runtime.port_forward(&target.sandbox, port).await?;
        let (mut reader, mut writer) = tokio::io::split(connection);
        let inwards = async {
            input.copy_to(&mut writer).await;
            // The pod may go on after the client has finished.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = data.copy_from(&mut reader) => outcome.map_err(|error| RuntimeError::Stream(error.to_string()))?,
            () = inwards => {}
        }
        // A pod that was spoken to and has hung up gets its end too.
        let _gone = writer.shutdown().await;
        Ok::<(), RuntimeError>(())
    };
    if let Err(failure) = outcome.await {
        let said = match &failure {
            RuntimeError::Stream(text) => text.clone(),
            other => other.to_string(),
        };
        let text = if said.starts_with("error forwarding port") {
            said
        } else {
            format!("error forwarding port {port} to pod {}, uid : {said}", target.sandbox)
        };
        tracing::warn!(port, error = text, "port cannot be forwarded");
        let _gone = error.write(Bytes::from(text)).await;
    }
    error.finish().await;
    data.finish().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_upstream_reads_them() {
        assert_eq!(ports("port=80,81&port=82&x=1").unwrap(), [80, 81, 82]);
        assert_eq!(ports("x=1").unwrap_err(), "query parameter \"port\" is required");
        assert_eq!(ports("port=").unwrap_err(), "query parameter \"port\" cannot be empty");
        assert_eq!(ports("port=0").unwrap_err(), "port \"0\" must be > 0");
        assert!(ports("port=70000").is_err());
    }
}
