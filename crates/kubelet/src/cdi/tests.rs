//! Specifications in files and what containers get of them.

use super::*;
use crate::runtime::MountPropagation;

/// Writes files into two folders, the second of which says the last word.
fn folders(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let home = tempfile::tempdir().unwrap();
    let folders = ["etc", "run"].map(|name| home.path().join(name));
    for folder in &folders {
        std::fs::create_dir(folder).unwrap();
    }
    for (name, text) in files {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    (home, folders.to_vec())
}

fn given(folders: &[PathBuf], names: &[&str]) -> Result<ContainerConfig, String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut config =
        ContainerConfig { env: vec![("A".to_owned(), "old".to_owned())], ..ContainerConfig::default() };
    resolve(folders, &names, &mut config).map(|()| config)
}

#[test]
fn a_container_gets_what_the_file_says_for_all_and_for_its_device() {
    let spec = r#"{"cdiVersion": "0.5.0", "kind": "x.test/card", "containerEdits": {"env": ["A=new", "ALL=1"]},
        "devices": [{"name": "0", "containerEdits": {"env": ["CARD=0"], "additionalGids": [0, 7],
            "deviceNodes": [{"path": "/dev/card0", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3, "permissions": "rw"}],
            "mounts": [{"hostPath": "/lib", "containerPath": "/card", "options": ["ro", "nosuid", "nodev", "rbind", "rslave"]}]}},
            {"name": "1", "containerEdits": {"env": ["CARD=1"]}}]}"#;
    let (_home, folders) = folders(&[("etc/x.json", spec)]);
    let config = given(&folders, &["x.test/card=0"]).unwrap();
    let env: Vec<String> = config.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=new", "ALL=1", "CARD=0"]);
    let (device, mount) = (&config.devices[0], &config.mounts[0]);
    assert_eq!((device.container_path.as_str(), device.permissions.as_str()), ("/dev/card0", "rw"));
    assert_eq!(device.host_path, Path::new("/dev/null"));
    assert!(mount.readonly && mount.propagation == MountPropagation::HostToContainer);
    assert_eq!(config.security.supplemental_groups, [7]);
    let both = given(&folders, &["x.test/card=0", "x.test/card=1"]).unwrap();
    assert_eq!(both.env.iter().filter(|(name, _)| name == "ALL" || name == "CARD").count(), 2);
}

#[test]
fn the_later_folder_says_the_last_word_and_two_of_one_folder_none() {
    let spec = |value: &str| {
        format!(
            "cdiVersion: 1.0.0\nkind: x.test/card\ndevices: [{{name: '0', containerEdits: {{env: [CARD={value}]}}}}]\n"
        )
    };
    let (_home, one) = folders(&[("etc/x.yaml", &spec("etc")), ("run/y.yaml", &spec("run"))]);
    assert_eq!(given(&one, &["x.test/card=0"]).unwrap().env.last().unwrap().1, "run");
    let (_home, two) = folders(&[("run/x.yaml", &spec("x")), ("run/y.yaml", &spec("y")), ("run/z.txt", "{")]);
    let error = given(&two, &["x.test/card=0"]).unwrap_err();
    assert!(
        error.starts_with(
            "CDI device injection failed: unresolvable CDI devices x.test/card=0; conflicting device"
        ),
        "{error}"
    );
}

#[test]
fn what_the_runtime_cannot_be_told_is_an_error() {
    for (edits, why) in [
        (
            "hooks: [{hookName: createContainer, path: /hook}]",
            "cannot be told of hooks (createContainer /hook)",
        ),
        ("intelRdt: {closID: x}", "cannot be told of intelRdt"),
        ("netDevices: [{hostInterfaceName: a, name: b}]", "cannot be told of intelRdt and netDevices"),
        ("mounts: [{hostPath: none, containerPath: /t, type: tmpfs}]", "a tmpfs mounted on /t"),
        ("mounts: [{hostPath: /x, containerPath: /t, options: [size=1]}]", "option size=1"),
        ("deviceNodes: [{path: /dev/no-such-device}]", "No such file"),
        ("deviceNodes: [{path: /etc/passwd}]", "is not a device"),
        ("deviceNodes: [{path: /dev/null, type: b}]", "another type"),
        ("deviceNodes: [{path: /dev/null, major: 9, minor: 9}]", "another number"),
        ("deviceNodes: [{path: /dev/null, fileMode: 256}]", "another mode"),
        ("deviceNodes: [{path: /dev/null, uid: 77}]", "another owner"),
        ("env: [NOTHING]", "invalid environment variable"),
    ] {
        let spec = format!(
            "{{cdiVersion: 0.8.0, kind: x.test/card, devices: [{{name: a, containerEdits: {{{edits}}}}}]}}"
        );
        let (_home, folders) = folders(&[("etc/x.yaml", &spec)]);
        let error = given(&folders, &["x.test/card=a"]).unwrap_err();
        assert!(error.contains(why), "{edits}: {error}");
    }
}

#[test]
fn files_that_cannot_be_read_are_told_where_a_device_is_missing() {
    for (spec, why) in [
        ("{cdiVersion: 0.2.0, kind: x.test/card, devices: []}", "unknown CDI version \"0.2.0\""),
        ("{cdiVersion: 2.0.0, kind: x.test/card, devices: []}", "unknown CDI version"),
        ("{cdiVersion: 0.5.0, kind: card, devices: []}", "invalid CDI kind \"card\""),
        ("{", "x.yaml: "),
    ] {
        let (_home, folders) = folders(&[("etc/x.yaml", spec)]);
        let error = given(&folders, &["x.test/card=a"]).unwrap_err();
        assert!(error.contains(why), "{spec}: {error}");
    }
}

#[test]
fn only_runtimes_that_always_read_the_files_are_left_to_do_it() {
    for (name, version, expected) in [
        ("containerd", "1.6.20~ds1", false),
        ("containerd", "v1.7.27", false),
        ("containerd", "v2.1.0", true),
        ("cri-o", "1.33.0", true),
        ("other", "9", false),
    ] {
        let runtime = Version { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(is_spoken_by(&runtime), expected, "{name} {version}");
    }
}
