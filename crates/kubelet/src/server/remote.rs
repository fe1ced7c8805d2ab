//! Exec and attach: a process's pipes to a client's streams, and how it ended as a Status.
//!
//! The runtime's session is opened before the client's connection changes over, so that a container that does not exist is an HTTP error
//! that every client can read. What goes wrong later travels on the error stream.

use std::time::Duration;

use bytes::Bytes;
use skiff_api::status::ApiError;
use tokio_util::sync::CancellationToken;

use super::lane::{Input, Lane};
use super::upgrade::{Carrier, Connected};
use super::websocket::Wire;
use crate::runtime::{ExecRequest, Result as RuntimeResult, RuntimeError, Session};
use crate::spdy::Stream;

/// How long a client may take to open its streams, as upstream.
const STREAMS_WITHIN: Duration = Duration::from_secs(30);
/// How long we wait for the client to hang up after the end.
const GOODBYE: Duration = Duration::from_secs(10);

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// The protocols of exec and attach over SPDY, best first.
pub(super) const SPDY_PROTOCOLS: [&str; 4] =
    ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// How the end is written on the error stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wording {
    /// Only failures, as their message.
    Plain,
    /// A Status, success included.
    Json,
}

/// Which pipes a client asks for in its query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Wanted {
    /// Reads a query; the text of a 400 if it asks for nothing.
    pub(super) fn from_query(query: &str) -> Result<Self, &'static str> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // The kubelet's own names, and those of the API for clients that talk to it directly.
            let yes = value == "1" || value == "true";
            match name.as_ref() {
                "command" => wanted.command.push(value.into_owned()),
                "input" | "stdin" => wanted.stdin |= yes,
                "output" | "stdout" => wanted.stdout |= yes,
                "error" | "stderr" => wanted.stderr |= yes,
                "tty" => wanted.tty |= yes,
                _ => {}
            }
        }
        // A terminal has one output.
        wanted.stderr &= !wanted.tty;
        if wanted.stdin || wanted.stdout || wanted.stderr {
            Ok(wanted)
        } else {
            Err("you must specify at least 1 of stdin, stdout, stderr")
        }
    }

    pub(super) fn exec(&self, container: String) -> ExecRequest {
        ExecRequest {
            container,
            command: self.command.clone(),
            tty: self.tty,
            stdin: self.stdin,
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }
}

/// The client's streams.
struct Streams {
    stdin: Option<Input>,
    stdout: Option<Lane>,
    stderr: Option<Lane>,
    resize: Option<Input>,
    error: Lane,
    wording: Wording,
}

/// Serves one session to its end. `what` is for the command's message, such as `[ls -l]`.
pub(super) async fn serve(connected: Connected, wanted: Wanted, session: Session) {
    let Connected { mut carrier, protocol } = connected;
    let opened = match &mut carrier {
        Carrier::Spdy(connection) => {
            let streams = from_spdy(connection, &protocol, &wanted);
            tokio::time::timeout(STREAMS_WITHIN, streams).await.ok().flatten()
        }
        Carrier::Socket(socket, wire) => Some(from_socket(socket, *wire, &wanted).await),
    };
    let Some(streams) = opened else {
        tracing::warn!("timed out waiting for client to create streams");
        return;
    };
    if pump(session, streams, &wanted.command, carrier.ended()).await {
        carrier.close(GOODBYE).await;
    }
}

async fn from_socket(socket: &mut super::websocket::Socket, wire: Wire, wanted: &Wanted) -> Streams {
    let lane = |socket: &super::websocket::Socket, channel| Lane::Socket(socket.lane(channel));
    // An empty message tells the client that the connection stands.
    let greeting = if wanted.stdout {
        STDOUT
    } else if wanted.stderr {
        STDERR
    } else {
        ERROR
    };
    let _gone = lane(socket, greeting).write(Bytes::new()).await;
    Streams {
        stdin: socket.take_input(STDIN).map(Input::Socket),
        stdout: wanted.stdout.then(|| lane(socket, STDOUT)),
        stderr: wanted.stderr.then(|| lane(socket, STDERR)),
        resize: socket.take_input(RESIZE).map(Input::Socket),
        error: lane(socket, ERROR),
        wording: if wire.version >= 4 { Wording::Json } else { Wording::Plain },
    }
}

