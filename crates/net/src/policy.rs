//! Network policies: keeps the node's nftables such that its pods talk to whom they may.
//!
//! [`model`] reads objects, [`plan`] says which elements they mean, [`table`] how the kernel uses them, [`kernel`] writes
//! differences, and this file follows the API. While there is no policy, only policies are followed, and nothing is in
//! the kernel. Pods and namespaces of the whole cluster are followed while there is one: they are peers. On stop the rules
//! stay, since the pods do.
//!
//! A pod is protected from when its address is known; the cluster's DNS, which runs in no pod, counts as one of
//! `kube-system` with the label that DNS has by custom.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use skiff_api::Object;
use skiff_base::Backoff;
use skiff_base::task::{Policy, Tasks};
use skiff_client::{Delta, Feed, Link, Topic};

use crate::Error;
use crate::family::Family;
use crate::follow::decoded;
use crate::model::{Key, Protocol};
use crate::netlink::nft::Tables;
use crate::netlink::watch::Removals;
use crate::policy::kernel::{Kernel, Work};
use crate::policy::plan::{Frame, Known};

mod kernel;
mod model;
mod plan;
mod table;
#[cfg(test)]
mod tests;

/// As what the cluster's DNS counts.
const DNS: &str = "kube-system/kube-dns";

/// What the policies need to know of their node.
#[derive(Clone)]
pub struct PolicyOptions {
    /// The way to the API.
    pub link: Link,
    /// The node's name: which pods are here.
    pub node_name: String,
    /// The families of pods' addresses.
    pub families: Vec<Family>,
    /// The nftables table, one of each family.
    pub table: String,
    /// Where the cluster's DNS answers, if the node has it.
    pub dns_addresses: Vec<IpAddr>,
}

/// Enforces policies; wired but not running.
pub struct Policies {
    options: PolicyOptions,
    policies: Feed,
    peers: Option<Peers>,
    known: Known,
    /// What the kernel's table is made for.
    frame: Frame,
    kernels: Vec<Kernel>,
}

/// Who may be a peer: followed while there is a policy.
struct Peers {
    pods: Feed,
    namespaces: Feed,
    removals: Removals,
    pods_known: bool,
    namespaces_known: bool,
}

/// What has changed and is not written yet.
#[derive(Default)]
struct Changed {
    pods: Vec<Key>,
    /// Everything has to be looked at again.
    all: bool,
}

/// One step of a feed.
enum Step {
    Policies(Delta<Arc<Object>>),
    Pods(Delta<Arc<Object>>),
    Namespaces(Delta<Arc<Object>>),
    Removed,
}

impl Policies {
    /// Wires it; nothing is touched yet.
    pub fn build(options: PolicyOptions) -> Self {
        let policies = options.link.feed(&Topic::of::<NetworkPolicy>());
        let kernels =
            options.families.iter().map(|family| Kernel::new(*family, options.table.clone())).collect();
        let (known, frame) = (Known::default(), Frame::default());
        Self { options, policies, peers: None, known, frame, kernels }
    }

    /// Runs until the group stops.
    pub fn run(self, tasks: &Tasks) {
        let token = tasks.token().clone();
        tasks.spawn("network-policies", Policy::Essential, async move {
            tokio::select! {
                () = token.cancelled() => Ok(()),
                result = self.work() => result,
            }
        });
    }

    async fn work(mut self) -> Result<(), Error> {
        let mut changed = Changed::default();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
        loop {
            let first = self.step().await?;
            self.take(first, &mut changed)?;
            // What has come meanwhile goes into the same transaction.
            while let Some(Some(step)) = self.ready() {
                self.take(step, &mut changed)?;
            }
            let peers = self.peers.as_ref();
            if peers.is_some_and(|peers| !peers.pods_known || !peers.namespaces_known) {
                continue;
            }
            let mut work = self.plan(std::mem::take(&mut changed));
            loop {
                let mut kernels = std::mem::take(&mut self.kernels);
                let (kernels, result) = tokio::task::spawn_blocking(move || {
                    let each = kernels.iter_mut().zip(work).map(|(kernel, work)| kernel.apply(work));
                    // One that fails keeps no other from what it has to do.
                    let result = each.fold(Ok(()), Result::and);
                    (kernels, result)
                })
                .await
                .map_err(|error| Error::system("apply policies")(std::io::Error::other(error)))?;
                self.kernels = kernels;
                let Err(error) = result else { break };
                let delay = backoff.next_delay();
                tracing::error!(%error, ?delay, "policies could not be written, will write all anew");
                tokio::time::sleep(delay).await;
                work = vec![Work::Repair; self.kernels.len()];
            }
            backoff.reset();
        }
    }

