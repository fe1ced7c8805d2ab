//! Each kind of volume in a real folder, with objects that the test changes. Mounts need root and are in `tests/it`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestStatus};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, PersistentVolume, PersistentVolumeClaim, Pod, Secret,
};
use serde_json::{Value, json};
use skiff_base::Clock;
use tokio::sync::watch;

use super::payload::{File, Payload};
use super::{NoObjects, Objects, Options, Seen, TokenError, VolumeError, Volumes, atomic, remove};
use crate::runtime::MountPropagation;
use crate::watch::FolderWatch;

#[derive(Default)]
struct Given {
    maps: Mutex<HashMap<String, watch::Sender<Seen<ConfigMap>>>>,
    secrets: Mutex<HashMap<String, watch::Sender<Seen<Secret>>>>,
    claims: Mutex<HashMap<String, Value>>,
    volumes: Mutex<HashMap<String, Value>>,
    asked: Mutex<Vec<TokenRequest>>,
}

fn seen<T: serde::de::DeserializeOwned>(value: Option<&Value>) -> watch::Receiver<Seen<T>> {
    let object = |value: &Value| Seen::Found(Arc::new(serde_json::from_value(value.clone()).unwrap()));
    watch::channel(value.map_or(Seen::Absent, object)).1
}

impl Given {
    fn map(&self, name: &str, value: Value) {
        let map: ConfigMap = serde_json::from_value(value).unwrap();
        let mut maps = self.maps.lock().unwrap();
        let sender = maps.entry(name.to_owned()).or_insert_with(|| watch::channel(Seen::Absent).0);
        sender.send_replace(Seen::Found(Arc::new(map)));
    }

    fn secret(&self, name: &str, value: Value) {
        let secret: Secret = serde_json::from_value(value).unwrap();
        let sender = watch::channel(Seen::Found(Arc::new(secret))).0;
        self.secrets.lock().unwrap().insert(name.to_owned(), sender);
    }
}

impl Objects for Given {
    fn config_map(&self, _: &str, name: &str) -> watch::Receiver<Seen<ConfigMap>> {
        let mut maps = self.maps.lock().unwrap();
        maps.entry(name.to_owned()).or_insert_with(|| watch::channel(Seen::Absent).0).subscribe()
    }

    fn secret(&self, _: &str, name: &str) -> watch::Receiver<Seen<Secret>> {
        let mut secrets = self.secrets.lock().unwrap();
        secrets.entry(name.to_owned()).or_insert_with(|| watch::channel(Seen::Absent).0).subscribe()
    }

    fn claim(&self, _: &str, name: &str) -> watch::Receiver<Seen<PersistentVolumeClaim>> {
        seen(self.claims.lock().unwrap().get(name))
    }

    fn persistent_volume(&self, name: &str) -> watch::Receiver<Seen<PersistentVolume>> {
        seen(self.volumes.lock().unwrap().get(name))
    }

    fn token<'a>(
        &'a self,
        _: &'a str,
        account: &'a str,
        request: TokenRequest,
    ) -> BoxFuture<'a, Result<TokenRequest, TokenError>> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(request.clone());
        let status = TokenRequestStatus {
            token: Some(format!("token-{account}-{}", asked.len())),
            expiration_timestamp: None,
        };
        Box::pin(async move { Ok(TokenRequest { status: Some(status), ..request }) })
    }
}

struct Place {
    folder: tempfile::TempDir,
    given: Arc<Given>,
    volumes: Volumes,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let given = Arc::new(Given::default());
        let volumes = Volumes::new(Options {
            data_dir: folder.path().to_owned(),
            objects: given.clone(),
            record: Arc::new(crate::record::NoRecord),
            images: Arc::new(super::NoImages),
            clock: Clock::system(),
            allocatable: (4000, 8 << 30),
            drivers: crate::csi::Drivers::new(folder.path()),
        });
        Self { folder, given, volumes }
    }

    fn at(&self, plugin: &str) -> PathBuf {
        self.folder.path().join(format!("pods/u1/volumes/kubernetes.io~{plugin}/v"))
    }

    async fn fails(&self, volume: Value) -> String {
        self.volumes.mount_all(&pod(volume, json!({}))).await.map(drop).unwrap_err().to_string()
    }
}