/// Which channels of a WebSocket the client may write to.
pub(super) fn readable(wanted: &Wanted) -> [bool; 5] {
    [wanted.stdin, false, false, false, wanted.tty]
}

async fn from_spdy(
    connection: &mut crate::spdy::Connection,
    protocol: &str,
    wanted: &Wanted,
) -> Option<Streams> {
    let resizes = wanted.tty && matches!(protocol, "v4.channel.k8s.io" | "v3.channel.k8s.io");
    let expected =
        1 + [wanted.stdin, wanted.stdout, wanted.stderr, resizes].iter().filter(|wanted| **wanted).count();
    let mut error = None;
    let mut streams: [Option<Stream>; 4] = [None, None, None, None];
    let mut come = 0;
    while come < expected {
        let stream = connection.next().await?;
        let place = match stream.header("streamtype") {
            Some("error") => &mut error,
            Some("stdin") => &mut streams[0],
            Some("stdout") => &mut streams[1],
            Some("stderr") => &mut streams[2],
            Some("resize") => &mut streams[3],
            _ => {
                let _gone = stream.refuse().await;
                continue;
            }
        };
        stream.accept().await.ok()?;
        *place = Some(stream);
        come += 1;
    }
    let [stdin, stdout, stderr, resize] = streams;
    let input = |stream: Stream| Input::Spdy(stream.split().0);
    let lane = |stream: Stream| Lane::Spdy(stream.split().1);
    Some(Streams {
        stdin: stdin.map(input),
        stdout: stdout.map(lane),
        stderr: stderr.map(lane),
        resize: resize.map(input),
        error: lane(error?),
        wording: if protocol == "v4.channel.k8s.io" { Wording::Json } else { Wording::Plain },
    })
}

/// Moves bytes until the process has ended; false if the client hung up first.
async fn pump(session: Session, streams: Streams, command: &[String], gone: CancellationToken) -> bool {
    let Session { stdin, mut stdout, mut stderr, resize, exit } = session;
    let Streams { stdin: input, stdout: out, stderr: err, resize: sizes, error, wording } = streams;
    let feeding = async {
        if let (Some(mut input), Some(mut stdin)) = (input, stdin) {
            input.copy_to(&mut *stdin).await;
        }
    };
    let resizing = async {
        let Some(mut sizes) = sizes else { return };
        let mut text = Vec::new();
        while let Some(bytes) = sizes.read().await {
            text.extend_from_slice(&bytes);
            for size in sizes_in(&mut text) {
                if resize.send(size).await.is_err() {
                    return;
                }
            }
        }
    };
    let showing = async {
        let copy = async |lane: &Option<Lane>, reader: &mut Option<crate::runtime::Reader>| {
            if let (Some(lane), Some(reader)) = (lane, reader)
                && let Err(error) = lane.copy_from(&mut **reader).await
            {
                tracing::debug!(%error, "cannot read a container's output");
            }
        };
        let (outcome, (), ()) = tokio::join!(exit, copy(&out, &mut stdout), copy(&err, &mut stderr));
        outcome
    };
    let outcome = tokio::select! {
        outcome = showing => outcome,
        () = gone.cancelled() => return false,
        // Input and sizes matter only while the process runs.
        never = async { tokio::join!(feeding, resizing); std::future::pending().await } => never,
    };
    let text = ending(&outcome, command, wording);
    if let Some(text) = text {
        let _gone = error.write(Bytes::from(text)).await;
    }
    for lane in [out.as_ref(), err.as_ref(), Some(&error)].into_iter().flatten() {
        lane.finish().await;
    }
    true
}

