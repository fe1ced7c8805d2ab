//! kube-rs as people use it: a definition made by its derive, a controller with its finalizer and events, a reflector
//! filled by a streaming list, server-side apply, conflicts and refusals.
//!
//! An errand is a greeting that the controller puts into as many ConfigMaps as it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event as Told;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::finalizer::{self, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

const NAMESPACE: &str = "default";
/// The label that names a ConfigMap's errand.
const LABEL: &str = "example.com/errand";

#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(
    group = "example.com",
    version = "v1",
    kind = "Errand",
    namespaced,
    status = "ErrandStatus",
    shortname = "er",
    selectable = ".spec.to",
    scale(spec_replicas_path = ".spec.copies", status_replicas_path = ".status.copies"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to"),
    validation = Rule::new("self.metadata.name != self.spec.to").message("nobody greets itself")
)]
struct ErrandSpec {
    #[x_kube(validation = Rule::new("self == oldSelf").message("an errand has one end"))]
    to: String,
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 5))]
    copies: i32,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, schemars::JsonSchema)]
struct ErrandStatus {
    copies: i32,
}

fn one() -> i32 {
    1
}

/// What a reconciliation may fail with.
#[derive(thiserror::Error, Debug)]
enum Failure {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Finalizer(#[from] Box<finalizer::Error<Failure>>),
    #[error("an object without what the server gives it")]
    Incomplete,
}

/// What the controller works with.
struct Shop {
    client: Client,
    recorder: Recorder,
}

async fn reconcile(errand: Arc<Errand>, shop: Arc<Shop>) -> Result<Action, Failure> {
    let errands =
        Api::<Errand>::namespaced(shop.client.clone(), &errand.namespace().ok_or(Failure::Incomplete)?);
    let step = |event| async {
        match event {
            finalizer::Event::Apply(errand) => keep(&errand, &shop).await,
            finalizer::Event::Cleanup(errand) => {
                shop.tell(&errand, "Forgotten").await?;
                Ok(Action::await_change())
            }
        }
    };
    finalizer(&errands, "example.com/errands", errand, step).await.map_err(|error| Box::new(error).into())
}

/// Applies the wanted ConfigMaps, removes others, says how many there are.
async fn keep(errand: &Errand, shop: &Shop) -> Result<Action, Failure> {
    let (name, namespace) = (errand.name_any(), errand.namespace().ok_or(Failure::Incomplete)?);
    let maps = Api::<ConfigMap>::namespaced(shop.client.clone(), &namespace);
    let owner = errand.controller_owner_ref(&()).ok_or(Failure::Incomplete)?;
    let apply = PatchParams::apply("errands");
    let wanted: Vec<String> = (0..errand.spec.copies).map(|number| format!("{name}-{number}")).collect();
    for map in &wanted {
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": map, "labels": {LABEL: name}, "ownerReferences": [owner]},
            "data": {"text": format!("hello {}", errand.spec.to)},
        });
        maps.patch(map, &apply, &Patch::Apply(config)).await?;
    }
    for map in maps.list(&ListParams::default().labels(&format!("{LABEL}={name}"))).await? {
        if !wanted.contains(&map.name_any()) {
            maps.delete(&map.name_any(), &DeleteParams::default()).await?;
        }
    }
    let status = json!({
        "apiVersion": Errand::api_version(&()), "kind": Errand::kind(&()),
        "status": ErrandStatus { copies: errand.spec.copies },
    });
    let errands = Api::<Errand>::namespaced(shop.client.clone(), &namespace);
    if errand.status.as_ref().map(|status| status.copies) != Some(errand.spec.copies) {
        errands.patch_status(&name, &apply, &Patch::Apply(status)).await?;
        shop.tell(errand, "Greeted").await?;
    }
    Ok(Action::await_change())
}

impl Shop {
    async fn tell(&self, errand: &Errand, reason: &str) -> Result<(), Failure> {
        let event = Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: Some(format!("{} copies", errand.spec.copies)),
            action: "Greet".to_owned(),
            secondary: None,
        };
        Ok(self.recorder.publish(&event, &errand.object_ref(&())).await?)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tokio::time::timeout(Duration::from_secs(120), run()).await.context("took too long")??;
    println!("errands: all is well");
    Ok(())
}

