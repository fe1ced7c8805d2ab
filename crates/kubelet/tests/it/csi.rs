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
use skiff_kubelet::record::NoRecord;
use skiff_kubelet::volume::{NoImages, Objects, Options, Seen, TokenError, Volumes};
use tokio::sync::watch;

use crate::driver::{Driver, NAME};

/// What the API holds in this test.
struct Given {
    claim: watch::Sender<Seen<PersistentVolumeClaim>>,
    volume: watch::Sender<Seen<PersistentVolume>>,
    driver: watch::Sender<Seen<CSIDriver>>,
}

fn object<T: DeserializeOwned>(value: Value) -> Seen<T> {
    Seen::Found(Arc::new(serde_json::from_value(value).unwrap()))
}

fn seen<T: DeserializeOwned>(value: Value) -> watch::Receiver<Seen<T>> {
    watch::channel(object(value)).1
}

impl Given {
    /// A claim and its volume, in this mode.
    fn new(mode: &str) -> Self {
        let given = Self {
            claim: watch::channel(Seen::Unknown).0,
            volume: watch::channel(Seen::Unknown).0,
            driver: watch::channel(Seen::Unknown).0,
        };
        given.claim.send_replace(object(json!({
            "metadata": { "name": "c", "namespace": "default", "uid": "c" },
            "spec": { "volumeName": "pv", "resources": { "requests": { "storage": "2Mi" } } },
            "status": { "phase": "Bound", "capacity": { "storage": "1Mi" } },
        })));
        given.size(mode, "1Mi");
        given.about(json!({}));
        given
    }

    /// The volume, so large.
    fn size(&self, mode: &str, size: &str) {
        let secret = json!({ "namespace": "vault", "name": "s" });
        let source = json!({
            "driver": NAME, "volumeHandle": "h", "volumeAttributes": { "greeting": "from the volume" },
            "nodeStageSecretRef": secret, "nodeExpandSecretRef": secret,
        });
        let claim = json!({ "uid": "c", "name": "c", "namespace": "default" });
        let spec = json!({
            "csi": source, "claimRef": claim, "accessModes": ["ReadWriteMany"], "volumeMode": mode,
            "capacity": { "storage": size },
        });
        self.volume.send_replace(object(json!({ "metadata": { "name": "pv" }, "spec": spec })));
    }

    /// What the driver wants, besides knowing the pod.
    fn about(&self, wants: Value) {
        let mut spec = json!({ "podInfoOnMount": true, "volumeLifecycleModes": ["Persistent", "Ephemeral"] });
        spec.as_object_mut().unwrap().extend(wants.as_object().cloned().unwrap());
        self.driver.send_replace(object(json!({ "spec": spec })));
    }
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
        self.claim.subscribe()
    }

    fn persistent_volume(&self, _: &str) -> watch::Receiver<Seen<PersistentVolume>> {
        self.volume.subscribe()
    }

    fn csi_driver(&self, _: &str) -> watch::Receiver<Seen<CSIDriver>> {
        self.driver.subscribe()
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

    fn write_claim_status<'a>(
        &'a self,
        _: &'a PersistentVolumeClaim,
        new: &'a PersistentVolumeClaim,
    ) -> BoxFuture<'a, Result<PersistentVolumeClaim, String>> {
        self.claim.send_replace(Seen::Found(Arc::new(new.clone())));
        Box::pin(async move { Ok(new.clone()) })
    }

    fn token<'a>(
        &'a self,
        _: &'a str,
        account: &'a str,
        request: TokenRequest,
    ) -> BoxFuture<'a, Result<TokenRequest, TokenError>> {
        assert_eq!(account, "robot");
        let status = json!({ "token": "t", "expirationTimestamp": "2099-01-01T00:00:00Z" });
        let status = Some(serde_json::from_value(status).unwrap());
        Box::pin(async move { Ok(TokenRequest { status, ..request }) })
    }
}

/// A kubelet's part in volumes. Each start is as one of the kubelet: nothing is remembered, everything is found.
struct Kubelet {
    tasks: Tasks,
    drivers: Drivers,
    volumes: Volumes,
}

impl Kubelet {
    fn start(home: &Path, given: &Arc<Given>) -> Self {
        let (tasks, drivers) = (Tasks::new(), Drivers::new(home));
        let handlers: Vec<Arc<dyn Handler>> = vec![Arc::new(drivers.clone())];
        tasks.spawn_until_stop(listen(home.to_owned(), handlers));
        let volumes = Volumes::new(Options {
            data_dir: home.to_owned(),
            objects: given.clone(),
            record: Arc::new(NoRecord),
            images: Arc::new(NoImages),
            clock: Clock::system(),
            allocatable: (0, 0),
            drivers: drivers.clone(),
        });
        Self { tasks, drivers, volumes }
    }

    async fn driver(&self, home: &Path) -> Driver {
        let driver = Driver::start(home, &home.join("plugins_registry"), true, &self.tasks);
        driver.asked.until("registered true", 1).await;
        driver
    }
}

fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("skiff-csi").tempdir().unwrap()
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
        "nodeName": "node", "serviceAccountName": "robot", "volumes": volumes,
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
    let (home, given) = (home(), Arc::new(Given::new("Filesystem")));
    let greeting = |volumes: &Volumes, pod: &Pod, mounts| {
        let container: &Container = &pod.spec.as_ref().unwrap().containers[0];
        let shown = volumes.container_mounts(pod, container, &[], mounts).unwrap();
        let text =
            |mount: &skiff_kubelet::runtime::Mount| std::fs::read_to_string(mount.host_path.join("greeting"));
        shown.iter().map(|mount| text(mount).unwrap()).collect::<Vec<_>>()
    };
    let (one, two) = (pod("one", true), pod("two", false));
    let Kubelet { tasks, drivers, volumes } = Kubelet::start(home.path(), &given);
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

    let Kubelet { tasks, drivers, volumes } = Kubelet::start(home.path(), &given);
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

