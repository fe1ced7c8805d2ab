//! Follows APIServices and what decides about them: who serves what, and whether they answer.
//!
//! Each server behind an APIService has a task of its own, woken when its service or endpoints change. Nobody tells when
//! a server itself stops answering, or serves something else: so it is asked again, soon after it failed and later when
//! all is well.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use skiff_api::{ApiError, Object, meta};
use skiff_base::Backoff;
use skiff_base::task::Tasks;
use skiff_store::{Event, Key};
use tokio::sync::Notify;

use super::{Backend, Service, TABLE, check, discovery, register};
use crate::api::Api;
use crate::crd;
use crate::kinds::apiregistration::api_service::{available, backend, set_available, set_local};
use crate::stored::Stored;

/// When a server that answers is asked again; upstream's.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// The first pause after a failure; the longest is [`ASK_AGAIN`].
const FIRST: Duration = Duration::from_millis(250);

const SLICES: &str = "discovery.k8s.io/endpointslices";
const TABLES: [&str; 4] = [TABLE, crd::controller::TABLE, "services", SLICES];

/// What may have changed.
enum News {
    /// APIServices of these names.
    Named(Vec<String>),
    /// How this service (`namespace/name`) is reached.
    Service(Arc<str>),
}

/// Follows one server.
struct Worker {
    backend: Arc<Backend>,
    wake: Arc<Notify>,
    tasks: Tasks,
}

struct Keeper {
    api: Arc<Api>,
    tasks: Tasks,
    workers: HashMap<String, Worker>,
}

/// Keeps APIServices and their conditions up to date until the server stops.
pub(crate) async fn run(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    let mut keeper = Keeper { api, tasks, workers: HashMap::new() };
    loop {
        let watches = TABLES.map(|table| keeper.api.store.snapshot_and_watch(table).1);
        let mut changes = stream::select_all(watches);
        let names = keeper.api.store.snapshot(TABLE).objects.keys().map(|name| name.to_string()).collect();
        keeper.take(News::Named(names)).await;
        loop {
            let change = tokio::select! {
                () = keeper.tasks.stopped() => return Ok(()),
                change = changes.next() => change,
            };
            match change {
                Some(Ok(event)) => {
                    for news in told(&event) {
                        keeper.take(news).await;
                    }
                }
                // Too far behind: look at everything again.
                Some(Err(_)) => break,
                None => return Ok(()),
            }
        }
    }
}

fn told(event: &Event<Stored>) -> Vec<News> {
    let name = &event.key.name;
    let before = event.previous.as_ref().map(|stored| stored.object());
    let both = [Some(event.object.object()), before].into_iter().flatten();
    match &*event.key.table {
        TABLE => vec![News::Named(vec![name.to_string()])],
        "services" => vec![News::Service(Arc::clone(name))],
        SLICES => both.filter_map(|slice| service_of(slice)).map(News::Service).collect(),
        _ => vec![News::Named(both.flat_map(|definition| register::defined_by(definition)).collect())],
    }
}

fn service_of(slice: &Object) -> Option<Arc<str>> {
    let name = slice.meta().labels.get("kubernetes.io/service-name")?;
    Some(meta::key(slice.meta().namespace.as_deref(), name))
}

impl Keeper {
    async fn take(&mut self, news: News) {
        match news {
            News::Named(names) => {
                for name in names {
                    if let Err(error) = self.look(&name).await {
                        tracing::warn!(%error, name, "an APIService could not be brought into step");
                    }
                }
            }
            News::Service(key) => {
                let concerned = |worker: &&Worker| {
                    *meta::key(Some(&worker.backend.namespace), &worker.backend.service) == *key
                };
                self.workers.values().filter(concerned).for_each(|worker| worker.wake.notify_one());
            }
        }
    }

    /// Looks at one APIService.
    async fn look(&mut self, name: &str) -> Result<(), ApiError> {
        register::reconcile(&self.api, name, false).await?;
        let service = service(&self.api, name);
        let wanted = service.as_ref().and_then(|service| service.backend.as_ref());
        let held = self.workers.get(name).map(|worker| &worker.backend);
        if let (Some(wanted), Some(held)) = (wanted, held)
            && Arc::ptr_eq(wanted, held)
        {
            return Ok(());
        }
        if let Some(worker) = self.workers.remove(name) {
            worker.tasks.stop();
        }
        if let Some(backend) = wanted {
            let worker = Worker {
                backend: Arc::clone(backend),
                wake: Arc::new(Notify::new()),
                tasks: self.tasks.child(),
            };
            let (api, wake) = (Arc::clone(&self.api), Arc::clone(&worker.wake));
            let work = work(api, name.to_owned(), Arc::clone(backend), wake);
            worker.tasks.spawn_until_stop(work);
            self.workers.insert(name.to_owned(), worker);
            return Ok(());
        }
        if service.is_none() {
            return Ok(());
        }
        let Some(stored) = self.api.store.get(&Key::new(TABLE, name)) else { return Ok(()) };
        let object = stored.object().decode::<APIService>().map_err(ApiError::internal)?;
        if available(&object).and_then(|held| held.reason.as_deref()) == Some("Local") {
            return Ok(());
        }
        let now = Time(self.api.clock.now_seconds());
        register::change(&self.api, name, "status", &|service| {
            if backend(service).is_none() {
                set_local(service, Some(now.clone()));
            }
            Ok(())
        })
        .await
    }
}

fn service(api: &Api, name: &str) -> Option<Arc<Service>> {
    let (version, group) = name.split_once('.')?;
    api.aggregation.services(api).get(group, version).cloned()
}

/// Finds out again and again whether a server answers, and what it serves.
async fn work(api: Arc<Api>, name: String, backend: Arc<Backend>, wake: Arc<Notify>) {
    let mut backoff = Backoff::new(FIRST, ASK_AGAIN);
    loop {
        let Some(service) = service(&api, &name) else { return };
        let finding = check::find(&api, &backend, &service.path()).await;
        let answers = finding.status == "True";
        if answers {
            // Before anybody reads that it is available.
            discovery::refresh(&api, &service, &backend).await;
        }
        if let Err(error) = tell(&api, &name, &backend, &finding).await {
            tracing::warn!(%error, name, "it could not be said whether another API server is available");
        }
        let pause = if answers { ASK_AGAIN } else { backoff.next_delay() };
        if tokio::time::timeout(pause, wake.notified()).await.is_ok() || answers {
            backoff.reset();
        }
    }
}

/// Writes down what was found, if that is news.
async fn tell(api: &Api, name: &str, server: &Backend, finding: &check::Finding) -> Result<(), ApiError> {
    let known = |service: &APIService| {
        available(service).is_some_and(|held| {
            held.status == finding.status
                && held.reason.as_deref() == Some(finding.reason)
                && held.message.as_deref() == Some(&finding.message)
        })
    };
    let Some(stored) = api.store.get(&Key::new(TABLE, name)) else { return Ok(()) };
    if stored.object().decode::<APIService>().is_ok_and(|service| known(&service)) {
        return Ok(());
    }
    tracing::info!(name, finding.status, finding.reason, finding.message, "an API server's availability");
    let now = Time(api.clock.now_seconds());
    register::change(api, name, "status", &|service| {
        if service.spec.as_ref().is_some_and(|spec| server.is_of(spec)) {
            set_available(service, finding.status, finding.reason, &finding.message, Some(now.clone()));
        }
        Ok(())
    })
    .await
}
