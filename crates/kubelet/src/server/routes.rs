//! Which path does what, and in whose name: the table of the server.
//!
//! Error texts are upstream's; users see them through kubectl. What takes longer than an answer is in `streams`.

use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use skiff_base::metrics::Metrics;
use skiff_base::{Clock, Tasks};
use tokio::sync::mpsc;

use super::access::{self, Authorise, Peer};
use super::answer::{self, Body};
use super::logs::{self, LogOptions};
use super::{files, stats, streams, volume_stats};
use crate::handle::{Handle, PodView};
use crate::runtime::ContainerState;

/// What requests are answered from.
pub(super) struct Node {
    pub(super) handle: Handle,
    pub(super) authorise: Authorise,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) log_dir: PathBuf,
    pub(super) readings: stats::Readings,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];
const STREAM: &[Method] = &[Method::GET, Method::POST];
const WRITE: &[Method] = &[Method::POST];

impl Node {
    pub(super) async fn answer(
        &self,
        peer: Option<&Peer>,
        request: Request<Incoming>,
        tasks: &Tasks,
    ) -> Response<Body> {
        let Some(peer) = peer else { return answer::text(StatusCode::UNAUTHORIZED, "Unauthorized") };
        let path = request.uri().path().to_owned();
        let attributes = access::attributes(request.method(), &path);
        if !(self.authorise)(peer, &attributes) {
            let (status, text) = access::forbidden(peer, &attributes);
            return answer::text(status, &text);
        }
        let Some(segments) = decoded(&path) else {
            return answer::text(StatusCode::BAD_REQUEST, "invalid URL escape");
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let methods = match segments.first() {
            Some(&("exec" | "attach" | "portForward")) => STREAM,
            Some(&"run") => WRITE,
            _ => READ,
        };
        if !methods.contains(request.method()) {
            let mut refusal = answer::text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
            let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
            if let Ok(allowed) = http::HeaderValue::from_str(&allowed.join(", ")) {
                refusal.headers_mut().insert(header::ALLOW, allowed);
            }
            return refusal;
        }
        match segments.as_slice() {
            ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => answer::text(StatusCode::OK, "ok"),
            ["pods"] => answer::json(&self.pods(|_| true)),
            ["runningpods"] => answer::json(&self.pods(|view| {
                view.containers.iter().any(|container| container.state == ContainerState::Running)
            })),
            ["metrics"] => self.all_metrics().await,
            ["metrics", "resource"] => self.resource_metrics().await,
            ["stats", "summary"] => self.summary().await,
            ["logs", rest @ ..] => files::serve(&self.log_dir, rest, path.ends_with('/')).await,
            ["containerLogs", namespace, pod, container] => {
                self.logs(namespace, pod, container, request.uri().query().unwrap_or_default(), tasks).await
            }
            ["exec", namespace, pod, container] => {
                streams::remote(self, streams::Kind::Exec, (namespace, pod, None, container), request, tasks)
                    .await
            }
            ["exec", namespace, pod, uid, container] => {
                streams::remote(
                    self,
                    streams::Kind::Exec,
                    (namespace, pod, Some(uid), container),
                    request,
                    tasks,
                )
                .await
            }
            ["attach", namespace, pod, container] => {
                streams::remote(
                    self,
                    streams::Kind::Attach,
                    (namespace, pod, None, container),
                    request,
                    tasks,
                )
                .await
            }
            ["attach", namespace, pod, uid, container] => {
                streams::remote(
                    self,
                    streams::Kind::Attach,
                    (namespace, pod, Some(uid), container),
                    request,
                    tasks,
                )
                .await
            }
            ["portForward", namespace, pod] => streams::forward(self, (namespace, pod, None), request, tasks),
            ["portForward", namespace, pod, uid] => {
                streams::forward(self, (namespace, pod, Some(uid)), request, tasks)
            }
            ["run", namespace, pod, container] => {
                self.run((namespace, pod, None, container), request.uri().query().unwrap_or_default()).await
            }
            ["run", namespace, pod, uid, container] => {
                self.run((namespace, pod, Some(uid), container), request.uri().query().unwrap_or_default())
                    .await
            }
            _ => answer::text(StatusCode::NOT_FOUND, "404: Page Not Found"),
        }
    }

    fn pods(&self, wanted: impl Fn(&PodView) -> bool) -> List<Pod> {
        let views = self.handle.pods();
        let items = views.iter().filter(|view| wanted(view)).map(|view| Pod::clone(&view.pod)).collect();
        List { items, ..List::default() }
    }

    async fn all_metrics(&self) -> Response<Body> {
        let (own, end) = (self.metrics.text(), "# EOF\n");
        let own = own.strip_suffix(end).unwrap_or(&own);
        let volumes = volume_stats::metrics(&volume_stats::all(&self.handle).await);
        answer::open_metrics(format!("{own}{volumes}{end}"))
    }

    async fn summary(&self) -> Response<Body> {
        match self.handle.runtime().stats(None).await {
            Ok(used) => {
                let now = self.clock.now_seconds();
                let volumes = volume_stats::all(&self.handle).await;
                answer::json(&stats::summary(&self.handle, &used, &volumes, &self.readings, now))
            }
            Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    async fn resource_metrics(&self) -> Response<Body> {
        match self.handle.runtime().stats(None).await {
            Ok(used) => answer::metrics(stats::resource_metrics(&used, self.clock.now())),
            Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        query: &str,
        tasks: &Tasks,
    ) -> Response<Body> {
        let options = match LogOptions::from_query(query, self.clock.now()) {
            Ok(options) => options,
            Err(logs::Refusal::Unreadable) => {
                return answer::text(StatusCode::BAD_REQUEST, r#"{"message": "Unable to decode query."}"#);
            }
            Err(logs::Refusal::Invalid) => {
                return answer::text(StatusCode::UNPROCESSABLE_ENTITY, r#"{"message": "Invalid request."}"#);
            }
        };
        let Some(view) = self.handle.pod(namespace, pod, None) else {
            return answer::text(StatusCode::NOT_FOUND, &format!("pod {pod:?} does not exist"));
        };
        if !has_container(&view.pod, container) {
            let text = format!("container {container:?} not found in pod {pod:?}");
            return answer::text(StatusCode::NOT_FOUND, &text);
        }
        let found = match logs::find(&view, container, options.previous) {
            Ok(found) => found.clone(),
            Err(text) => return answer::text(StatusCode::BAD_REQUEST, &text),
        };
        if let Err(error) = tokio::fs::metadata(&found.log_path).await {
            let text = format!("failed to try resolving symlinks in path {:?}: {error}", found.log_path);
            return answer::text(StatusCode::INTERNAL_SERVER_ERROR, &text);
        }
        let (out, bytes) = mpsc::channel(8);
        let uid = view.pod.metadata.uid.clone();
        let (handle, namespace, pod) = (self.handle.clone(), namespace.to_owned(), pod.to_owned());
        tasks.spawn_until_stop(async move {
            let id = found.id;
            let ended = streams::until(&handle, move |handle| {
                let view = handle.pod(&namespace, &pod, uid.as_deref());
                let seen = view.as_ref().and_then(|view| view.containers.iter().find(|one| one.id == id));
                !seen
                    .is_some_and(|one| matches!(one.state, ContainerState::Running | ContainerState::Created))
            });
            if let Err(error) = logs::copy(&found.log_path, &options, ended, out.clone()).await {
                tracing::warn!(%error, path = %found.log_path.display(), "log cannot be read");
                let _gone = out.send(Err(error)).await;
            }
        });
        answer::stream(bytes)
    }

    async fn run(&self, whom: streams::Whom<'_>, query: &str) -> Response<Body> {
        let container = match streams::container(self, whom) {
            Ok(container) => container,
            Err(refusal) => return *refusal,
        };
        let command: Vec<String> = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "cmd")
            .map(|(_, command)| command.split(' ').map(str::to_owned).collect())
            .unwrap_or_default();
        match self.handle.runtime().exec_sync(&container, &command, None).await {
            Ok(output) => {
                let mut text = output.stdout;
                text.extend_from_slice(&output.stderr);
                let shown = String::from_utf8_lossy(&text);
                if output.code == 0 {
                    answer::text(StatusCode::OK, &shown)
                } else {
                    let text = format!("{shown}\ncommand terminated with exit code {}", output.code);
                    answer::text(StatusCode::INTERNAL_SERVER_ERROR, &text)
                }
            }
            Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

fn decoded(path: &str) -> Option<Vec<String>> {
    let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().ok().map(Into::into);
    path.split('/').filter(|part| !part.is_empty()).map(decode).collect()
}

fn has_container(pod: &Arc<Pod>, name: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| {
        spec.containers.iter().any(|container| container.name == name)
            || spec.init_containers.iter().flatten().any(|container| container.name == name)
            || spec.ephemeral_containers.iter().flatten().any(|container| container.name == name)
    })
}
