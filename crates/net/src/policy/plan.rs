//! What the kernel has to know of policies and pods; pure.
//!
//! Two parts that change at different paces. The *frame*: which policies have pods here, what each of their rules
//! allows, and which sets of policies some pod here is under (a group). It changes with policies, and with the first pod
//! here that is under a new set of them. The *elements*: what one pod adds to the kernel's sets. Any other change of a
//! pod is a difference of its own elements.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::model::{Labels, Pod, Policy, Port, Way};
use super::table::SetId;
use crate::family::{Family, octets};
use crate::ledger;
use crate::model::Key;

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) policies: BTreeMap<Key, Arc<Policy>>,
    pub(super) namespaces: HashMap<String, Labels>,
    pub(super) pods: HashMap<Key, Pod>,
}

/// Policies that are about the same pods, by their places among the frame's policies.
pub(super) type Group = BTreeSet<usize>;

/// Which policies count here, and who is under which.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// The policies with pods here.
    pub(super) policies: Vec<(Key, Arc<Policy>)>,
    /// The groups and their numbers, for each way.
    pub(super) groups: BTreeMap<(Way, Group), u32>,
}

/// An element of a set.
pub(super) type Entry = ledger::Entry<SetId>;

/// One rule of a frame: which policy's, which way, which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RuleId {
    pub(super) policy: usize,
    pub(super) way: Way,
    pub(super) index: usize,
}

impl Known {
    /// The frame for the pods here.
    pub(super) fn frame(&self) -> Frame {
        let here = || self.pods.values().filter(|pod| pod.is_here);
        let counts = |policy: &&Arc<Policy>| here().any(|pod| policy.selects(pod));
        let policies = self.policies.iter().filter(|(_, policy)| counts(policy));
        let policies = policies.map(|(key, policy)| (key.clone(), Arc::clone(policy))).collect();
        let mut frame = Frame { policies, groups: BTreeMap::new() };
        for pod in here() {
            for way in Way::ALL {
                let group = frame.group(pod, way);
                let next = u32::try_from(frame.groups.len() + 1).unwrap_or(u32::MAX);
                if !group.is_empty() {
                    frame.groups.entry((way, group)).or_insert(next);
                }
            }
        }
        frame
    }

    /// What a pod adds to the kernel's sets of a family.
    pub(super) fn elements(&self, frame: &Frame, pod: &Pod, family: Family) -> Vec<Entry> {
        let mut entries = Vec::new();
        let labels = self.namespaces.get(&pod.namespace);
        for address in pod.addresses.iter().filter(|address| family.has(**address)) {
            let bytes = octets(*address);
            if pod.is_here {
                for way in Way::ALL {
                    if let Some(number) = frame.groups.get(&(way, frame.group(pod, way))) {
                        entries.push((SetId::Group(way), bytes.clone(), number.to_ne_bytes().to_vec()));
                        entries.push((SetId::Itself, [bytes.clone(), bytes.clone()].concat(), Vec::new()));
                    }
                }
            }
            for (id, policy, rule) in frame.rules() {
                let peers = rule.peers.as_ref();
                if peers.is_some_and(|peers| peers.include(&policy.namespace, pod, labels)) {
                    entries.push((SetId::Peers(id), bytes.clone(), Vec::new()));
                }
                if pod.is_here || id.way == Way::Out {
                    entries.extend(named(id, rule.ports.as_deref(), pod, *address));
                }
            }
        }
        entries
    }
}

/// The ports that a rule names, in the pod that would be talked to.
fn named(id: RuleId, ports: Option<&[Port]>, pod: &Pod, address: IpAddr) -> Vec<Entry> {
    let asked = ports.unwrap_or_default().iter().filter_map(|port| match port {
        Port::Named(protocol, name) => Some((protocol, name)),
        _ => None,
    });
    let has = asked.flat_map(|(protocol, name)| {
        pod.ports
            .iter()
            .filter(move |(own, of, _)| own == name && of == protocol)
            .map(|(_, of, number)| (*of, *number))
    });
    has.map(|(protocol, number)| {
        let key =
            [&octets(address)[..], &[protocol.number(), 0, 0, 0], &number.to_be_bytes(), &[0, 0]].concat();
        (SetId::Named(id), key, Vec::new())
    })
    .collect()
}

impl Frame {
    /// The policies that a pod is under, this way.
    pub(super) fn group(&self, pod: &Pod, way: Way) -> Group {
        let applies = |(_, (_, policy)): &(usize, &(Key, Arc<Policy>))| {
            policy.rules(way).is_some() && policy.selects(pod)
        };
        self.policies.iter().enumerate().filter(applies).map(|(index, _)| index).collect()
    }

    /// Every rule of every policy.
    pub(super) fn rules(&self) -> impl Iterator<Item = (RuleId, &Policy, &super::model::Rule)> {
        self.policies.iter().enumerate().flat_map(|(policy, (_, held))| {
            Way::ALL.into_iter().flat_map(move |way| {
                let rules = held.rules(way).unwrap_or_default().iter().enumerate();
                rules.map(move |(index, rule)| (RuleId { policy, way, index }, &**held, rule))
            })
        })
    }

    /// True if the frame has a place for a pod: its policies count here already, and so does their group. Another frame
    /// is needed otherwise.
    pub(super) fn holds(&self, known: &Known, pod: &Pod) -> bool {
        if !pod.is_here {
            return true;
        }
        // They are in the order of their keys.
        let counts = |key: &Key| self.policies.binary_search_by(|(own, _)| own.cmp(key)).is_ok();
        known.policies.iter().all(|(key, policy)| !policy.selects(pod) || counts(key))
            && Way::ALL.into_iter().all(|way| {
                let group = self.group(pod, way);
                group.is_empty() || self.groups.contains_key(&(way, group))
            })
    }
}
