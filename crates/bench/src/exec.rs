//! `exec` of a command through the API: one WebSocket, read to its end.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use crate::cluster::Cluster;
use crate::connection::Call;

/// The channel on which the command's end is told.
const STATUS: u8 = 3;

/// Runs `true` in a pod; how long that took, connection included.
pub(crate) async fn run_true(cluster: &Cluster, pod: &str) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut connection = cluster.connect().await?;
    let call = Call::get(format!("{pod}/exec?command=true&stdout=true&stderr=true"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v4.channel.k8s.io");
    let response = connection.send(call).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        let body = response.into_body().collect().await.context("read the refusal")?.to_bytes();
        bail!("exec: {status}: {}", String::from_utf8_lossy(&body));
    }
    let stream = hyper::upgrade::on(response).await.context("switch protocols")?;
    let mut stream = TokioIo::new(stream);
    let mut seen = Vec::new();
    let mut room = [0; 4096];
    loop {
        if let Some(status) = status(&seen) {
            if !status.contains("\"Success\"") {
                bail!("exec: {status}");
            }
            return Ok(begin.elapsed());
        }
        let read = stream.read(&mut room).await.context("read the stream")?;
        if read == 0 {
            bail!("exec ended without a status");
        }
        seen.extend_from_slice(&room[..read]);
    }
}

/// What the status channel said, once all of it is there.
fn status(mut stream: &[u8]) -> Option<String> {
    loop {
        // Frames of a server bear no mask: a head of two bytes, then two more for lengths from 126 on.
        let (short, rest) = (stream.get(1)? & 0x7f, stream.get(2..)?);
        let (length, rest) = match short {
            126 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
            127 => return None,
            length => (usize::from(length), rest),
        };
        let payload = rest.get(..length)?;
        let is_message = matches!(stream.first()? & 0x0f, 1 | 2);
        match payload.split_first() {
            Some((&STATUS, text)) if is_message && !text.is_empty() => {
                return Some(String::from_utf8_lossy(text).into_owned());
            }
            _ => stream = rest.get(length..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(channel: u8, text: &[u8]) -> Vec<u8> {
        let length = text.len() + 1;
        let mut frame = vec![0x82];
        if length < 126 {
            frame.push(u8::try_from(length).unwrap());
        } else {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        frame.push(channel);
        frame.extend(text);
        frame
    }

    #[test]
    fn the_status_is_found_behind_output_once_it_is_complete() {
        let mut stream = [frame(1, b""), frame(1, &[b'x'; 300])].concat();
        assert_eq!(status(&stream), None);
        let end = frame(3, br#"{"status":"Success"}"#);
        stream.extend(&end[..5]);
        assert_eq!(status(&stream), None);
        stream.extend(&end[5..]);
        assert_eq!(status(&stream).as_deref(), Some(r#"{"status":"Success"}"#));
    }
}
