//! What happens in the runtime, as a stream that never ends.
//!
//! containerd tells through its own events service, at once; other runtimes through CRI's `GetContainerEvents`.
//! Two facts shape this file. containerd's `Subscribe` answers only with the first event, so we publish one of
//! our own until it comes back: then the subscription stands, and only then may [`Event::Resync`] go out. And
//! containerd's CRI part learns of an exit from the same event as we do, some milliseconds later; an exit is
//! passed on when `ContainerStatus` knows it too, so that nobody behind the seam can see the two disagree.

use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom, TaskPaused, TaskStart};
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_cri::v1;
use skiff_base::backoff::Backoff;
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::Cri;
use crate::runtime::{ContainerState, Event, Runtime, RuntimeError, SandboxState};

/// The namespace in which containerd's CRI part keeps everything.
const NAMESPACE: &str = "k8s.io";
/// Ours; it only has to pass the filter and mean nothing to others.
const HELLO: &str = "/skiff/hello";
/// How many exits may settle at the same time.
const SETTLING: usize = 64;

pub(super) fn follow(cri: Cri) -> BoxStream<'static, Event> {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let connections = stream::unfold((cri, backoff, true), |(cri, mut backoff, first)| async move {
        if !first {
            backoff.wait().await;
        }
        loop {
            match connect(&cri).await {
                Ok(events) => {
                    backoff.reset();
                    let resync = stream::once(async { Event::Resync });
                    return Some((resync.chain(events), (cri, backoff, false)));
                }
                Err(status) => {
                    tracing::warn!(%status, "runtime events are not available");
                    backoff.wait().await;
                }
            }
        }
    });
    connections.flatten().boxed()
}

/// One connection's events; the stream ends when the connection does.
async fn connect(cri: &Cri) -> Result<BoxStream<'static, Event>, Status> {
    match containerd(cri).await {
        Err(status) if status.code() == tonic::Code::Unimplemented => plain_cri(cri).await,
        other => other,
    }
}

async fn containerd(cri: &Cri) -> Result<BoxStream<'static, Event>, Status> {
    let mut client = EventsClient::new(cri.channel.clone());
    let tasks = format!(r#"namespace=="{NAMESPACE}",topic~="/tasks/(start|exit|oom)""#);
    let hello = format!(r#"topic=="{HELLO}""#);
    let subscribing = client.subscribe(namespaced(SubscribeRequest { filters: vec![tasks, hello] }));
    let greeting = greet(EventsClient::new(cri.channel.clone()));
    let envelopes = tokio::select! {
        answer = subscribing => answer?.into_inner(),
        status = greeting => return Err(status),
    };
    let cri = cri.clone();
    let events = envelopes
        .take_while(|item| std::future::ready(item.is_ok()))
        .filter_map(|item| std::future::ready(item.ok().and_then(read)))
        .map(move |event| settle(cri.clone(), event))
        .buffer_unordered(SETTLING);
    Ok(events.boxed())
}

/// Publishes our own event until the subscription answers; ends only when publishing fails.
async fn greet(mut client: EventsClient<tonic::transport::Channel>) -> Status {
    let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(100));
    loop {
        let event = containerd_client::to_any(&TaskPaused { container_id: "skiff".to_owned() });
        let request = PublishRequest { topic: HELLO.to_owned(), event: Some(event) };
        if let Err(status) = client.publish(namespaced(request)).await {
            return status;
        }
        backoff.wait().await;
    }
}

fn namespaced<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

fn read(envelope: Envelope) -> Option<Event> {
    let mut payload = envelope.event?;
    // `Any` wants a slash in front of the type's name, containerd sends none.
    if !payload.type_url.starts_with('/') {
        payload.type_url.insert(0, '/');
    }
    match envelope.topic.as_str() {
        "/tasks/start" => {
            payload.to_msg().ok().map(|start: TaskStart| Event::Started { id: start.container_id })
        }
        "/tasks/oom" => payload.to_msg().ok().map(|oom: TaskOom| Event::OutOfMemory { id: oom.container_id }),
        "/tasks/exit" => {
            let exit: TaskExit = payload.to_msg().ok()?;
            // The end of an exec carries its own id; only the container's first process counts.
            let of_container = exit.id.is_empty() || exit.id == exit.container_id;
            let code = i32::try_from(exit.exit_status).ok();
            of_container.then_some(Event::Exited { id: exit.container_id, code })
        }
        _ => None,
    }
}

/// Waits until the CRI side knows of an exit. There is no signal for that, only the certainty that it comes.
async fn settle(cri: Cri, event: Event) -> Event {
    if let Event::Exited { id, .. } = &event {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(100));
        for _ in 0..40 {
            if ended(&cri, id).await {
                break;
            }
            backoff.wait().await;
        }
    }
    event
}

async fn ended(cri: &Cri, id: &str) -> bool {
    match cri.container_status(id).await {
        // A short-lived container may end before its start was noted: "created" is not the end.
        Ok(status) => !matches!(status.state, ContainerState::Created | ContainerState::Running),
        Err(RuntimeError::NotFound(_)) => match cri.sandbox_status(id).await {
            Ok(status) => status.sandbox.state == SandboxState::NotReady,
            Err(_) => true,
        },
        Err(_) => true,
    }
}

async fn plain_cri(cri: &Cri) -> Result<BoxStream<'static, Event>, Status> {
    let mut client = cri.runtime.clone();
    let answers = client.get_container_events(v1::GetEventsRequest {}).await?.into_inner();
    let events = answers.take_while(|item| std::future::ready(item.is_ok())).filter_map(|item| {
        let event = item.ok().and_then(|answer| {
            let id = answer.container_id;
            match v1::ContainerEventType::try_from(answer.container_event_type).ok()? {
                v1::ContainerEventType::ContainerStartedEvent => Some(Event::Started { id }),
                v1::ContainerEventType::ContainerStoppedEvent => Some(Event::Exited { id, code: None }),
                _ => None,
            }
        });
        std::future::ready(event)
    });
    Ok(events.boxed())
}
