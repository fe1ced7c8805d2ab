//! Other people's clients, from their own registries (`cargo xtask clients`), against a real cluster: they notice no
//! difference to upstream.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Cluster, said, sleepers, words};

/// A file of a client that `cargo xtask clients` fetched.
fn fetched(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients").join(path);
    assert!(path.exists(), "{} is missing: cargo xtask clients", path.display());
    path
}

/// A file beside these tests.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A program in the cluster's network namespace, with its kubeconfig and a home of its own.
fn client(cluster: &Cluster, program: &Path) -> Command {
    let mut command = cluster.inside(program.to_str().unwrap());
    command.env("KUBECONFIG", cluster.dir().join("kubeconfig")).env("HOME", cluster.dir());
    command
}

#[test]
fn the_python_client_works_typed_and_dynamic() {
    let cluster = Cluster::up(&[]);
    cluster.import_images();
    let told = said(client(&cluster, &fetched("python/bin/python")).arg(script("typed.py")));
    assert_eq!(told, "typed.py: all is well\n");
}

#[test]
fn a_public_validator_finds_no_fault_with_the_openapi_documents() {
    let cluster = Cluster::up(&[]);
    // A definition's kinds are published as well.
    cluster.kubectl(&["apply", "-f", script("greetings.yaml").to_str().unwrap()]);
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/greetings.example.com", "--timeout=30s"]);
    let told = said(client(&cluster, &fetched("python/bin/python")).arg(script("openapi.py")));
    assert_eq!(told, "openapi.py: all is well\n");
}

#[test]
fn the_javascript_client_follows_what_happens() {
    let cluster = Cluster::up(&[]);
    // Modules are looked for beside the script.
    let place = cluster.dir().join("informer.mjs");
    std::fs::copy(script("informer.mjs"), &place).unwrap();
    std::os::unix::fs::symlink(fetched("node/node_modules"), cluster.dir().join("node_modules")).unwrap();
    assert_eq!(said(client(&cluster, Path::new("node")).arg(place)), "informer.mjs: all is well\n");
}

#[test]
fn a_controller_written_with_kube_rs_defines_and_keeps_its_custom_resources() {
    let cluster = Cluster::up(&[]);
    let program = Path::new(env!("CARGO_BIN_EXE_skiff")).with_file_name("errands");
    assert!(program.exists(), "{} is missing: cargo xtask clients", program.display());
    assert_eq!(said(&mut client(&cluster, &program)), "errands: all is well\n");
}