fn pod(volume: Value, security: Value) -> Arc<Pod> {
    let mut volume = volume;
    volume["name"] = "v".into();
    Arc::new(
        serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "ns", "uid": "u1", "labels": { "app": "a", "b": "c" } },
            "spec": {
                "serviceAccountName": "robot", "securityContext": security, "volumes": [volume],
                "containers": [{ "name": "c", "image": "i", "resources": { "limits": { "cpu": "1500m" } } }],
            },
        }))
        .unwrap(),
    )
}

/// A claim that is bound to a volume made of `source`.
fn bound(place: &Place, source: Value, modes: &str) {
    let claim = json!({ "metadata": { "name": "c", "namespace": "ns", "uid": "cu" },
        "spec": { "volumeName": "pv" }, "status": { "phase": "Bound" } });
    let mut spec = source;
    spec["accessModes"] = json!([modes]);
    spec["claimRef"] = json!({ "namespace": "ns", "name": "c", "uid": "cu" });
    let volume = json!({ "metadata": { "name": "pv" }, "spec": spec });
    place.given.claims.lock().unwrap().insert("c".to_owned(), claim);
    place.given.volumes.lock().unwrap().insert("pv".to_owned(), volume);
}

#[tokio::test]
async fn a_claim_shows_the_volume_it_is_bound_to_and_says_what_it_waits_for() {
    let place = Place::new();
    let claimed = json!({ "persistentVolumeClaim": { "claimName": "c", "readOnly": true } });
    let head = "MountVolume.SetUp failed for volume \"v\" : error processing PVC ns/c: ";
    let missing = place.fails(claimed.clone()).await;
    let expected = "failed to fetch PVC from API server: persistentvolumeclaims \"c\" not found";
    assert_eq!(missing, format!("{head}{expected}"));
    let data = place.folder.path().join("data");
    fs::create_dir(&data).unwrap();
    bound(&place, json!({ "hostPath": { "path": data } }), "ReadWriteOnce");
    let mounts = place.volumes.mount_all(&pod(claimed.clone(), json!({}))).await.unwrap();
    let mount = json!({ "name": "c", "volumeMounts": [{ "name": "v", "mountPath": "/d", "subPath": "" }] });
    let container: Container = serde_json::from_value(mount).unwrap();
    let shown = place.volumes.container_mounts(&pod(json!({}), json!({})), &container, &[], &mounts).unwrap();
    assert_eq!((shown[0].host_path.clone(), shown[0].readonly), (data.clone(), true));
    place.given.claims.lock().unwrap().get_mut("c").unwrap()["status"]["phase"] = json!("Pending");
    assert_eq!(place.fails(claimed.clone()).await, format!("{head}PVC is not bound"));
    // What stands behind a claim outlives the pod.
    place.volumes.unmount_all("u1").await.unwrap();
    assert!(data.is_dir());
}

