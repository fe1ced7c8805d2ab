//! The server from inside its own process: requests without a socket, reads without a request.
//!
//! A feed is a list and a watch: whoever may not do both sees nothing. That is asked at the start of a feed and after
//! every gap, never for an event. Of a kind that is not there a feed tells that there is nothing, and goes on when it comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::HeaderValue;
use skiff_api::selector::{FieldSelector, LabelSelector};
use skiff_api::{ApiError, Object, Resource};
use skiff_base::Backoff;
use skiff_client::{Delta, LocalFeeds, Topic};
use skiff_store::{Event, Watch};

use crate::api::Api;
use crate::authn::Peer;
use crate::authz::{self, Ask, Verdict};
use crate::catalog::Entry;
use crate::kinds;
use crate::server::Handler;
use crate::stored::Stored;
use crate::user::User;
use crate::verbs::select::Select;
use crate::wire::{self, Response};

/// Carries requests of one user of this process to the handler.
#[derive(Clone)]
pub(crate) struct Transport {
    handler: Handler,
    user: User,
    /// Tells who owns what the component writes.
    agent: HeaderValue,
}

impl Transport {
    pub(crate) fn new(handler: Handler, user: User) -> Self {
        let agent = HeaderValue::from_str(agent(&user.name)).unwrap_or(HeaderValue::from_static("skiff"));
        Self { handler, user, agent }
    }
}

impl tower::Service<http::Request<kube::client::Body>> for Transport {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<kube::client::Body>) -> Self::Future {
        request.headers_mut().entry(http::header::USER_AGENT).or_insert_with(|| self.agent.clone());
        let answer = self.handler.handle(Peer::Known(self.user.clone()), request.map(wire::incoming));
        Box::pin(async move { Ok(answer.await) })
    }
}

/// What upstream's component of that name calls itself.
fn agent(user: &str) -> &str {
    let name = user.strip_prefix("system:").unwrap_or(user);
    match name.split(':').next() {
        Some("node") => "kubelet",
        Some("serviceaccount") => "kube-controller-manager",
        _ => name,
    }
}

/// Feeds straight from the store, for one user of this process.
pub(crate) struct Feeds {
    api: Arc<Api>,
    user: User,
}

impl Feeds {
    pub(crate) fn new(api: &Arc<Api>, user: User) -> Self {
        Self { api: Arc::clone(api), user }
    }
}

impl LocalFeeds for Feeds {
    /// Kinds of other servers are had as anybody has them.
    fn knows(&self, topic: &Topic) -> bool {
        let Resource { group, version, .. } = &topic.resource;
        let services = self.api.aggregation.services(&self.api);
        services.get(group, version).is_none_or(|service| service.backend.is_none())
    }

    fn subscribe(&self, topic: &Topic) -> BoxStream<'static, Delta<Arc<Object>>> {
        let resource = &topic.resource;
        let selectors =
            LabelSelector::parse(&topic.labels).ok().zip(FieldSelector::parse(&topic.fields).ok());
        let mistaken = |row: &&kinds::Row| {
            let own = row.resource();
            (&*own.group, &*own.version) == (&*resource.group, &*resource.version)
        };
        let served = self.api.catalog.get(&resource.group, &resource.version, &resource.plural).is_some();
        let built_in = || kinds::ALL.iter().any(|row| row.resource() == *resource);
        if selectors.is_none() || (!served && !built_in() && kinds::ALL.iter().any(mistaken)) {
            // Our own kinds and selectors are written in our own code: this is a mistake there, and an empty cluster
            // would hide it.
            tracing::error!(?topic, "no such feed");
        } else if !served {
            tracing::debug!(?topic, "a feed of a kind that is not served stays empty until it is");
        }
        let (labels, fields) = selectors.unwrap_or_default();
        let select = Select { namespace: topic.namespace.clone().unwrap_or_default(), labels, fields };
        let source = Source {
            api: Arc::clone(&self.api),
            user: self.user.clone(),
            topic: topic.clone(),
            select,
            told: false,
            entry: None,
            watch: None,
        };
        futures::stream::unfold(source, |mut source| async move {
            let delta = source.next().await?;
            Some((delta, source))
        })
        .boxed()
    }
}

