//! A `default` service account in every namespace, since pods that name none run as it.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::{Change, write};

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "service-account-controller",
    component: "service-account-controller",
    wakes: &[on::<Namespace, Itself>(), on::<ServiceAccount, ItsNamespace>()],
    may: &[("create", "serviceaccounts")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// The namespace that the object is in.
pub(crate) struct ItsNamespace;

impl How<Settings> for ItsNamespace {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        // Only a loss gives the namespace something to mend.
        let lost = change.old.as_ref().filter(|_| change.new.is_none());
        let namespace = lost.and_then(|object| object.meta().namespace.as_deref());
        namespace.map(|namespace| Key::new(None, namespace)).into_iter().collect()
    }
}

/// Whether things may still be made in the namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let account = Key::new(Some(key.as_str()), "default");
    let wanted = ctx.get::<Namespace>(&key).is_some_and(|namespace| is_active(&namespace));
    if !wanted || ctx.cache::<ServiceAccount>().get(account.as_str()).is_some() {
        return Ok(Next::Rest);
    }
    let metadata = ObjectMeta {
        name: Some("default".to_owned()),
        namespace: Some(key.as_str().to_owned()),
        ..ObjectMeta::default()
    };
    match ctx.create(&ServiceAccount { metadata, ..ServiceAccount::default() }).await {
        Ok(_) => Ok(Next::Rest),
        Err(error) if write::already_exists(&error) || write::is_terminating(&error) => Ok(Next::Rest),
        Err(error) => Err(error.into()),
    }
}
