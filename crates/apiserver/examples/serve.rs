//! The API server alone, for trying it by hand: own authority, own certificates, a kubeconfig for kubectl.
//!
//! `cargo run -p skiff-apiserver --example serve -- FOLDER [PORT] [--memory]`; Ctrl-C ends it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use skiff_apiserver::{FrontProxy, KubeletAccess, Listener, Options, Server, Storage, Tls};
use skiff_base::pki::{Authority, Request};
use skiff_base::task::Tasks;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    skiff_base::trace::start("info");
    skiff_base::tls::install_provider();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(words.first().ok_or("name a folder")?);
    let port: u16 = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(16443);
    let memory = words.iter().any(|word| word == "--memory");
    std::fs::create_dir_all(&folder)?;

    let authority = Authority::open(&folder, "ca")?;
    let named = |name: &str, groups: &[&str], hosts: &[&str]| Request {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    };
    let serving =
        authority.issue(&named("kube-apiserver", &[], &["127.0.0.1", "localhost", "kubernetes"]))?;
    let admin = authority.issue(&named("admin", &["system:masters"], &[]))?;
    let kubelet_client =
        authority.issue(&named("kube-apiserver-kubelet-client", &["system:masters"], &[]))?;

    let front = Authority::open(&folder, "front-proxy-ca")?;
    let proxy = front.issue(&named("front-proxy-client", &[], &[]))?;
    let front_proxy = FrontProxy {
        identity: proxy,
        ca_pem: front.cert_pem().to_owned(),
        names: vec!["front-proxy-client".to_owned()],
    };

    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ca_pem = authority.cert_pem().to_owned();
    let options = Options {
        storage: if memory { Storage::Memory } else { Storage::Disk(folder.join("store.redb")) },
        tls: Some(Tls { identity: serving, client_ca_pem: ca_pem.clone() }),
        kubelets: Some(KubeletAccess { identity: kubelet_client, ca_pem: ca_pem.clone() }),
        front_proxy: Some(front_proxy),
        advertise: Some(address),
        ..Options::in_memory()
    };
    let kubeconfig = folder.join("kubeconfig");
    let encode = |text: &str| STANDARD.encode(text);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: serve\ncontexts:\n- name: serve\n  context: {{cluster: serve, user: admin}}\nclusters:\n- name: serve\n  cluster:\n    server: https://{address}\n    certificate-authority-data: {}\nusers:\n- name: admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        encode(&ca_pem),
        encode(&admin.cert_pem),
        encode(&admin.key_pem),
    );
    skiff_base::fs::write_atomically(&kubeconfig, text.as_bytes(), 0o600)?;

    let server = Server::build(options)?;
    let listener = Listener::tls(tokio::net::TcpListener::bind(address).await?);
    let tasks = Tasks::new();
    let stop = tasks.clone();
    tasks.spawn_until_stop(async move {
        let _asked = tokio::signal::ctrl_c().await;
        stop.stop();
    });
    tracing::info!(kubeconfig = %kubeconfig.display(), %address, "serving");
    server.run(vec![listener], tasks.clone()).await?;
    tasks.drain(Duration::from_secs(5)).await;
    Ok(())
}