#[tokio::test]
async fn a_driver_gets_the_tokens_it_asks_for_and_is_asked_again_where_it_wants_that() {
    let (home, given) = (home(), Arc::new(Given::new("Filesystem")));
    let asks = json!([{ "audience": "" }, { "audience": "vault", "expirationSeconds": 600 }]);
    given.about(json!({ "tokenRequests": asks, "requiresRepublish": true }));
    let kubelet = Kubelet::start(home.path(), &given);
    let driver = kubelet.driver(home.path()).await;
    let pod = pod("one", false);
    kubelet.volumes.mount_all(&pod).await.unwrap();
    driver.asked.until("publish h to one with +vault in context", 1).await;

    // Found there after a restart it is asked for at once; where it is not wanted, never.
    let mounts = kubelet.volumes.mount_all(&pod).await.unwrap();
    given.about(
        json!({ "tokenRequests": asks, "requiresRepublish": true, "serviceAccountTokenInSecrets": true }),
    );
    let follow = kubelet.volumes.follow(pod.clone(), &mounts);
    let asked = driver.asked.until("publish h to one with +vault in secrets", 1).await;
    assert_eq!(asked.iter().filter(|line| line.starts_with("stage")).count(), 1, "{asked:#?}");
    assert_eq!(mounts_under(home.path()), 2);
    drop(follow);
    kubelet.volumes.unmount_all("u-one").await.unwrap();
    assert_eq!(mounts_under(home.path()), 0);
    kubelet.tasks.stop();
}

#[tokio::test]
async fn a_volume_that_has_grown_is_made_known_and_its_claim_says_so() {
    let (home, given) = (home(), Arc::new(Given::new("Filesystem")));
    let kubelet = Kubelet::start(home.path(), &given);
    let driver = kubelet.driver(home.path()).await;
    let (one, two) = (pod("one", false), pod("two", false));
    let mounts = kubelet.volumes.mount_all(&one).await.unwrap();
    let _follow = kubelet.volumes.follow(one.clone(), &mounts);
    given.size("Filesystem", "2Mi");
    let claimed = |size: &'static str| {
        let mut claim = given.claim.subscribe();
        async move {
            let has = |seen: &Seen<PersistentVolumeClaim>| {
                let Seen::Found(claim) = seen else { return false };
                claim.status.as_ref().unwrap().capacity.as_ref().unwrap()["storage"].0 == size
            };
            claim.wait_for(has).await.unwrap();
        }
    };
    claimed("2Mi").await;
    driver.asked.until("expand h to 2097152 open", 1).await;
    // A second pod finds it large.
    kubelet.volumes.mount_all(&two).await.unwrap();
    let asked = driver.asked.until("publish h to two", 1).await;
    assert_eq!(asked.iter().filter(|line| line.starts_with("expand")).count(), 1, "{asked:#?}");
    for uid in ["u-one", "u-two"] {
        kubelet.volumes.unmount_all(uid).await.unwrap();
    }
    // One that grew while nobody had it does so before a pod gets it.
    given.size("Filesystem", "3Mi");
    kubelet.volumes.mount_all(&two).await.unwrap();
    driver.asked.until("expand h to 3145728 open", 1).await;
    claimed("3Mi").await;
    kubelet.volumes.unmount_all("u-two").await.unwrap();
    kubelet.tasks.stop();
}

#[tokio::test]
async fn a_volume_that_is_a_device_is_given_as_one_and_leaves_no_trace() {
    let (home, given) = (home(), Arc::new(Given::new("Block")));
    let kubelet = Kubelet::start(home.path(), &given);
    let driver = kubelet.driver(home.path()).await;
    let pod = pod("one", false);
    let mounts = kubelet.volumes.mount_all(&pod).await.unwrap();
    kubelet.volumes.mount_all(&pod).await.unwrap();
    let mounted: &Container = &pod.spec.as_ref().unwrap().containers[0];
    let wrong = kubelet.volumes.container_mounts(&pod, mounted, &[], &mounts).unwrap_err();
    assert!(wrong.to_string().contains("volumeMode Block, but is specified in volumeMounts"), "{wrong}");
    let container: Container = serde_json::from_value(
        json!({ "name": "c", "volumeDevices": [{ "name": "kept", "devicePath": "/dev/disk" }] }),
    )
    .unwrap();
    let devices = kubelet.volumes.container_devices(&container, &mounts).unwrap();
    let place = home.path().join("plugins/kubernetes.io/csi/volumeDevices/publish/pv/u-one");
    assert_eq!((&devices[0].host_path, devices[0].permissions.as_str()), (&place, "mrw"));
    let mut start = [0; 15];
    std::io::Read::read_exact(&mut std::fs::File::open(&place).unwrap(), &mut start).unwrap();
    assert_eq!(&start, b"from the volume");
    kubelet.volumes.unmount_all("u-one").await.unwrap();
    let asked = driver.asked.so_far();
    assert_eq!(
        asked,
        ["registered true", "stage h open /dev/x", "publish h to one", "unpublish h", "unstage h"]
    );
    assert!(!place.parent().unwrap().exists() && !home.path().join("pods/u-one/volumeDevices").exists());
    assert_eq!(mounts_under(home.path()), 0);
    kubelet.tasks.stop();
}
