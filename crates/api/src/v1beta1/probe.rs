//! Probes and lifecycle handlers: what is done to a container to learn or tell it something.

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::value::{self, Port};

/// A command to run inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// Program and arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// A GET to send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpGet {
    /// The path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Number or name.
    #[serde(skip_serializing_if = "Port::is_unset")]
    pub port: Port,
    /// The pod's address if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// A connection to open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpSocket {
    /// Number or name.
    #[serde(skip_serializing_if = "Port::is_unset")]
    pub port: Port,
}

/// A health check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Probe {
    /// By HTTP; healthy is 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// By TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// By a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// How long to leave the container alone after its start.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub initial_delay_seconds: i64,
    /// How long one attempt may take (L).
    #[serde(skip_serializing_if = "value::is_zero")]
    pub timeout_seconds: i64,
}

impl Probe {
    /// A probe v1 knows and 2014 has no word for (gRPC) is not shown.
    pub fn from_v1(probe: &v1::Probe) -> Option<Self> {
        let shown = Self {
            http_get: probe.http_get.as_ref().map(http_from_v1),
            tcp_socket: probe.tcp_socket.as_ref().map(|tcp| TcpSocket { port: Port::from_v1(&tcp.port) }),
            exec: probe.exec.as_ref().map(exec_from_v1),
            initial_delay_seconds: probe.initial_delay_seconds.unwrap_or(0).into(),
            // One second is everybody's default and says nothing.
            timeout_seconds: probe.timeout_seconds.filter(|seconds| *seconds != 1).unwrap_or(0).into(),
        };
        (shown.http_get.is_some() || shown.tcp_socket.is_some() || shown.exec.is_some()).then_some(shown)
    }

    /// As v1 has it.
    pub fn to_v1(&self) -> v1::Probe {
        let given = |seconds: i64| (seconds != 0).then(|| value::clamp(seconds));
        v1::Probe {
            http_get: self.http_get.as_ref().map(http_to_v1),
            tcp_socket: self
                .tcp_socket
                .as_ref()
                .map(|tcp| v1::TCPSocketAction { host: None, port: tcp.port.to_v1() }),
            exec: self.exec.as_ref().map(exec_to_v1),
            initial_delay_seconds: given(self.initial_delay_seconds),
            timeout_seconds: given(self.timeout_seconds),
            ..v1::Probe::default()
        }
    }
}

/// What to do at a turn of a container's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Handler {
    /// Run a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// Send a GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
}

impl Handler {
    fn from_v1(handler: &v1::LifecycleHandler) -> Option<Self> {
        let shown = Self {
            exec: handler.exec.as_ref().map(exec_from_v1),
            http_get: handler.http_get.as_ref().map(http_from_v1),
        };
        (shown.exec.is_some() || shown.http_get.is_some()).then_some(shown)
    }

    /// Of two handlers A preferred the command; v1 refuses two.
    fn to_v1(&self) -> v1::LifecycleHandler {
        v1::LifecycleHandler {
            exec: self.exec.as_ref().map(exec_to_v1),
            http_get: self.http_get.as_ref().filter(|_| self.exec.is_none()).map(http_to_v1),
            ..v1::LifecycleHandler::default()
        }
    }
}

/// After the start and before the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Lifecycle {
    /// Right after the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Handler>,
    /// Before the container is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Handler>,
}

impl Lifecycle {
    /// What 2014 can say of it.
    pub fn from_v1(lifecycle: &v1::Lifecycle) -> Option<Self> {
        let shown = Self {
            post_start: lifecycle.post_start.as_ref().and_then(Handler::from_v1),
            pre_stop: lifecycle.pre_stop.as_ref().and_then(Handler::from_v1),
        };
        (shown.post_start.is_some() || shown.pre_stop.is_some()).then_some(shown)
    }

    /// As v1 has it.
    pub fn to_v1(&self) -> v1::Lifecycle {
        v1::Lifecycle {
            post_start: self.post_start.as_ref().map(Handler::to_v1),
            pre_stop: self.pre_stop.as_ref().map(Handler::to_v1),
            ..v1::Lifecycle::default()
        }
    }
}

fn exec_from_v1(exec: &v1::ExecAction) -> Exec {
    Exec { command: exec.command.clone().unwrap_or_default() }
}

fn exec_to_v1(exec: &Exec) -> v1::ExecAction {
    v1::ExecAction { command: value::some_list(exec.command.clone()) }
}

fn http_from_v1(get: &v1::HTTPGetAction) -> HttpGet {
    HttpGet {
        path: value::text(get.path.as_ref()),
        port: Port::from_v1(&get.port),
        host: value::text(get.host.as_ref()),
    }
}

fn http_to_v1(get: &HttpGet) -> v1::HTTPGetAction {
    v1::HTTPGetAction {
        path: value::some(&get.path),
        port: get.port.to_v1(),
        host: value::some(&get.host),
        ..v1::HTTPGetAction::default()
    }
}
