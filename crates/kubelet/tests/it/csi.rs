//! Volumes of a driver, from its registration to the last trace: real calls over its socket, real mounts.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret,
};
use k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use skiff_base::{Clock, Tasks};
use skiff_kubelet::csi::Drivers;
use skiff_kubelet::plugins::{Handler, listen};
use skiff_kubelet::volume::{NoImages, Objects, Options, Seen, TokenError, Volumes};
use tokio::sync::watch;

use crate::driver::{Driver, NAME};

/// What the API holds in this test.
struct Given;

fn seen<T: DeserializeOwned>(value: Value) -> watch::Receiver<Seen<T>> {
    watch::channel(Seen::Found(Arc::new(serde_json::from_value(value).unwrap()))).1
}

impl Objects for Given {
    fn config_map(&self, _: &str, _: &str) -> watch::Receiver<Seen<ConfigMap>> {
        watch::channel(Seen::Absent).1
    }

    fn secret(&self, namespace: &str, name: &str) -> watch::Receiver<Seen<Secret>> {
        assert_eq!((namespace, name), ("vault", "s"));
        seen(json!({ "data": { "key": "b3Blbg==" } }))
    }

    fn claim(&self, _: &str, _: &str) -> watch::Receiver<Seen<PersistentVolumeClaim>> {
        seen(
            json!({ "metadata": { "uid": "c" }, "spec": { "volumeName": "pv" }, "status": { "phase": "Bound" } }),
        )
    }

    fn persistent_volume(&self, _: &str) -> watch::Receiver<Seen<PersistentVolume>> {
        let source = json!({
            "driver": NAME, "volumeHandle": "h", "volumeAttributes": { "greeting": "from the volume" },
            "nodeStageSecretRef": { "namespace": "vault", "name": "s" },
        });
        let claim = json!({ "uid": "c", "name": "c", "namespace": "default" });
        seen(
            json!({ "metadata": { "name": "pv" }, "spec": { "csi": source, "claimRef": claim, "accessModes": ["ReadWriteMany"] } }),
        )
    }

    fn csi_driver(&self, _: &str) -> watch::Receiver<Seen<CSIDriver>> {
        seen(
            json!({ "spec": { "podInfoOnMount": true, "volumeLifecycleModes": ["Persistent", "Ephemeral"] } }),
        )
    }

    fn node(&self, name: &str) -> watch::Receiver<Seen<Node>> {
        assert_eq!(name, "node");
        let attached = json!({ "name": format!("kubernetes.io/csi/{NAME}^h"), "devicePath": "" });
        seen(json!({ "status": { "volumesAttached": [attached] } }))
    }

    fn attachment<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<VolumeAttachment, String>> {
        let digest: String =
            Sha256::digest(format!("h{NAME}node")).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name, format!("csi-{digest}"));
        let spec = json!({ "attacher": NAME, "nodeName": "node", "source": {} });
        let status = json!({ "attached": true, "attachmentMetadata": { "disk": "/dev/x" } });
        let found =
            serde_json::from_value(json!({ "metadata": {}, "spec": spec, "status": status })).unwrap();
        Box::pin(async move { Ok(found) })
    }

    fn token<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: TokenRequest,
    ) -> BoxFuture<'a, Result<TokenRequest, TokenError>> {
        Box::pin(async { Err(TokenError::Unsupported) })
    }
}

/// A pod with the claim's volume and, if so, one of its own.
fn pod(name: &str, inline: bool) -> Arc<Pod> {
    let mut volumes = vec![json!({ "name": "kept", "persistentVolumeClaim": { "claimName": "c" } })];
    if inline {
        let own = json!({ "driver": NAME, "volumeAttributes": { "greeting": "for this pod" } });
        volumes.push(json!({ "name": "own", "csi": own }));
    }
    let mounts: Vec<Value> =
        volumes.iter().map(|volume| json!({ "name": volume["name"], "mountPath": "/x" })).collect();
    let spec = json!({
        "nodeName": "node", "volumes": volumes,
        "containers": [{ "name": "c", "image": "i", "volumeMounts": mounts }],
    });
    let meta = json!({ "name": name, "namespace": "default", "uid": format!("u-{name}") });
    Arc::new(serde_json::from_value(json!({ "metadata": meta, "spec": spec })).unwrap())
}

