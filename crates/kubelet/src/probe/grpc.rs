//! grpc: the standard health service's `Check`, over HTTP/2 without TLS.
//!
//! One unary call with one string in it: written by hand over hyper, since generated code for it would weigh more than
//! the rest of the module.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use skiff_base::Tasks;

use super::Outcome;
use super::target::authority;
use super::tcp::connect;

const SERVING: u64 = 1;
const UNIMPLEMENTED: &str = "12";

pub(super) async fn check(ip: IpAddr, port: u16, service: &str, within: Duration) -> Outcome {
    let address = authority(&ip.to_string(), port);
    let call = async {
        let socket = connect(&ip.to_string(), port, within).await?;
        let failed = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
                .await
                .map_err(failed)?;
        let tasks = Tasks::new();
        tasks.spawn_until_stop(async move {
            // What ends the connection also ends the request, which tells.
            let _told_by_the_request = connection.await;
        });
        let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "kube-probe/1.37")
            .body(Full::new(message(service)))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status_of = |headers: &http::HeaderMap| {
            headers.get("grpc-status").and_then(|status| status.to_str().ok()).map(str::to_owned)
        };
        let early = status_of(answer.headers());
        let body =
            Limited::new(answer.into_body(), 64 * 1024).collect().await.map_err(|error| error.to_string())?;
        let status = early.or_else(|| body.trailers().and_then(status_of));
        let bytes = body.to_bytes();
        tasks.stop();
        Ok::<_, String>((status.unwrap_or_default(), bytes))
    };
    match tokio::time::timeout(within, call).await {
        Ok(Ok((status, bytes))) => verdict(&status, &bytes, &address, service),
        Ok(Err(why)) => {
            let text = format!("timeout: failed to connect service {address:?} within {within:?}: {why}");
            Outcome::Failure(text.replace("timeout: failed", "failed"))
        }
        Err(_) => Outcome::Failure(format!(
            "timeout: failed to connect service {address:?} within {within:?}: context deadline exceeded"
        )),
    }
}

/// The request: the service's name as field 1, in a gRPC frame.
fn message(service: &str) -> Bytes {
    let mut body = BytesMut::new();
    if !service.is_empty() {
        body.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            body.put_u8(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        body.put_u8((length & 0x7f) as u8);
        body.extend_from_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&body);
    frame.freeze()
}

fn verdict(status: &str, bytes: &[u8], address: &str, service: &str) -> Outcome {
    match status {
        "" | "0" => match serving(bytes) {
            Some(SERVING) => Outcome::Success("service healthy".to_owned()),
            other => {
                let name = match other.unwrap_or(0) {
                    2 => "NOT_SERVING",
                    3 => "SERVICE_UNKNOWN",
                    _ => "UNKNOWN",
                };
                Outcome::Failure(format!("service unhealthy (responded with {name:?})"))
            }
        },
        UNIMPLEMENTED => Outcome::Failure(format!(
            "error: this server at {address:?} does not implement the grpc health protocol (grpc.health.v1.Health)"
        )),
        code => {
            Outcome::Failure(format!("error: health rpc probe failed: code = {code}, service = {service:?}"))
        }
    }
}

/// Field 1 of the answer; absent is 0.
fn serving(frame: &[u8]) -> Option<u64> {
    match frame.get(5..)? {
        [] => Some(0),
        [0x08, value, ..] if *value < 0x80 => Some(u64::from(*value)),
        _ => None,
    }
}
