//! postStart and preStop: what a container wants done right after its start and right before its end.
//!
//! The caller decides what a failure means; a hook only runs, within its time, and says why it failed.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};

use crate::probe::{http_get, port_number, request_of};
use crate::runtime::{Runtime, RuntimeError};

/// How long an HTTP hook may take where the caller sets no limit; upstream's client has this one.
const HTTP_WITHIN: Duration = Duration::from_secs(60);

/// Why a hook failed; the text is the event's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The command ended with another code than 0.
    #[error("Exec lifecycle hook ({command:?}) for Container {container:?} in Pod {pod:?} failed - error: command '{}' exited with {code}: {output}, message: {output:?}", command.join(" "))]
    Exit {
        /// The command.
        command: Vec<String>,
        /// The container's name.
        container: String,
        /// The pod's full name.
        pod: String,
        /// The exit code.
        code: i32,
        /// What it wrote.
        output: String,
    },
    /// The command could not be run, or not in time.
    #[error(
        "Exec lifecycle hook ({command:?}) for Container {container:?} in Pod {pod:?} failed - error: {error}, message: \"\""
    )]
    Exec {
        /// The command.
        command: Vec<String>,
        /// The container's name.
        container: String,
        /// The pod's full name.
        pod: String,
        /// Why.
        error: String,
    },
    /// The request failed, or was answered with an error.
    #[error(
        "HTTP lifecycle hook ({path}) for Container {container:?} in Pod {pod:?} failed - error: {error}, message: {answer:?}"
    )]
    Http {
        /// The path asked for.
        path: String,
        /// The container's name.
        container: String,
        /// The pod's full name.
        pod: String,
        /// Why.
        error: String,
        /// What was answered.
        answer: String,
    },
    /// The hook took longer than it may.
    #[error("lifecycle hook for Container {container:?} in Pod {pod:?} did not end within {within:?}")]
    Late {
        /// The container's name.
        container: String,
        /// The pod's full name.
        pod: String,
        /// What it was given.
        within: Duration,
    },
    /// The handler says nothing that can be done.
    #[error("Cannot run handler: invalid handler: {0}")]
    Invalid(String),
}

/// Runs a hook of a container to its end, or until `timeout`.
///
/// # Errors
/// If it fails, or does not end in time.
pub async fn run(
    runtime: &dyn Runtime,
    pod: &Pod,
    pod_ip: Option<IpAddr>,
    (container, id): (&str, &str),
    handler: &LifecycleHandler,
    timeout: Option<Duration>,
) -> Result<(), HookError> {
    let work = act(runtime, pod, pod_ip, (container, id), handler, timeout);
    match timeout {
        None => work.await,
        Some(within) => match tokio::time::timeout(within, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HookError::Late { container: container.to_owned(), pod: full_name(pod), within }),
        },
    }
}

async fn act(
    runtime: &dyn Runtime,
    pod: &Pod,
    pod_ip: Option<IpAddr>,
    (container, id): (&str, &str),
    handler: &LifecycleHandler,
    timeout: Option<Duration>,
) -> Result<(), HookError> {
    if let Some(action) = &handler.exec {
        let command = action.command.clone().unwrap_or_default();
        let failed = |error: RuntimeError| HookError::Exec {
            command: command.clone(),
            container: container.to_owned(),
            pod: full_name(pod),
            error: error.to_string(),
        };
        let output = runtime.exec_sync(id, &command, timeout).await.map_err(failed)?;
        if output.code == 0 {
            return Ok(());
        }
        let mut text = output.stdout;
        text.extend_from_slice(&output.stderr);
        let output_text = String::from_utf8_lossy(&text).into_owned();
        return Err(HookError::Exit {
            command,
            container: container.to_owned(),
            pod: full_name(pod),
            code: output.code,
            output: output_text,
        });
    }
    if let Some(action) = &handler.http_get {
        let path = action.path.clone().unwrap_or_default();
        let failed = |error: String, answer: String| HookError::Http {
            path: path.clone(),
            container: container.to_owned(),
            pod: full_name(pod),
            error,
            answer,
        };
        let spec = pod
            .spec
            .iter()
            .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let own = spec.into_iter().find(|one| one.name == container);
        let own = own.ok_or_else(|| HookError::Invalid(format!("no container {container:?} in the pod")))?;
        let host_given = action.host.as_ref().is_some_and(|host| !host.is_empty());
        let ip = pod_ip.or_else(|| host_given.then_some(IpAddr::from([127, 0, 0, 1])));
        let ip = ip.ok_or_else(|| failed("failed to find networking container".to_owned(), String::new()))?;
        let request =
            request_of(action, own, ip, "kube-lifecycle/1.37").map_err(|why| failed(why, String::new()))?;
        let (status, answer) = http_get(&request, timeout.unwrap_or(HTTP_WITHIN))
            .await
            .map_err(|why| failed(format!("Get {:?}: {why}", request.url()), String::new()))?;
        return if status.is_client_error() || status.is_server_error() {
            Err(failed(format!("HTTP request failed with status code: {}", status.as_u16()), answer))
        } else {
            Ok(())
        };
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())).await;
        return Ok(());
    }
    if let Some(action) = &handler.tcp_socket {
        // The API accepts it for compatibility; upstream's kubelet has never run it.
        let port = port_number(&action.port, &k8s_openapi::api::core::v1::Container::default());
        return Err(HookError::Invalid(format!("tcpSocket is not supported as a hook (port {port:?})")));
    }
    Err(HookError::Invalid("it names no action".to_owned()))
}

fn full_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!("{}_{}", meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default())
}