    /// Waits for the next thing to happen.
    async fn step(&mut self) -> Result<Step, Error> {
        let ended = |what: &str| Error::system(what)(std::io::Error::other("the feed ended"));
        let Self { policies, peers: Some(peers), options, .. } = self else {
            let delta = self.policies.next().await;
            return delta.map(Step::Policies).ok_or_else(|| ended("follow policies"));
        };
        tokio::select! {
            delta = policies.next() => delta.map(Step::Policies).ok_or_else(|| ended("follow policies")),
            delta = peers.namespaces.next() => {
                delta.map(Step::Namespaces).ok_or_else(|| ended("follow namespaces"))
            }
            delta = peers.pods.next() => delta.map(Step::Pods).ok_or_else(|| ended("follow pods")),
            gone = peers.removals.of(&options.table) => gone.map(|()| Step::Removed).map_err(Error::from),
        }
    }

    /// What has happened already; nothing of a feed that has ended, which [`Self::step`] will find.
    fn ready(&mut self) -> Option<Option<Step>> {
        if let Some(delta) = self.policies.next().now_or_never() {
            return Some(delta.map(Step::Policies));
        }
        let peers = self.peers.as_mut()?;
        if let Some(delta) = peers.namespaces.next().now_or_never() {
            return Some(delta.map(Step::Namespaces));
        }
        peers.pods.next().now_or_never().map(|delta| delta.map(Step::Pods))
    }

    /// Takes in what has happened.
    fn take(&mut self, step: Step, changed: &mut Changed) -> Result<(), Error> {
        match step {
            Step::Removed => {}
            Step::Policies(delta) => {
                changed.all = true;
                self.known.policies(delta);
                if self.known.policies.is_empty() {
                    self.peers = None;
                    self.known = Known::default();
                } else if self.peers.is_none() {
                    self.follow_peers()?;
                }
            }
            Step::Namespaces(delta) => {
                if let Some(peers) = &mut self.peers {
                    peers.namespaces_known = true;
                }
                let touched = self.known.namespaces(delta);
                let inside = self.known.pods.iter().filter(|(_, pod)| touched.contains(&pod.namespace));
                changed.pods.extend(inside.map(|(key, _)| key.clone()));
            }
            Step::Pods(delta) => {
                if let Some(peers) = &mut self.peers {
                    peers.pods_known = true;
                }
                changed.all |= matches!(delta, Delta::Reset(_));
                changed.pods.extend(self.known.pods(delta, &self.options.node_name));
                self.note_dns();
            }
        }
        Ok(())
    }

    fn follow_peers(&mut self) -> Result<(), Error> {
        let link = &self.options.link;
        self.peers = Some(Peers {
            pods: link.feed(&Topic::of::<Pod>()),
            namespaces: link.feed(&Topic::of::<Namespace>()),
            removals: Removals::open()?,
            pods_known: false,
            namespaces_known: false,
        });
        Ok(())
    }

    fn note_dns(&mut self) {
        if self.options.dns_addresses.is_empty() {
            return;
        }
        self.known.pods.entry(DNS.into()).or_insert_with(|| model::Pod {
            namespace: "kube-system".to_owned(),
            labels: [("k8s-app".to_owned(), "kube-dns".to_owned())].into(),
            addresses: self.options.dns_addresses.clone(),
            is_here: false,
            ports: [("dns", Protocol::Udp), ("dns-tcp", Protocol::Tcp)]
                .map(|(name, protocol)| (name.to_owned(), protocol, 53))
                .into(),
        });
    }

