//! Volumes that are mounts: memory, and parts of volumes. They lie in a folder of the test's and go with its volumes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::json;
use skiff_base::Clock;
use skiff_kubelet::csi::Drivers;
use skiff_kubelet::record::NoRecord;
use skiff_kubelet::volume::{NoImages, NoObjects, Options, Volumes};

fn pod() -> Arc<Pod> {
    let value = json!({
        "metadata": { "name": "p", "namespace": "n", "uid": "u1" },
        "spec": {
            "volumes": [
                { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
                { "name": "disk", "emptyDir": {} },
            ],
            "containers": [{ "name": "c", "image": "i" }],
        },
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn mounts_under(folder: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(folder.to_str().unwrap())).count()
}

#[tokio::test]
async fn memory_is_limited_and_parts_of_volumes_stay_what_they_were() {
    let folder = tempfile::Builder::new().prefix("skiff-volumes").tempdir().unwrap();
    let options = || Options {
        record: Arc::new(NoRecord),
        images: Arc::new(NoImages),
        data_dir: folder.path().to_owned(),
        objects: Arc::new(NoObjects),
        clock: Clock::system(),
        allocatable: (0, 0),
        drivers: Drivers::new(folder.path()),
    };
    let volumes = Volumes::new(options());
    let pod = pod();
    let outcome = async {
        let mounts = volumes.mount_all(&pod).await.unwrap();
        volumes.mount_all(&pod).await.unwrap();
        assert_eq!(mounts_under(folder.path()), 1);
        let memory = folder.path().join("pods/u1/volumes/kubernetes.io~empty-dir/memory");
        let full = fs::write(memory.join("big"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

        let disk = folder.path().join("pods/u1/volumes/kubernetes.io~empty-dir/disk");
        fs::create_dir(disk.join("a")).unwrap();
        fs::write(disk.join("a/file"), "inside").unwrap();
        let container: Container = serde_json::from_value(json!({
            "name": "c", "image": "i", "volumeMounts": [
                { "name": "disk", "mountPath": "/one", "subPath": "a/file" },
                { "name": "disk", "mountPath": "/two", "subPathExpr": "made/$(NAME)" },
            ],
        }))
        .unwrap();
        let env = [("NAME".to_owned(), "here".to_owned())];
        let shown = volumes.container_mounts(&pod, &container, &env, &mounts).unwrap();
        // What a container does to the folder afterwards changes nothing for it.
        fs::remove_dir_all(disk.join("a")).unwrap();
        std::os::unix::fs::symlink("/etc", disk.join("a")).unwrap();
        assert_eq!(fs::read_to_string(&shown[0].host_path).unwrap(), "inside");
        assert!(disk.join("made/here").is_dir());
        fs::write(shown[1].host_path.join("x"), "y").unwrap();
        assert_eq!(fs::read_to_string(disk.join("made/here/x")).unwrap(), "y");
        assert_eq!(mounts_under(folder.path()), 3);
        let again = volumes.container_mounts(&pod, &container, &env, &mounts);
        assert!(again.is_err(), "the part is a link out of the volume now");
    };
    outcome.await;
    // As after a restart: nothing is remembered, everything is found.
    Volumes::new(options()).unmount_all("u1").await.unwrap();
    assert_eq!(mounts_under(folder.path()), 0);
    assert!(!folder.path().join("pods/u1/volumes").exists() && Path::new("/etc/passwd").exists());
}

#[tokio::test]
async fn a_folder_of_another_machine_that_cannot_be_mounted_is_explained_and_leaves_nothing() {
    let folder = tempfile::Builder::new().prefix("skiff-nfs").tempdir().unwrap();
    let volumes = Volumes::new(Options {
        images: Arc::new(NoImages),
        record: Arc::new(NoRecord),
        data_dir: folder.path().to_owned(),
        objects: Arc::new(NoObjects),
        clock: Clock::system(),
        allocatable: (0, 0),
        drivers: Drivers::new(folder.path()),
    });
    // Nowhere is such a server.
    let nfs = json!({ "server": "nobody.invalid", "path": "/srv", "readOnly": true });
    let spec = json!({ "volumes": [{ "name": "away", "nfs": nfs }], "containers": [{ "name": "c" }] });
    let pod = json!({ "metadata": { "name": "p", "namespace": "n", "uid": "u1" }, "spec": spec });
    let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
    let said = volumes.mount_all(&pod).await.map(drop).unwrap_err().to_string();
    let place = folder.path().join("pods/u1/volumes/kubernetes.io~nfs/away");
    let told = format!("Mounting arguments: -t nfs -o ro -- nobody.invalid:/srv {}", place.display());
    assert!(said.contains("mount failed: exit status") && said.contains(&told), "{said}");
    volumes.unmount_all("u1").await.unwrap();
    assert!(!folder.path().join("pods/u1/volumes").exists());
}