async fn run() -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    define(&client).await?;
    let errands = Api::<Errand>::namespaced(client.clone(), NAMESPACE);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);

    let shop = Shop { client: client.clone(), recorder: Recorder::new(client.clone(), "errands".into()) };
    let controller = Controller::new(errands.clone(), watcher::Config::default())
        .owns(maps.clone(), watcher::Config::default().labels(LABEL))
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(shop))
        .for_each(|done| async move {
            if let Err(error) = done {
                eprintln!("{error}");
            }
        });
    let controller = tokio::spawn(controller);

    let moon = errand("moon", 2);
    errands.create(&PostParams::default(), &moon).await?;
    settled(&errands, "to-moon", 2).await?;
    reflected(&client).await?;
    mended(&maps).await?;
    scaled(&errands).await?;
    shared(&errands).await?;
    refused(&errands).await?;

    // The finalizer lets go after its cleanup, the ConfigMaps follow their owner.
    let uid = errands.get("to-moon").await?.uid().context("a uid")?;
    let last = maps.get("to-moon-0").await?.uid().context("a uid")?;
    errands.delete("to-moon", &DeleteParams::foreground()).await?;
    await_condition(errands.clone(), "to-moon", conditions::is_deleted(&uid)).await?;
    await_condition(maps.clone(), "to-moon-0", conditions::is_deleted(&last)).await?;
    told(&client, &["Greeted", "Forgotten"]).await?;
    controller.abort();
    Ok(())
}

fn errand(to: &str, copies: i32) -> Errand {
    Errand::new(&format!("to-{to}"), ErrandSpec { to: to.to_owned(), copies })
}

/// The definition that the derive made is applied, twice, and served.
async fn define(client: &Client) -> anyhow::Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let (name, apply) = (Errand::crd_name(), PatchParams::apply("errands").force());
    let first = definitions.patch(name, &apply, &Patch::Apply(Errand::crd())).await?;
    let again = definitions.patch(name, &apply, &Patch::Apply(Errand::crd())).await?;
    ensure!(again.meta().generation == first.meta().generation, "nothing was new");
    await_condition(definitions, name, conditions::is_crd_established()).await?;
    Ok(())
}

/// Waits until the controller has said that there are so many copies.
async fn settled(errands: &Api<Errand>, name: &str, copies: i32) -> anyhow::Result<()> {
    let enough = |errand: Option<&Errand>| {
        errand.and_then(|errand| errand.status.as_ref()).is_some_and(|status| status.copies == copies)
    };
    await_condition(errands.clone(), name, enough).await?;
    Ok(())
}

/// A reflector holds what its selectors choose: the errand from a streaming list by a field of its own, the ConfigMaps
/// from pages of one.
async fn reflected(client: &Client) -> anyhow::Result<()> {
    let errands = Api::<Errand>::all(client.clone());
    let (store, writer) = reflector::store();
    let chosen = watcher::Config::default().fields("spec.to=moon").streaming_lists();
    let stream = watcher(errands, chosen).default_backoff().reflect(writer).touched_objects();
    let follow = tokio::spawn(stream.for_each(|_| async {}));
    store.wait_until_ready().await?;
    let names: Vec<String> = store.state().iter().map(|errand| errand.name_any()).collect();
    ensure!(names == ["to-moon"], "chosen by field: {names:?}");
    follow.abort();

    let maps = Api::<ConfigMap>::all(client.clone());
    let (store, writer) = reflector::store();
    let chosen = watcher::Config::default().labels(LABEL).page_size(1);
    let follow = tokio::spawn(reflector(writer, watcher(maps, chosen)).for_each(|_| async {}));
    store.wait_until_ready().await?;
    let texts: BTreeMap<String, Option<String>> = store
        .state()
        .iter()
        .map(|map| (map.name_any(), map.data.as_ref().and_then(|data| data.get("text")).cloned()))
        .collect();
    let hello = Some("hello moon".to_owned());
    ensure!(
        texts == BTreeMap::from([("to-moon-0".into(), hello.clone()), ("to-moon-1".into(), hello)]),
        "{texts:?}"
    );
    follow.abort();
    Ok(())
}

