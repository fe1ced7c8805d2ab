//! What is asked of a container: one of four kinds, each in a file of its own.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};

use super::target::{port_number, request_of};
use super::{Target, exec, grpc, http, tcp};
use crate::runtime::Runtime;

/// What one try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be.
    Success(String),
    /// As it should be, with a reservation that someone may want to know of.
    Warning(String),
    /// Not as it should be.
    Failure(String),
    /// It could not be asked, which counts for nothing.
    Unknown(String),
}

/// Tries once.
pub(super) async fn once(
    probe: &Probe,
    container: &Container,
    target: &Target,
    runtime: &dyn Runtime,
) -> Outcome {
    let within = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
    if let Some(action) = &probe.exec {
        let command = action.command.clone().unwrap_or_default();
        return exec::check(runtime, &target.container_id, &command, within).await;
    }
    let Some(ip) = target.pod_ip else {
        return Outcome::Unknown("the pod has no address yet".to_owned());
    };
    if let Some(action) = &probe.http_get {
        return match request_of(action, container, ip, "kube-probe/1.37") {
            Ok(request) => http::check(&request, within).await,
            Err(why) => Outcome::Unknown(why),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| ip.to_string());
        return match port_number(&action.port, container) {
            Ok(port) => tcp::check(&host, port, within).await,
            Err(why) => Outcome::Unknown(why),
        };
    }
    if let Some(action) = &probe.grpc {
        return match u16::try_from(action.port) {
            Ok(port) => grpc::check(ip, port, action.service.as_deref().unwrap_or_default(), within).await,
            Err(_) => Outcome::Unknown(format!("invalid port number: {}", action.port)),
        };
    }
    Outcome::Unknown(format!("missing probe handler for {}", container.name))
}