/// What stands on the error stream at the end.
fn ending(outcome: &RuntimeResult<i32>, command: &[String], wording: Wording) -> Option<String> {
    let failure = match outcome {
        Ok(0) if wording == Wording::Plain => return None,
        Ok(0) => return Some(r#"{"metadata":{},"status":"Success"}"#.to_owned()),
        Ok(code) => {
            let command = command.join(" ");
            let message = format!(
                "command terminated with non-zero exit code: error executing command [{command}], exit code {code}"
            );
            // No HTTP code belongs to it, so the field is left out below.
            ApiError::new(0, "NonZeroExitCode", message).cause("ExitCode", code.to_string(), "")
        }
        Err(error) => {
            let said = match error {
                RuntimeError::Stream(text) => text.clone(),
                other => other.to_string(),
            };
            let message = if said.starts_with("error ") || said.starts_with("Internal error") {
                said
            } else {
                format!("error executing command in container: {said}")
            };
            ApiError::new(500, "InternalError", format!("Internal error occurred: {message}"))
                .cause("", message, "")
        }
    };
    let mut status = failure.status;
    status.code = status.code.filter(|code| *code != 0);
    match wording {
        Wording::Plain => status.message,
        Wording::Json => {
            let mut value = serde_json::to_value(&status).ok()?;
            // Inside a stream upstream writes a bare Status, without kind and version.
            if let Some(fields) = value.as_object_mut() {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
            Some(value.to_string())
        }
    }
}

/// Takes the complete sizes off the front of a stream of JSON objects.
fn sizes_in(text: &mut Vec<u8>) -> Vec<(u16, u16)> {
    #[derive(serde::Deserialize)]
    struct Size {
        #[serde(rename = "Width")]
        width: u16,
        #[serde(rename = "Height")]
        height: u16,
    }
    let mut sizes = Vec::new();
    let mut objects = serde_json::Deserializer::from_slice(text).into_iter::<Size>();
    let taken = loop {
        match objects.next() {
            Some(Ok(size)) => sizes.push((size.width, size.height)),
            Some(Err(error)) if !error.is_eof() => break text.len(),
            _ => break objects.byte_offset(),
        }
    };
    text.drain(..taken);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_across_pieces() {
        let mut text = br#"{"Width":80,"Height":24}{"Width":1"#.to_vec();
        assert_eq!(sizes_in(&mut text), [(80, 24)]);
        text.extend_from_slice(br#"00,"Height":30}"#);
        assert_eq!(sizes_in(&mut text), [(100, 30)]);
        assert!(text.is_empty());
        let mut text = b"rubbish".to_vec();
        assert!(sizes_in(&mut text).is_empty() && text.is_empty());
    }

    #[test]
    fn the_end_is_told_in_the_protocols_words() {
        let command = ["sh".to_owned()];
        assert_eq!(ending(&Ok(0), &command, Wording::Plain), None);
        assert_eq!(ending(&Ok(0), &command, Wording::Json).unwrap(), r#"{"metadata":{},"status":"Success"}"#);
        let text = ending(&Ok(3), &command, Wording::Json).unwrap();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0]["reason"], "ExitCode");
        assert_eq!(status["details"]["causes"][0]["message"], "3");
        assert!(status.get("code").is_none() && status.get("kind").is_none(), "{text}");
        let failed =
            ending(&Err(RuntimeError::Stream("no sh".to_owned())), &command, Wording::Plain).unwrap();
        assert_eq!(failed, "Internal error occurred: error executing command in container: no sh");
    }

    #[test]
    fn a_terminal_has_no_second_output() {
        let wanted = Wanted::from_query("command=a&command=b&input=1&output=1&error=1&tty=1").unwrap();
        assert!(wanted.tty && wanted.stdin && wanted.stdout && !wanted.stderr);
        assert_eq!(wanted.command, ["a", "b"]);
        assert!(Wanted::from_query("command=a").is_err());
    }
}