/// What is owned and removed comes back: deletion reaches the owner's controller by metadata alone.
async fn mended(maps: &Api<ConfigMap>) -> anyhow::Result<()> {
    let old = maps.get("to-moon-1").await?.uid().context("a uid")?;
    maps.delete("to-moon-1", &DeleteParams::default()).await?;
    let back = |map: Option<&ConfigMap>| map.is_some_and(|map| map.uid().as_ref() != Some(&old));
    await_condition(maps.clone(), "to-moon-1", back).await?;
    Ok(())
}

/// The scale of a custom resource, which the controller follows.
async fn scaled(errands: &Api<Errand>) -> anyhow::Result<()> {
    ensure!(errands.get_scale("to-moon").await?.spec.and_then(|spec| spec.replicas) == Some(2));
    let less = json!({"spec": {"replicas": 1}});
    errands.patch_scale("to-moon", &PatchParams::default(), &Patch::Merge(less)).await?;
    settled(errands, "to-moon", 1).await
}

/// Two appliers of one field: a conflict that names the other, then force; both are told as owners.
async fn shared(errands: &Api<Errand>) -> anyhow::Result<()> {
    let apply = |manager: &str| PatchParams::apply(manager);
    let sun = |copies: i32| Patch::Apply(errand("sun", copies));
    errands.patch("to-sun", &apply("one"), &sun(1)).await?;
    let conflict = errands.patch("to-sun", &apply("two"), &sun(0)).await;
    let Err(kube::Error::Api(status)) = conflict else { anyhow::bail!("no conflict: {conflict:?}") };
    ensure!(
        status.code == 409 && status.message.contains("conflict with \"one\": .spec.copies"),
        "{status:?}"
    );
    let won = errands.patch("to-sun", &apply("two").force(), &sun(0)).await?;
    ensure!(won.spec.copies == 0, "{won:?}");
    let managers: Vec<_> = won.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    ensure!(managers.contains(&"one") && managers.contains(&"two"), "{managers:?}");
    settled(errands, "to-sun", 0).await
}

/// The derive's rules, bounds and strictness are the server's.
async fn refused(errands: &Api<Errand>) -> anyhow::Result<()> {
    let mut itself = errand("itself", 1);
    itself.spec.to = "to-itself".to_owned();
    let elsewhere = json!({"spec": {"to": "mars"}});
    let strange = json!({
        "apiVersion": "example.com/v1", "kind": "Errand", "metadata": {"name": "odd"}, "spec": {"to": "x", "by": "y"},
    });
    let (post, merge) = (PostParams::default(), PatchParams::default());
    let strict = PatchParams::apply("one").validation_strict();
    let tries = [
        ("nobody greets itself", errands.create(&post, &itself).await),
        ("should be less than or equal to 5", errands.create(&post, &errand("all", 9)).await),
        ("an errand has one end", errands.patch("to-moon", &merge, &Patch::Merge(elsewhere)).await),
        ("field not declared in schema", errands.patch("odd", &strict, &Patch::Apply(strange)).await),
    ];
    for (why, answer) in tries {
        let Err(kube::Error::Api(status)) = answer else { anyhow::bail!("taken, not: {why}") };
        ensure!(status.message.contains(why), "not {why}: {status:?}");
    }
    Ok(())
}

/// The events that the recorder published, found by the kind that they regard.
async fn told(client: &Client, reasons: &[&str]) -> anyhow::Result<()> {
    let events = Api::<Told>::namespaced(client.clone(), NAMESPACE);
    let all = events.list(&ListParams::default()).await?;
    for reason in reasons {
        let found = all.iter().any(|event| {
            event.reason.as_deref() == Some(reason)
                && event.regarding.as_ref().is_some_and(|about| about.kind.as_deref() == Some("Errand"))
        });
        ensure!(found, "no event says {reason}");
    }
    Ok(())
}