    /// What is to be done about it, by each kernel.
    fn plan(&mut self, changed: Changed) -> Vec<Work> {
        let fits = |key: &Key| self.known.pods.get(key).is_none_or(|pod| self.frame.holds(&self.known, pod));
        let each = self.kernels.iter().map(Kernel::family);
        if !changed.all && changed.pods.is_empty() {
            return each.map(|_| Work::Look).collect();
        }
        if !changed.all && changed.pods.iter().all(fits) {
            let elements = |key: &Key, family| {
                let pod = self.known.pods.get(key);
                pod.map(|pod| self.known.elements(&self.frame, pod, family)).unwrap_or_default()
            };
            let of = |family| changed.pods.iter().map(|key| (key.clone(), elements(key, family))).collect();
            return each.map(|family| Work::Pods(of(family))).collect();
        }
        self.frame = self.known.frame();
        if self.frame.groups.is_empty() {
            return self.kernels.iter().map(|_| Work::Nothing).collect();
        }
        let all = |family| {
            let pods = self.known.pods.iter();
            let all = pods.map(|(key, pod)| (key.clone(), self.known.elements(&self.frame, pod, family)));
            all.filter(|(_, elements)| !elements.is_empty()).collect()
        };
        self.kernels.iter().map(|kernel| Work::All(self.frame.clone(), all(kernel.family()))).collect()
    }
}

impl Known {
    fn policies(&mut self, delta: Delta<Arc<Object>>) {
        let read = |object: &Object| {
            let policy = decoded::<NetworkPolicy>(object).and_then(|policy| model::Policy::of(&policy))?;
            Some((object.meta().key(), Arc::new(policy)))
        };
        match delta {
            Delta::Reset(all) => self.policies = all.iter().filter_map(|object| read(object)).collect(),
            Delta::Put(object) => self.policies.extend(read(&object)),
            Delta::Gone(object) => {
                self.policies.remove(&object.meta().key());
            }
        }
    }

    /// The namespaces whose labels are others now.
    fn namespaces(&mut self, delta: Delta<Arc<Object>>) -> Vec<String> {
        let read = |object: &Object| -> (String, model::Labels) {
            let labels = object.meta().labels.iter();
            let labels = labels.map(|(key, value)| (key.to_string(), value.to_string())).collect();
            (object.meta().name.to_string(), labels)
        };
        match delta {
            Delta::Reset(all) => {
                let new = all.iter().map(|object| read(object)).collect();
                let old = std::mem::replace(&mut self.namespaces, new);
                let names = old.keys().chain(self.namespaces.keys());
                names.filter(|name| old.get(*name) != self.namespaces.get(*name)).cloned().collect()
            }
            Delta::Put(object) => {
                let (name, labels) = read(&object);
                let same = self.namespaces.get(&name) == Some(&labels);
                self.namespaces.insert(name.clone(), labels);
                if same { Vec::new() } else { vec![name] }
            }
            Delta::Gone(object) => {
                let name = object.meta().name.to_string();
                self.namespaces.remove(&name);
                vec![name]
            }
        }
    }

    /// The pods that are others now.
    fn pods(&mut self, delta: Delta<Arc<Object>>, node: &str) -> Vec<Key> {
        let read = |object: &Object| decoded::<Pod>(object).and_then(|pod| model::Pod::of(&pod, node));
        match delta {
            Delta::Reset(all) => {
                let mut changed: Vec<Key> = self.pods.keys().cloned().collect();
                self.pods =
                    all.iter().filter_map(|object| Some((object.meta().key(), read(object)?))).collect();
                changed.extend(self.pods.keys().cloned());
                changed
            }
            Delta::Put(object) => {
                let key = object.meta().key();
                let new = read(&object);
                if self.pods.get(&key) == new.as_ref() {
                    return Vec::new();
                }
                match new {
                    Some(pod) => self.pods.insert(key.clone(), pod),
                    None => self.pods.remove(&key),
                };
                vec![key]
            }
            Delta::Gone(object) => {
                let key = object.meta().key();
                self.pods.remove(&key).map(|_| key).into_iter().collect()
            }
        }
    }
}

/// Removes the rules.
///
/// # Errors
/// If the kernel refuses.
pub fn cleanup(table: &str) -> Result<(), Error> {
    Ok(Tables::open()?.remove_all(table)?)
}
