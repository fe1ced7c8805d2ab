//! Network policies, pods and namespaces as far as they matter for who may talk to whom; pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::pod;
use skiff_api::selector::LabelSelector;

use crate::model::Protocol;

/// Labels of a pod or a namespace.
pub(super) type Labels = BTreeMap<String, String>;

/// Which way packets go, as the pod that a policy selects sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Way {
    /// To the pod.
    In,
    /// From the pod.
    Out,
}

impl Way {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::In, Self::Out];

    /// Its name in the kernel.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// A policy.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) namespace: String,
    pods: LabelSelector,
    inward: Option<Vec<Rule>>,
    outward: Option<Vec<Rule>>,
}

/// What one rule allows.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// With whom; nothing means anybody.
    pub(super) peers: Option<Peers>,
    /// On which ports; nothing means any, and protocols without ports too.
    pub(super) ports: Option<Vec<Port>>,
}

/// With whom a rule allows to talk.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    pods: Vec<Chosen>,
    /// Ranges and what is excepted of each.
    pub(super) blocks: Vec<(IpNet, Vec<IpNet>)>,
}

/// Pods by their labels and their namespace's; no selector of namespaces means the policy's own.
#[derive(Clone, Debug)]
struct Chosen {
    namespaces: Option<LabelSelector>,
    pods: LabelSelector,
}

/// A port that a rule allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Every port of a protocol.
    All(Protocol),
    /// From one to another, both included.
    Numbers(Protocol, u16, u16),
    /// The one that has this name in the pod that is talked to.
    Named(Protocol, String),
}

/// A pod that has an address of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) labels: Labels,
    pub(super) addresses: Vec<IpAddr>,
    /// Whether it runs on this node.
    pub(super) is_here: bool,
    pub(super) ports: Vec<(String, Protocol, u16)>,
}

impl Policy {
    /// Reads a policy; nothing of one that asks for something unreadable, which the server would have refused.
    pub(super) fn of(policy: &networking::NetworkPolicy) -> Option<Self> {
        let spec = policy.spec.clone().unwrap_or_default();
        let said = spec.policy_types;
        let ingress = spec.ingress.unwrap_or_default();
        let has = |way: &str, default: bool| {
            said.as_ref()
                .filter(|said| !said.is_empty())
                .map_or(default, |said| said.iter().any(|it| it == way))
        };
        let egress = spec.egress.unwrap_or_default();
        let inward = ingress.iter().map(|rule| Rule::of(rule.from.as_deref(), rule.ports.as_deref()));
        let outward = egress.iter().map(|rule| Rule::of(rule.to.as_deref(), rule.ports.as_deref()));
        Some(Self {
            namespace: policy.metadata.namespace.clone().unwrap_or_default(),
            pods: selector(spec.pod_selector.as_ref())?,
            inward: has("Ingress", true).then(|| inward.collect()),
            outward: has("Egress", !egress.is_empty()).then(|| outward.collect()),
        })
    }

    /// What is allowed of what goes this way; nothing if the policy does not speak of it.
    pub(super) fn rules(&self, way: Way) -> Option<&[Rule]> {
        match way {
            Way::In => self.inward.as_deref(),
            Way::Out => self.outward.as_deref(),
        }
    }

    /// Whether it is about this pod.
    pub(super) fn selects(&self, pod: &Pod) -> bool {
        pod.namespace == self.namespace && self.pods.matches(&pod.labels)
    }
}

fn selector(given: Option<&meta::LabelSelector>) -> Option<LabelSelector> {
    given.map_or_else(|| Some(LabelSelector::everything()), |given| LabelSelector::of(given).ok())
}

impl Rule {
    fn of(
        peers: Option<&[networking::NetworkPolicyPeer]>,
        ports: Option<&[networking::NetworkPolicyPort]>,
    ) -> Self {
        let peers = peers.filter(|peers| !peers.is_empty());
        let ports = ports.filter(|ports| !ports.is_empty());
        Self {
            peers: peers.map(Peers::of),
            ports: ports.map(|ports| ports.iter().filter_map(Port::of).collect()),
        }
    }
}

impl Peers {
    fn of(peers: &[networking::NetworkPolicyPeer]) -> Self {
        let mut all = Self::default();
        for peer in peers {
            if let Some(block) = &peer.ip_block {
                if let Ok(net) = block.cidr.parse::<IpNet>() {
                    let except = block.except.iter().flatten().filter_map(|text| text.parse().ok());
                    all.blocks.push((net.trunc(), except.collect()));
                }
                continue;
            }
            let namespaces = peer.namespace_selector.as_ref().map(LabelSelector::of);
            if let (Some(pods), Ok(namespaces)) =
                (selector(peer.pod_selector.as_ref()), namespaces.transpose())
            {
                all.pods.push(Chosen { namespaces, pods });
            }
        }
        all
    }

    /// Whether any of them is chosen by labels.
    pub(super) fn has_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    /// Whether a pod is one of them, for a policy in the namespace `own`. `labels` are those of the pod's namespace.
    pub(super) fn include(&self, own: &str, pod: &Pod, labels: Option<&Labels>) -> bool {
        self.pods.iter().any(|chosen| {
            let there = match &chosen.namespaces {
                Some(selector) => labels.is_some_and(|labels| selector.matches(labels)),
                None => pod.namespace == own,
            };
            there && chosen.pods.matches(&pod.labels)
        })
    }
}

impl Port {
    fn of(port: &networking::NetworkPolicyPort) -> Option<Self> {
        let protocol = Protocol::of(port.protocol.as_deref());
        Some(match &port.port {
            None => Self::All(protocol),
            Some(IntOrString::String(name)) => Self::Named(protocol, name.clone()),
            Some(IntOrString::Int(first)) => {
                let last = port.end_port.unwrap_or(*first);
                Self::Numbers(protocol, u16::try_from(*first).ok()?, u16::try_from(last).ok()?)
            }
        })
    }
}

impl Pod {
    /// Reads a pod; nothing of one without an address of its own, or that has ended.
    pub(super) fn of(pod: &core::Pod, node: &str) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let addresses: Vec<IpAddr> = pod::addresses(pod).filter_map(|text| text.parse().ok()).collect();
        if spec.host_network == Some(true) || pod::is_finished(pod) || addresses.is_empty() {
            return None;
        }
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let ports = containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
            let number = u16::try_from(port.container_port).ok()?;
            Some((port.name.clone()?, Protocol::of(port.protocol.as_deref()), number))
        });
        Some(Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            addresses,
            is_here: pod::node_name(pod) == Some(node),
            ports: ports.collect(),
        })
    }
}