/// Between two attempts to start a feed that was refused.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One subscription.
struct Source {
    api: Arc<Api>,
    user: User,
    topic: Topic,
    select: Select,
    /// Whether anything was told.
    told: bool,
    /// Nothing as long as nobody serves the kind.
    entry: Option<Arc<Entry>>,
    /// Nothing before the first and after every gap.
    watch: Option<Watch<Stored>>,
}

impl Source {
    async fn next(&mut self) -> Option<Delta<Arc<Object>>> {
        loop {
            let Some(entry) = self.entry.clone() else {
                let Resource { group, version, plural, .. } = &self.topic.resource;
                let entry = match self.api.catalog.get(group, version, plural) {
                    Some(entry) => entry,
                    // Nobody shall wait for what is not there.
                    None if !std::mem::replace(&mut self.told, true) => {
                        return Some(Delta::Reset(Vec::new()));
                    }
                    None => self.api.catalog.awaited(group, version, plural).await,
                };
                self.entry = Some(entry);
                continue;
            };
            let Some(watch) = &mut self.watch else {
                self.permitted().await;
                self.told = true;
                return Some(self.reset(&entry));
            };
            let next = tokio::select! {
                biased;
                next = watch.next() => next,
                () = entry.gone.cancelled() => {
                    (self.entry, self.watch) = (None, None);
                    return Some(Delta::Reset(Vec::new()));
                }
            };
            match next {
                // The server is going, or the kind is; a feed does not end, it rests.
                None => entry.gone.cancelled().await,
                Some(Err(_too_far_behind)) => self.watch = None,
                Some(Ok(event)) => {
                    if let Some(delta) = self.delta(&entry, &event) {
                        return Some(delta);
                    }
                }
            }
        }
    }

    /// Waits until the user may list and watch, trying again as a client elsewhere would.
    async fn permitted(&self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while let Err(refusal) = self.judge().await {
            tracing::warn!(%refusal, "a feed may not start");
            backoff.wait().await;
        }
    }

    async fn judge(&self) -> Result<(), ApiError> {
        let Resource { group, version, plural, .. } = &self.topic.resource;
        for verb in ["list", "watch"] {
            let ask = Ask {
                verb,
                group,
                version,
                resource: plural,
                namespace: &self.select.namespace,
                name: authz::selected_name(&self.topic.fields),
                fields: &self.topic.fields,
                ..Ask::nothing(&self.user)
            };
            if let Verdict::Deny(why) | Verdict::NoOpinion(why) = authz::judge(&self.api, &ask).await {
                return Err(ask.refusal(&why));
            }
        }
        Ok(())
    }

    fn reset(&mut self, entry: &Arc<Entry>) -> Delta<Arc<Object>> {
        let (snapshot, watch) = self.select.snapshot_and_watch(&self.api.store, entry);
        self.watch = Some(watch);
        let prefix = self.select.prefix();
        let selected = snapshot.beginning(&prefix).filter(|(_, stored)| self.select.matches(entry, stored));
        Delta::Reset(selected.map(|(_, stored)| Arc::clone(stored.object())).collect())
    }

    fn delta(&self, entry: &Entry, event: &Event<Stored>) -> Option<Delta<Arc<Object>>> {
        if !event.deleted && self.select.matches(entry, &event.object) {
            return Some(Delta::Put(Arc::clone(event.object.object())));
        }
        let before = event.previous.as_ref().filter(|old| self.select.matches(entry, old))?;
        Some(Delta::Gone(Arc::clone(if event.deleted { event.object.object() } else { before.object() })))
    }
}
