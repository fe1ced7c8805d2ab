//! Requests that become streams: exec, attach, port-forward. Finds the container, agrees on a protocol, and goes on after the answer.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use skiff_base::Tasks;

use super::answer::{self, Body};
use super::remote::{self, Wanted};
use super::routes::Node;
use super::upgrade::{self, Agreed, Offer};
use super::{forward as ports, websocket};
use crate::handle::Handle;
use crate::runtime::{AttachRequest, RuntimeError};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exec,
    Attach,
}

/// Namespace, pod, the pod's uid if given, container.
pub(super) type Whom<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

const REMOTE: Offer = Offer {
    spdy: &remote::SPDY_PROTOCOLS,
    unnamed: "channel.k8s.io",
    sockets: &[
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "channel.k8s.io",
        "base64.channel.k8s.io",
    ],
};

const FORWARD: Offer = Offer {
    spdy: &ports::SPDY_PROTOCOLS,
    unnamed: "portforward.k8s.io",
    sockets: &["v4.channel.k8s.io", "v4.base64.channel.k8s.io", upgrade::TUNNEL],
};

/// Resolves when the kubelet's pods are so; looks again at each change of them.
pub(super) async fn until(handle: &Handle, so: impl Fn(&Handle) -> bool) {
    let mut changes = handle.changes();
    while !so(handle) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The runtime's id of a container, or the refusal.
pub(super) fn container(node: &Node, whom: Whom<'_>) -> Result<String, Box<Response<Body>>> {
    let (namespace, pod, uid, name) = whom;
    let Some(view) = node.handle.pod(namespace, pod, uid) else {
        return Err(Box::new(answer::text(StatusCode::NOT_FOUND, "pod does not exist")));
    };
    match view.container(name) {
        Some(container) => Ok(container.id.clone()),
        None => {
            let text = format!("container not found ({name:?})");
            Err(Box::new(answer::text(StatusCode::INTERNAL_SERVER_ERROR, &text)))
        }
    }
}

/// Exec or attach.
pub(super) async fn remote(
    node: &Node,
    kind: Kind,
    whom: Whom<'_>,
    request: Request<Incoming>,
    tasks: &Tasks,
) -> Response<Body> {
    let wanted = match Wanted::from_query(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(text) => return answer::text(StatusCode::BAD_REQUEST, text),
    };
    let container = match container(node, whom) {
        Ok(container) => container,
        Err(refusal) => return *refusal,
    };
    let agreed = match upgrade::agree(request.headers(), &REMOTE) {
        Ok(agreed) => agreed,
        Err(refusal) => return *refusal,
    };
    let runtime = node.handle.runtime();
    let opened = match kind {
        Kind::Exec => runtime.exec(wanted.exec(container)).await,
        Kind::Attach => {
            let Wanted { stdin, stdout, stderr, tty, .. } = wanted;
            runtime.attach(AttachRequest { container, tty, stdin, stdout, stderr }).await
        }
    };
    let session = match opened {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    let reads = remote::readable(&wanted);
    go_on(agreed, request, tasks, reads.to_vec(), move |connected| remote::serve(connected, wanted, session))
}

/// Port-forward.
pub(super) fn forward(
    node: &Node,
    whom: (&str, &str, Option<&str>),
    request: Request<Incoming>,
    tasks: &Tasks,
) -> Response<Body> {
    let (namespace, pod, uid) = whom;
    let Some(view) = node.handle.pod(namespace, pod, uid) else {
        return answer::text(StatusCode::NOT_FOUND, "pod does not exist");
    };
    let Some(sandbox) = view.sandbox.clone() else {
        let full = format!("{pod}_{namespace}");
        let text = format!("failed to find sandbox for pod {full:?}");
        return answer::text(StatusCode::INTERNAL_SERVER_ERROR, &text);
    };
    let agreed = match upgrade::agree(request.headers(), &FORWARD) {
        Ok(agreed) => agreed,
        Err(refusal) => return *refusal,
    };
    let mut fixed = Vec::new();
    if agreed.has_fixed_channels() {
        debug_assert!(websocket::is_requested(request.headers()), "only WebSocket has fixed channels");
        fixed = match ports::ports(request.uri().query().unwrap_or_default()) {
            Ok(fixed) => fixed,
            Err(text) => return answer::text(StatusCode::BAD_REQUEST, &text),
        };
    }
    let target = ports::Target { runtime: node.handle.runtime().clone(), sandbox };
    let reads = ports::readable(&fixed);
    go_on(agreed, request, tasks, reads, move |connected| ports::serve(connected, fixed, target))
}

/// Answers 101 and serves what comes after it.
fn go_on<F, W>(
    mut agreed: Agreed,
    request: Request<Incoming>,
    tasks: &Tasks,
    reads: Vec<bool>,
    serve: F,
) -> Response<Body>
where
    F: FnOnce(upgrade::Connected) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let answer = agreed.take_answer();
    tasks.spawn_until_stop(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let connected = agreed.connect(upgraded, &reads).await;
                serve(connected).await;
            }
            Err(error) => tracing::debug!(%error, "client did not change over"),
        }
    });
    answer
}

/// The HTTP answer for what the runtime refuses, with upstream's choice of codes.
fn refused(error: &RuntimeError) -> Response<Body> {
    let status = match error {
        RuntimeError::NotFound(_) => StatusCode::NOT_FOUND,
        RuntimeError::Failed { code: "ResourceExhausted", .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer::text(status, &error.to_string())
}