#[test]
fn an_operator_written_with_kopf_keeps_its_custom_resources() {
    let cluster = Cluster::up(&[]);
    cluster.kubectl(&["apply", "-f", script("greetings.yaml").to_str().unwrap()]);
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/greetings.example.com", "--timeout=30s"]);
    let mut operator = client(&cluster, &fetched("python/bin/kopf"))
        .args(["run", "--all-namespaces", "--quiet"])
        .arg(script("greeter.py"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let greeting = |to: &str| {
        format!("apiVersion: example.com/v1\nkind: Greeting\nmetadata: {{name: first}}\nspec: {{to: {to}}}\n")
    };
    cluster.kubectl_with(&["apply", "-f", "-"], &greeting("world"));
    cluster.kubectl(&["wait", "--for=jsonpath={.status.said}=world", "gr/first", "--timeout=60s"]);
    cluster.kubectl_with(&["apply", "-f", "-"], &greeting("moon"));
    cluster.kubectl(&["wait", "--for=jsonpath={.status.said}=moon", "greetings/first", "--timeout=60s"]);
    let text = cluster.kubectl(&["get", "configmap", "first", "-o", "jsonpath={.data.text}"]);
    assert_eq!(text, "hello moon");
    let row = cluster.kubectl(&["get", "gr", "--no-headers"]);
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["first", "moon", "moon"]);
    // kopf holds the object by a finalizer until its handler has run; the ConfigMap follows its owner.
    cluster.kubectl(&["delete", "greeting", "first", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=delete", "configmap/first", "--timeout=60s"]);
    operator.kill().unwrap();
    operator.wait().unwrap();
}

#[test]
fn somebody_elses_controller_keeps_deployments_when_ours_is_off() {
    let cluster = Cluster::up(&["--controllers=*,-deployment"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], &sleepers("Deployment", "web", "replicas: 1", ""));
    let mut operator = client(&cluster, &fetched("python/bin/kopf"))
        .args(["run", "--all-namespaces", "--quiet"])
        .arg(script("deployer.py"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let made =
        |line: &str| line.split_whitespace().collect::<Vec<_>>()[..4] == ["web-by-kopf", "1", "1", "1"];
    cluster.watch_until(&["replicasets", "--no-headers"], made);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=2"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.readyReplicas}=2", "rs/web-by-kopf", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=60s"]);
    let sets = cluster.kubectl(&["get", "replicasets", "-o", "name"]);
    assert_eq!(sets.trim(), "replicaset.apps/web-by-kopf", "no other controller made any");
    cluster.kubectl(&["delete", "deployment", "web", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=delete", "rs/web-by-kopf", "--timeout=60s"]);
    operator.kill().unwrap();
    operator.wait().unwrap();
}

/// A release's whole life with one Helm.
fn helm(version: &str) {
    let cluster = Cluster::up(&[]);
    cluster.import_images();
    let chart = script("chart");
    let chart = chart.to_str().unwrap();
    let program = fetched(version).join("helm");
    let helm = |args: &[&str]| said(client(&cluster, &program).args(args));
    let get = |path: &str| cluster.kubectl(&["get", "configmap/shop-page", "-o", path]);
    let page = "jsonpath={.data.index\\.html}";

    helm(&["install", "shop", chart, "--wait", "--timeout", "90s"]);
    assert_eq!(get(page), "hello");
    assert_eq!(cluster.kubectl(&["get", "corner", "shop", "-o", "jsonpath={.spec.size}"]), "2");
    helm(&["upgrade", "shop", chart, "--set", "greeting=welcome,replicas=2", "--wait", "--timeout", "90s"]);
    assert_eq!(get(page), "welcome");
    let ready = ["get", "deployment", "shop", "-o", "jsonpath={.status.readyReplicas}"];
    assert_eq!(cluster.kubectl(&ready), "2");
    helm(&["rollback", "shop", "1", "--wait", "--timeout", "90s"]);
    assert_eq!(get(page), "hello");
    let listed = helm(&["list", "--all-namespaces", "--short"]);
    assert_eq!(listed, "shop\n");
    assert!(helm(&["history", "shop"]).contains("Rollback to 1"));
    let bad = client(&cluster, &program).args(["upgrade", "shop", chart, "--set", "replicas=-5"]).output();
    let bad = bad.unwrap();
    assert!(!bad.status.success(), "{}", words(&bad));
    assert!(words(&bad).contains("should be greater than or equal to 1"), "{}", words(&bad));
    helm(&["uninstall", "shop", "--wait", "--timeout", "90s"]);
    let left = cluster.kubectl(&[
        "get",
        "deployments,services,configmaps,corners",
        "-l",
        "release=shop",
        "-o",
        "name",
    ]);
    assert_eq!(left, "");
}

#[test]
fn helm_3_installs_upgrades_rolls_back_and_uninstalls() {
    helm("helm3");
}

#[test]
fn helm_4_installs_upgrades_rolls_back_and_uninstalls() {
    helm("helm");
}

#[test]
fn debians_old_kubectl_still_works() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    let program = fetched("debian/usr/bin/kubectl");
    let kubectl = |args: &[&str]| said(client(&cluster, &program).args(args));
    assert!(kubectl(&["get", "nodes"]).contains("solo"));
    kubectl(&["run", "one", "--image=busybox:1.35", "--image-pull-policy=Never", "--", "sleep", "3600"]);
    kubectl(&["wait", "--for=condition=Ready", "pod/one", "--timeout=60s"]);
    assert_eq!(kubectl(&["exec", "one", "--", "echo", "hello"]), "hello\n");
    assert!(kubectl(&["describe", "pod", "one"]).contains("Successfully assigned"));
    assert!(kubectl(&["explain", "pod.spec.containers"]).contains("RESOURCE: containers"));
    let refused = client(&cluster, &program).args(["create", "-f", "-"]).stdin(Stdio::piped()).output();
    assert!(!refused.unwrap().status.success(), "nothing is no object");
    kubectl(&["create", "deployment", "web", "--image=busybox:1.35"]);
    kubectl(&["scale", "deployment/web", "--replicas=0"]);
    assert!(kubectl(&["get", "deployment/web"]).contains("0/0"));
    kubectl(&["label", "pod", "one", "a=b"]);
    assert_eq!(kubectl(&["get", "pods", "-l", "a=b", "-o", "name"]), "pod/one\n");
    kubectl(&["delete", "pod", "one", "--grace-period=1"]);
}