fn mounts_under(folder: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(folder.to_str().unwrap())).count()
}

#[tokio::test]
async fn volumes_of_a_driver_are_brought_to_pods_and_taken_back_even_after_a_restart() {
    let home = tempfile::Builder::new().prefix("skiff-csi").tempdir().unwrap();
    // As a start of the kubelet: nothing is remembered, everything is found.
    let start = || {
        let (tasks, drivers) = (Tasks::new(), Drivers::new(home.path()));
        let handlers: Vec<Arc<dyn Handler>> = vec![Arc::new(drivers.clone())];
        tasks.spawn_until_stop(listen(home.path().to_owned(), handlers));
        let volumes = Volumes::new(Options {
            data_dir: home.path().to_owned(),
            objects: Arc::new(Given),
            images: Arc::new(NoImages),
            clock: Clock::system(),
            allocatable: (0, 0),
            drivers: drivers.clone(),
        });
        (tasks, drivers, volumes)
    };
    let greeting = |volumes: &Volumes, pod: &Pod, mounts| {
        let container: &Container = &pod.spec.as_ref().unwrap().containers[0];
        let shown = volumes.container_mounts(pod, container, &[], mounts).unwrap();
        let text =
            |mount: &skiff_kubelet::runtime::Mount| std::fs::read_to_string(mount.host_path.join("greeting"));
        shown.iter().map(|mount| text(mount).unwrap()).collect::<Vec<_>>()
    };
    let (one, two) = (pod("one", true), pod("two", false));
    let (tasks, drivers, volumes) = start();
    let unknown = volumes.mount_all(&one).await.err().unwrap().to_string();
    assert!(
        unknown.contains("driver name small.test not found in the list of registered CSI drivers"),
        "{unknown}"
    );

    let driver = Driver::start(home.path(), &home.path().join("plugins_registry"), true, &tasks);
    driver.asked.until("registered true", 1).await;
    let mounts = volumes.mount_all(&one).await.unwrap();
    assert_eq!(greeting(&volumes, &one, &mounts), ["from the volume", "for this pod"]);
    assert_eq!(mounts_under(home.path()), 3);
    assert_eq!(*drivers.in_use().borrow(), [format!("kubernetes.io/csi/{NAME}^h")]);
    // Brought once, whatever is asked for again.
    volumes.mount_all(&one).await.unwrap();
    let mounts = volumes.mount_all(&two).await.unwrap();
    assert_eq!(greeting(&volumes, &two, &mounts), ["from the volume"]);
    volumes.unmount_all("u-one").await.unwrap();
    let asked = driver.asked.until("unpublish h", 1).await;
    let own = asked[3].split(' ').nth(1).unwrap().to_owned();
    assert!(own.starts_with("csi-") && own.len() == 68, "{own}");
    let (mut first, mut last) = (asked[..6].to_vec(), asked[6..].to_vec());
    first[3] = first[3].replace(&own, "OWN");
    last.sort();
    assert_eq!(
        first,
        [
            "registered true",
            "stage h open /dev/x",
            "publish h to one",
            "publish OWN to one",
            "stage h open /dev/x",
            "publish h to two"
        ]
    );
    assert_eq!(last, [format!("unpublish {own}"), "unpublish h".to_owned()]);
    assert_eq!(mounts_under(home.path()), 2);
    assert!(tasks.drain(std::time::Duration::from_secs(30)).await);

    let (tasks, drivers, volumes) = start();
    assert_eq!(drivers.in_use().borrow().len(), 1);
    let early = volumes.unmount_all("u-two").await.unwrap_err();
    assert!(
        std::error::Error::source(&early).unwrap().to_string().contains("small.test not found"),
        "{early}"
    );
    let driver = Driver::start(home.path(), &home.path().join("plugins_registry"), true, &tasks);
    driver.asked.until("registered true", 1).await;
    volumes.unmount_all("u-two").await.unwrap();
    assert_eq!(driver.asked.until("unstage h", 1).await[1..], ["unpublish h", "unstage h"]);
    assert_eq!(mounts_under(home.path()), 0);
    assert!(drivers.in_use().borrow().is_empty());
    assert!(!home.path().join("pods/u-two/volumes").exists());
    tasks.stop();
}
