//! The control plane's parts together, over a real server in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod controllers;
mod coscheduling;
mod devices;
mod extenders;
mod feeds;
mod garbage;
mod hollow;
mod nodes;
mod rights;
mod scheduling;
mod simulation;
mod upkeep;
mod volumes;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use skiff_apiserver::{ComponentRole, RuntimeConfig, User};
use skiff_client::Link;
use skiff_testkit::{Cluster, given};

/// What each controller's row says it may do.
fn roles() -> Vec<ComponentRole> {
    let role = |(name, may): (&str, &[(&str, &str)])| ComponentRole {
        account: name.to_owned(),
        rules: may.iter().map(|(verbs, what)| ((*verbs).to_owned(), (*what).to_owned())).collect(),
    };
    skiff_controllers::names().map(role).collect()
}

/// Kinds that are not served by default have their controllers too.
fn everything() -> RuntimeConfig {
    RuntimeConfig::parse(["api/all=true"]).unwrap()
}

/// A cluster with controllers, scheduler and these nodes; each component has its own identity and no more rights than
/// its row declares.
async fn cluster(nodes: &[&str]) -> Cluster {
    let cluster = Cluster::with(|options| {
        options.roles = roles();
        options.runtime_config = everything();
    })
    .await;
    let linker = cluster.linker();
    schedule(&cluster, linker(User::new("system:kube-scheduler", Vec::<String>::new())));
    let mut options = skiff_controllers::Options::over(cluster.link());
    options.links = Arc::new(move |name| linker(User::service_account("kube-system", name)));
    skiff_controllers::build(options).run(cluster.tasks());
    for name in nodes {
        cluster.create(given::node(name)).await;
    }
    cluster
}

/// Starts controllers and scheduler over this link.
fn control(cluster: &Cluster, link: Link) {
    skiff_controllers::build(skiff_controllers::Options::over(link.clone())).run(cluster.tasks());
    schedule(cluster, link);
}

fn schedule(cluster: &Cluster, link: Link) {
    skiff_scheduler::Scheduler::build(skiff_scheduler::Options::new(link)).run(cluster.tasks());
}

/// Plays the kubelet for one pod: it runs and is ready at an address.
async fn runs(cluster: &Cluster, pod: &Pod, ip: &str) {
    let mut wanted = pod.clone();
    let status = format!(
        "{{phase: Running, podIP: {ip}, podIPs: [{{ip: {ip}}}], conditions: [{{type: Ready, status: 'True',
        lastTransitionTime: '2026-11-22T10:00:00Z'}}]}}"
    );
    wanted.status = Some(given::yaml(&status));
    cluster.report(pod, &wanted).await;
}

/// The active pods of a list.
fn active(pods: &[Arc<Pod>]) -> Vec<&Arc<Pod>> {
    pods.iter().filter(|pod| skiff_api::pod::is_active(pod)).collect()
}

fn is_bound(pod: &Pod) -> bool {
    skiff_api::pod::node_name(pod).is_some()
}
