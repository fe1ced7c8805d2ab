//! Classes of volumes' attributes stay while a claim or a volume has them. Follows upstream's
//! `pkg/controller/volume/vacprotection`.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use skiff_api::Object;
use skiff_client::Change;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};

use super::protection;
use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "volumeattributesclass-protection-controller",
    component: "volumeattributesclass-protection-controller",
    wakes: &[
        on::<VolumeAttributesClass, Itself>(),
        on::<PersistentVolumeClaim, ItsClasses>().indexed(&[CLAIMS]),
        on::<PersistentVolume, ItsClasses>().indexed(&[VOLUMES]),
    ],
    may: &[("update", "volumeattributesclasses.storage.k8s.io")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Finds claims by the classes that they have, want or are on the way to.
const CLAIMS: Index = Index { name: "attributes of claims", values: of_claim };
/// Finds volumes by their class.
const VOLUMES: Index = Index { name: "attributes of volumes", values: of_volume };

/// Most have none: that is seen without decoding them.
fn mentions(object: &Object) -> bool {
    std::str::from_utf8(object.bytes()).is_ok_and(|text| text.contains("olumeAttributesClassName\""))
}

fn of_claim(object: &Object) -> Vec<Box<str>> {
    let Some(claim) = Some(object).filter(|it| mentions(it)).and_then(decode::<PersistentVolumeClaim>) else {
        return Vec::new();
    };
    let status = claim.status.as_ref();
    let modified = status.and_then(|status| status.modify_volume_status.as_ref());
    let names = [
        claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.current_volume_attributes_class_name.as_deref()),
        modified.and_then(|status| status.target_volume_attributes_class_name.as_deref()),
    ];
    names.into_iter().flatten().filter(|name| !name.is_empty()).map(Into::into).collect()
}

fn of_volume(object: &Object) -> Vec<Box<str>> {
    let volume = Some(object).filter(|it| mentions(it)).and_then(decode::<PersistentVolume>);
    let name =
        volume.as_ref().and_then(|volume| volume.spec.as_ref()?.volume_attributes_class_name.as_deref());
    name.filter(|name| !name.is_empty()).map(Into::into).into_iter().collect()
}

/// The classes that somebody had before: they may go now.
struct ItsClasses;

impl How<Settings> for ItsClasses {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let classes = change.old.iter().flat_map(|old| of_claim(old).into_iter().chain(of_volume(old)));
        classes.map(|name| Key::new(None, &name)).collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(class) = ctx.get::<VolumeAttributesClass>(&key) else { return Ok(Next::Rest) };
    let leaving = class.metadata.deletion_timestamp.is_some();
    let used = || {
        !ctx.cache::<PersistentVolumeClaim>().by(&CLAIMS, key.name()).is_empty()
            || !ctx.cache::<PersistentVolume>().by(&VOLUMES, key.name()).is_empty()
    };
    let wanted = !leaving || used();
    protection::set(&ctx, (*class).clone(), FINALIZER, wanted).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_the_class_it_wants_and_the_one_it_leaves() {
        let object = |text: &str| Object::parse(text.to_owned().into()).unwrap();
        let claim = object(
            r#"{"metadata":{"name":"c"},"spec":{"volumeAttributesClassName":"gold"},"status":{"currentVolumeAttributesClassName":"silver"}}"#,
        );
        assert_eq!(of_claim(&claim), ["gold".into(), "silver".into()]);
        let volume = object(r#"{"metadata":{"name":"v"},"spec":{"volumeAttributesClassName":"gold"}}"#);
        assert_eq!(of_volume(&volume), ["gold".into()]);
        assert!(of_claim(&object(r#"{"metadata":{"name":"c"},"spec":{}}"#)).is_empty());
    }
}