#[tokio::test]
async fn local_volumes_must_be_there_others_are_refused_clearly() {
    let place = Place::new();
    let claimed = json!({ "persistentVolumeClaim": { "claimName": "c" } });
    for (source, why) in [
        (json!({ "local": { "path": "/no/such" } }), "path \"/no/such\" does not exist"),
        (json!({ "iscsi": { "iqn": "i", "lun": 0, "targetPortal": "p" } }), "no volume plugin matched"),
        (
            json!({ "csi": { "driver": "d", "volumeHandle": "h" } }),
            "not found in the list of registered CSI drivers",
        ),
    ] {
        bound(&place, source, "ReadWriteOnce");
        let said = place.fails(claimed.clone()).await;
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_local_volume_behind_a_link_is_given_to_the_group_and_links_in_it_are_not_followed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let (data, link) = (place.folder.path().join("data"), place.folder.path().join("link"));
    fs::create_dir(&data).unwrap();
    symlink(&data, &link).unwrap();
    symlink("/etc/passwd", data.join("out")).unwrap();
    let before = fs::metadata("/etc/passwd").unwrap().gid();
    bound(&place, json!({ "local": { "path": link } }), "ReadWriteOnce");
    let claimed = json!({ "persistentVolumeClaim": { "claimName": "c" } });
    let mounts = place.volumes.mount_all(&pod(claimed.clone(), json!({ "fsGroup": 4321 }))).await.unwrap();
    assert_eq!(fs::metadata(&data).unwrap().gid(), 4321);
    let used = mounts.usage("v").await.unwrap();
    assert!(used.bytes.unwrap()[1] > 0 && used.abnormal.is_none(), "{used:?}");
    assert_eq!(fs::metadata("/etc/passwd").unwrap().gid(), before);
    // What its root says is believed where the pod says so.
    let late = data.join("late");
    fs::write(&late, "").unwrap();
    std::os::unix::fs::chown(&late, None, Some(0)).unwrap();
    for (policy, group) in [("OnRootMismatch", 0), ("Always", 4321)] {
        let security = json!({ "fsGroup": 4321, "fsGroupChangePolicy": policy });
        place.volumes.mount_all(&pod(claimed.clone(), security)).await.unwrap();
        assert_eq!(fs::metadata(&late).unwrap().gid(), group, "{policy}");
    }
}

#[tokio::test]
async fn a_volume_for_one_pod_waits_until_the_other_is_gone() {
    let place = Place::new();
    let claimed = json!({ "persistentVolumeClaim": { "claimName": "c" } });
    bound(&place, json!({ "hostPath": { "path": place.folder.path() } }), "ReadWriteOncePod");
    let mut other = Pod::clone(&pod(claimed.clone(), json!({})));
    other.metadata.uid = Some("u2".to_owned());
    place.volumes.mount_all(&Arc::new(other)).await.unwrap();
    assert!(place.fails(claimed.clone()).await.ends_with("already in use by another pod"));
    place.volumes.unmount_all("u2").await.unwrap();
    place.volumes.mount_all(&pod(claimed, json!({}))).await.unwrap();
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn config_maps_become_files_and_follow_their_object() {
    let place = Place::new();
    place.given.map("m", json!({ "data": { "a": "1", "b": "2" }, "binaryData": { "raw": "/wA=" } }));
    let pod = pod(json!({ "configMap": { "name": "m", "defaultMode": 0o400 } }), json!({}));
    let mounts = place.volumes.mount_all(&pod).await.unwrap();
    let dir = place.at("configmap");
    assert_eq!((read(dir.join("a")), mode(dir.join("a"))), ("1".to_owned(), 0o400));
    assert_eq!(fs::read(dir.join("raw")).unwrap(), [0xff, 0]);
    assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));

    let mut watch = FolderWatch::new(&dir).unwrap();
    let follow = place.volumes.follow(pod.clone(), &mounts);
    let first = fs::read_link(dir.join("..data")).unwrap();
    place.given.map("m", json!({ "data": { "a": "9", "c": "3" } }));
    while fs::read_link(dir.join("..data")).unwrap() == first || dir.join("b").symlink_metadata().is_ok() {
        watch.changes().await.unwrap();
    }
    assert_eq!((read(dir.join("a")), read(dir.join("c"))), ("9".to_owned(), "3".to_owned()));
    drop(follow);
    place.volumes.unmount_all("u1").await.unwrap();
    assert!(!place.folder.path().join("pods/u1/volumes").exists());
    place.volumes.unmount_all("u1").await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_said_in_upstreams_words() {
    let place = Place::new();
    place.given.map("m", json!({ "data": { "a": "1" } }));
    place.given.secret("s", json!({ "data": { "k": "eA==" } }));
    let prefix = "MountVolume.SetUp failed for volume \"v\" : ";
    let expected = [
        (json!({ "configMap": { "name": "none" } }), "configmap \"none\" not found"),
        (json!({ "secret": { "secretName": "none" } }), "secret \"none\" not found"),
        (
            json!({ "configMap": { "name": "m", "items": [{ "key": "z", "path": "z" }] } }),
            "configmap references non-existent config key: z",
        ),
        (
            json!({ "secret": { "secretName": "s", "items": [{ "key": "z", "path": "z" }] } }),
            "references non-existent secret key: z",
        ),
        (
            json!({ "secret": { "secretName": "s", "items": [{ "key": "k", "path": "../z" }] } }),
            "invalid path: must not contain '..': ../z",
        ),
        (
            json!({ "hostPath": { "path": "/etc/passwd", "type": "Directory" } }),
            "hostPath type check failed: /etc/passwd is not a directory",
        ),
        (
            json!({ "hostPath": { "path": "/etc", "type": "File" } }),
            "hostPath type check failed: /etc is not a file",
        ),
        (
            json!({ "hostPath": { "path": "/etc", "type": "Socket" } }),
            "hostPath type check failed: /etc is not a socket file",
        ),
        (json!({ "emptyDir": { "medium": "Clay" } }), "unknown storage medium \"Clay\""),
        (
            json!({ "persistentVolumeClaim": { "claimName": "data" } }),
            "error processing PVC ns/data: failed to fetch PVC from API server: persistentvolumeclaims \"data\" not found",
        ),
        (
            json!({ "iscsi": { "iqn": "i", "lun": 0, "targetPortal": "p" } }),
            "volumes of type iscsi are not supported by this node",
        ),
    ];
    for (volume, text) in expected {
        assert_eq!(place.fails(volume.clone()).await, format!("{prefix}{text}"), "{volume}");
    }
    for volume in [
        json!({ "configMap": { "name": "none", "optional": true } }),
        json!({ "secret": { "secretName": "s", "optional": true, "items": [{ "key": "z", "path": "z" }] } }),
    ] {
        place.volumes.mount_all(&pod(volume, json!({}))).await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_dir_is_open_to_all_and_given_to_the_group() {
    let place = Place::new();
    place.volumes.mount_all(&pod(json!({ "emptyDir": {} }), json!({}))).await.unwrap();
    let dir = place.at("empty-dir");
    assert_eq!(mode(&dir), 0o777);
    fs::write(dir.join("f"), "x").unwrap();
    symlink("/etc/passwd", dir.join("link")).unwrap();
    let before = fs::metadata("/etc/passwd").unwrap().gid();
    if rustix::process::geteuid().is_root() {
        let pod = pod(json!({ "emptyDir": {} }), json!({ "fsGroup": 4321 }));
        place.volumes.mount_all(&pod).await.unwrap();
        assert_eq!((fs::metadata(&dir).unwrap().gid(), mode(&dir)), (4321, 0o2777));
        assert_eq!((fs::metadata(dir.join("f")).unwrap().gid(), mode(dir.join("f")) & 0o660), (4321, 0o660));
        assert_eq!(fs::metadata("/etc/passwd").unwrap().gid(), before);
        place.volumes.mount_all(&pod).await.unwrap();
        assert_eq!(mode(&dir), 0o2777);
    }
    place.volumes.unmount_all("u1").await.unwrap();
    assert!(Path::new("/etc/passwd").exists() && !dir.exists());
}

#[tokio::test]
async fn host_paths_are_made_where_their_type_asks_for_it() {
    let place = Place::new();
    let host = place.folder.path().join("host");
    for (kind, is_dir) in [("dir", true), ("file", false)] {
        let path = host.join(kind);
        let type_ = if is_dir { "DirectoryOrCreate" } else { "FileOrCreate" };
        let volume = json!({ "hostPath": { "path": path, "type": type_ } });
        let mounts = place.volumes.mount_all(&pod(volume, json!({}))).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().is_dir(), is_dir);
        let container = container(
            json!([{ "name": "v", "mountPath": "x", "readOnly": true, "mountPropagation": "HostToContainer" }]),
        );
        let shown =
            place.volumes.container_mounts(&pod(json!({}), json!({})), &container, &[], &mounts).unwrap();
        assert_eq!((shown[0].host_path.clone(), shown[0].container_path.as_str()), (path, "/x"));
        assert!(shown[0].readonly && shown[0].propagation == MountPropagation::HostToContainer);
    }
    place.volumes.unmount_all("u1").await.unwrap();
    assert!(host.join("dir").exists());
}

fn container(mounts: Value) -> Container {
    serde_json::from_value(json!({ "name": "c", "image": "i", "volumeMounts": mounts })).unwrap()
}

#[tokio::test]
async fn sub_paths_do_not_lead_out_of_their_volume() {
    let place = Place::new();
    let pod = pod(json!({ "emptyDir": {} }), json!({}));
    let mounts = place.volumes.mount_all(&pod).await.unwrap();
    let dir = place.at("empty-dir");
    symlink("/etc", dir.join("out")).unwrap();
    symlink("../../../../..", dir.join("up")).unwrap();
    let fails = |mount: Value| {
        let shown = place.volumes.container_mounts(&pod, &container(json!([mount])), &[], &mounts);
        shown.unwrap_err().to_string()
    };
    for path in ["out/passwd", "up/etc", "../x", "/etc"] {
        let text = fails(json!({ "name": "v", "mountPath": "/x", "subPath": path }));
        assert!(
            text.starts_with("failed to prepare subPath for volumeMount \"v\" of container \"c\": subPath "),
            "{text}"
        );
    }
    let text = fails(json!({ "name": "v", "mountPath": "/x", "subPathExpr": "$(MISSING)" }));
    assert!(text.ends_with("missing value for \"MISSING\""), "{text}");
    let text = fails(json!({ "name": "w", "mountPath": "/x" }));
    assert_eq!(text, "cannot find volume \"w\" to mount into container \"c\"");
}

#[tokio::test]
async fn projections_join_their_sources_and_keep_a_token() {
    let place = Place::new();
    place.given.map("m", json!({ "data": { "ca.crt": "CA" } }));
    place.given.secret("s", json!({ "data": { "k": "eA==" } }));
    let volume = json!({ "projected": { "defaultMode": 0o640, "sources": [
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 3607, "audience": "me" } },
        { "configMap": { "name": "m", "items": [{ "key": "ca.crt", "path": "deep/er/ca.crt" }] } },
        { "secret": { "name": "s" } },
        { "downwardAPI": { "items": [
            { "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } },
            { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" }, "mode": 0o600 },
            { "path": "cpu", "resourceFieldRef": { "containerName": "c", "resource": "limits.cpu" } },
            { "path": "memory", "resourceFieldRef": { "containerName": "c", "resource": "limits.memory", "divisor": "1Gi" } },
        ] } },
    ] } });
    let pod = pod(volume, json!({}));
    place.volumes.mount_all(&pod).await.unwrap();
    let dir = place.at("projected");
    let expected = [
        ("token", "token-robot-1"),
        ("deep/er/ca.crt", "CA"),
        ("k", "x"),
        ("namespace", "ns"),
        ("labels", "app=\"a\"\nb=\"c\""),
        ("cpu", "2"),
        ("memory", "8"),
    ];
    for (path, text) in expected {
        assert_eq!(read(dir.join(path)), text, "{path}");
    }
    assert_eq!((mode(dir.join("k")), mode(dir.join("labels"))), (0o640, 0o600));
    // A second time nothing is asked for and nothing written.
    let data = fs::read_link(dir.join("..data")).unwrap();
    place.volumes.mount_all(&pod).await.unwrap();
    assert_eq!(fs::read_link(dir.join("..data")).unwrap(), data);
    let asked = place.given.asked.lock().unwrap();
    let spec = asked[0].spec.clone().unwrap();
    assert_eq!(
        (asked.len(), spec.audiences.unwrap(), spec.bound_object_ref.unwrap().uid.unwrap()),
        (1, vec!["me".to_owned()], "u1".to_owned())
    );
}

#[tokio::test]
async fn a_server_without_tokens_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(Options {
        data_dir: folder.path().to_owned(),
        objects: Arc::new(NoObjects),
        record: Arc::new(crate::record::NoRecord),
        images: Arc::new(super::NoImages),
        clock: Clock::system(),
        allocatable: (0, 0),
        drivers: crate::csi::Drivers::new(folder.path()),
    });
    let volume = json!({ "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } });
    let failed = volumes.mount_all(&pod(volume, json!({}))).await.map(drop).unwrap_err();
    assert!(matches!(failed, VolumeError::SetUp { .. }));
    assert!(failed.to_string().ends_with("does not offer TokenRequest (serviceaccounts/token)"), "{failed}");
}

fn payload(files: &[(&str, &str)]) -> Payload {
    let mut payload = Payload::default();
    for (path, data) in files {
        payload.add(path, File { data: data.as_bytes().to_vec(), mode: 0o644, owner: None }).unwrap();
    }
    payload
}

#[test]
fn the_writer_replaces_everything_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("v");
    atomic::write(&dir, &payload(&[("a", "1"), ("sub/b", "2"), ("sub/c", "3")]), None).unwrap();
    // What a crash in the middle would leave.
    fs::create_dir(dir.join("..2020_01_01_00_00_00.1")).unwrap();
    symlink("nowhere", dir.join("..data_tmp")).unwrap();
    atomic::write(&dir, &payload(&[("sub/b", "2"), ("d", "4")]), None).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let data = fs::read_link(dir.join("..data")).unwrap().into_os_string().into_string().unwrap();
    assert_eq!(names, [data.as_str(), "..data", "d", "sub"]);
    assert_eq!(
        (read(dir.join("sub/b")), read(dir.join("d")), dir.join("sub/c").exists()),
        ("2".to_owned(), "4".to_owned(), false)
    );
}

#[test]
fn mount_points_with_odd_names_are_read() {
    let table =
        b"36 35 98:0 / /mnt/a\\040b rw shared:1 - ext4 /dev/sda rw\n37 36 0:1 / /x\\134y rw - tmpfs t rw\n";
    let points: Vec<PathBuf> = remove::mount_points(table).collect();
    assert_eq!(points, [Path::new("/mnt/a b"), Path::new("/x\\y")]);
}
