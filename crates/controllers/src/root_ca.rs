//! The config map `kube-root-ca.crt` in every namespace: whom pods must trust to talk to the server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::{Change, write};

use crate::Settings;
use crate::service_accounts::is_active;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "root-ca-certificate-publisher",
    component: "root-ca-certificate-publisher",
    wakes: &[on::<Namespace, Itself>(), on::<ConfigMap, Published>()],
    may: &[("create update", "configmaps")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

struct Published;

impl How<Settings> for Published {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let meta = change.latest().meta();
        let namespace = meta.namespace.as_deref().filter(|_| &*meta.name == NAME);
        namespace.map(|namespace| Key::new(None, namespace)).into_iter().collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(pem) = ctx.settings().root_ca.clone() else { return Ok(Next::Rest) };
    if !ctx.get::<Namespace>(&key).is_some_and(|namespace| is_active(&namespace)) {
        return Ok(Next::Rest);
    }
    let data = Some(BTreeMap::from([("ca.crt".to_owned(), pem)]));
    let result = match ctx.get::<ConfigMap>(&Key::new(Some(key.as_str()), NAME)) {
        Some(held) if held.data == data => return Ok(Next::Rest),
        Some(held) => ctx.replace(&ConfigMap { data, ..(*held).clone() }).await,
        None => {
            let note = ("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned());
            let metadata = ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(key.as_str().to_owned()),
                annotations: Some(BTreeMap::from([note])),
                ..ObjectMeta::default()
            };
            ctx.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
        }
    };
    match result {
        Ok(_) => Ok(Next::Rest),
        Err(error) if write::already_exists(&error) || write::is_terminating(&error) => Ok(Next::Rest),
        Err(error) => Err(error.into()),
    }
}
