//! The article's commands against the real server over TLS, found through Skiff's context in a kubeconfig.
//!
//! There is no scheduler here and no node: what is shown is what kubecfg and the API of 2014 make of each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use skiff_apiserver::{Listener, Options, Server, Tls};
use skiff_base::Clock;
use skiff_base::pki::{Authority, Request};
use skiff_base::task::{Policy, Tasks};
use skiff_kubecfg::{World, run_in};
use tokio::net::TcpListener;

const MASTER: &str = r#"{"id": "redis-master-pod", "kind": "Pod", "apiVersion": "v1beta1", "labels": {"name": "redis", "role": "master"},
  "desiredState": {"manifest": {"version": "v1beta1", "id": "redis-master-pod", "containers": [{"name": "redis-master",
  "image": "gurpartap/redis", "ports": [{"name": "redis-server", "containerPort": 6379}]}]}}}"#;
const SERVICE: &str = "id: redismaster\nkind: Service\napiVersion: v1beta1\nport: 6379\nselector: {name: redis, role: master}\n";
const SLAVES: &str = r#"{"id": "redisSlaveController", "kind": "ReplicationController", "apiVersion": "v1beta1", "desiredState": {"replicas": 2,
  "replicaSelector": {"name": "redisslave"}, "podTemplate": {"labels": {"name": "redisslave"}, "desiredState": {"manifest": {"version": "v1beta1",
  "id": "redisSlaveController", "containers": [{"name": "slave", "image": "brendanburns/redis-slave", "ports": [{"containerPort": 6379, "hostPort": 6380}]}]}}}}}"#;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A server over TLS, its store in memory, until its tasks stop.
async fn serve(authority: &Authority) -> (String, Tasks) {
    let hosts = vec!["127.0.0.1".to_owned()];
    let request = Request { name: "apiserver".to_owned(), hosts, ..Request::default() };
    let identity = authority.issue(&request).unwrap();
    let tls = Tls { identity, client_ca_pem: authority.cert_pem().to_owned() };
    let server = Server::build(Options { tls: Some(tls), ..Options::in_memory() }).unwrap();
    let (ready, tasks) = (server.ready(), Tasks::new());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tasks.spawn("server", Policy::Essential, server.run(vec![Listener::tls(socket)], tasks.clone()));
    ready.opened().await;
    (format!("https://{address}"), tasks)
}

/// A home with a kubeconfig that has Skiff's context beside the current one.
fn home(authority: &Authority, server: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let groups = vec!["system:masters".to_owned()];
    let admin = authority.issue(&Request { name: "admin".to_owned(), groups, ..Request::default() }).unwrap();
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: other\ncontexts:\n- name: skiff\n  context: {{cluster: skiff, user: skiff}}\n\
         clusters:\n- name: skiff\n  cluster:\n    server: {}\n    certificate-authority-data: {}\n\
         users:\n- name: skiff\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        server,
        encoded(authority.cert_pem()),
        encoded(&admin.cert_pem),
        encoded(&admin.key_pem)
    );
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    std::fs::write(home.path().join(".kube/config"), config).unwrap();
    for (name, text) in [("master.json", MASTER), ("service.yaml", SERVICE), ("slaves.json", SLAVES)] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    home
}

async fn kubecfg(home: &Path, line: &str) -> (i32, String, String) {
    let (out, err) = (Kept::default(), Kept::default());
    let mut world = World {
        vars: BTreeMap::from([("HOME".to_owned(), home.to_str().unwrap().to_owned())]),
        input: Box::new(Cursor::new(Vec::new())),
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        clock: Clock::system(),
        pid: 1,
    };
    let line = line.replace('~', home.to_str().unwrap());
    let code = run_in(line.split(' ').map(str::to_owned).collect(), &mut world).await;
    (code, out.text(), err.text())
}

#[tokio::test]
async fn the_articles_commands_print_what_they_printed() {
    let authority = Authority::create("test").unwrap();
    let (server, tasks) = serve(&authority).await;
    let home = home(&authority, &server);
    for (line, code, part) in [
        (
            "-c ~/master.json create /pods",
            0,
            "redis-master-pod    gurpartap/redis     <unassigned>        name=redis,role=master   Waiting\n\n",
        ),
        (
            "list /pods",
            0,
            "redis-master-pod    gurpartap/redis     <unassigned>        name=redis,role=master   Waiting\n\n",
        ),
        ("-l role=slave list pods", 0, "----------\n\n"),
        (
            "-c ~/service.yaml create /services",
            0,
            "redismaster                             name=redis,role=master   6379\n\n",
        ),
        ("-template {{.containerPort}} get services/redismaster", 0, "6379\n"),
        (
            "-c ~/slaves.json create /replicationControllers",
            0,
            "redisSlaveController   brendanburns/redis-slave   name=redisslave     2\n\n",
        ),
        ("resize redisSlaveController 3", 0, "  replicas: 3\n"),
        (
            "-c ~/slaves.json update replicationControllers/redisSlaveController",
            0,
            "name=redisslave     2\n\n",
        ),
        ("rm redisSlaveController", 255, ""),
        ("stop redisSlaveController", 0, "  replicas: 0\n"),
        ("rm redisSlaveController", 0, ""),
        ("delete /services/redismaster", 0, "Status\n----------\nSuccess\n\n"),
        ("delete /pods/redis-master-pod", 0, "Status\n----------\nSuccess\n\n"),
        ("list minions", 0, "Minion identifier\n----------\n\n"),
        ("-expect_version_match -server_version", 0, "Server: Kubernetes v1."),
        ("-expect_version_match list pods", 0, "----------\n\n"),
    ] {
        let (ended, out, err) = kubecfg(home.path(), line).await;
        assert_eq!(ended, code, "{line}: {out}{err}");
        assert!(out.contains(part), "{line}: {out}");
    }
    let (code, _, err) = kubecfg(home.path(), "get pods/redis-master-pod").await;
    assert_eq!(code, 255);
    assert!(err.ends_with("Got request error: pod \"redis-master-pod\" not found\n"), "{err}");
    tasks.stop();
}
