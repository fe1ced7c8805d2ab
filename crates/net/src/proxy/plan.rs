//! What one service needs in the kernel's sets; pure.
//!
//! A *face* is an address and port that clients use: a cluster address, an external one, or (the address that means any)
//! a node port on whatever address the node has. Each family of addresses is planned for itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::family::{self, Family, octets};
use crate::ledger::{self, Difference};
use crate::model::{Port, Protocol, Reach, Target};
use crate::proxy::table::{Group, Scope, SetId};

/// Where we are.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The node's name.
    pub(super) node: String,
    /// Service addresses that this node answers itself.
    pub(super) own: Vec<IpAddr>,
}

/// An address and port that clients use.
pub(super) type Face = (IpAddr, u16);

/// An element of a set, with the set.
pub(super) type Entry = ledger::Entry<SetId>;

/// All that a service needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Elements.
    pub(super) elements: Vec<Entry>,
    /// Where UDP faces lead now.
    pub(super) udp: Vec<(Face, Vec<Target>)>,
}

/// Who may come in by a face, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// A cluster address.
    Inside,
    /// An external address or node port, any endpoint.
    Outside,
    /// An external address or node port, for strangers only endpoints of this node.
    OutsideLocal,
}

/// The UDP faces whose endpoints changed or that had none.
pub(super) fn udp_faces(difference: &Difference<SetId>, family: Family) -> BTreeSet<Face> {
    let faces = difference.lost().filter_map(|(set, key)| match set {
        SetId::Slots(_) | SetId::Reject | SetId::Drop => udp_face(key, family),
        _ => None,
    });
    faces.collect()
}

fn udp_face(key: &[u8], family: Family) -> Option<Face> {
    let (address, rest) = key.split_at_checked(usize::from(family.words()) * 4)?;
    let port = u16::from_be_bytes(rest.get(4..6)?.try_into().ok()?);
    (*rest.first()? == Protocol::Udp.number()).then(|| Some((family::address(address)?, port)))?
}

/// The elements that make a service reachable on this node by addresses of a family; none if it has no cluster address of
/// that family.
pub(super) fn plan(reach: &Reach, place: &Place, family: Family) -> Wanted {
    let service = &reach.service;
    let mut wanted = Wanted::default();
    if service.headless || service.external_name.is_some() || service.foreign {
        return wanted;
    }
    let of_family = |address: &&IpAddr| family.has(**address);
    let addresses: Vec<IpAddr> = service.addresses.iter().filter(of_family).copied().collect();
    if addresses.is_empty() || addresses.iter().any(|address| place.own.contains(address)) {
        return wanted;
    }
    let near = Some(place.node.as_str());
    let outside = if service.external_local { Door::OutsideLocal } else { Door::Outside };
    for port in &service.ports {
        let all = reach.targets(port, family, None);
        let here = reach.targets(port, family, near);
        let inside = if service.internal_local { &here } else { &all };
        for address in &addresses {
            wanted.face(reach, port, (*address, port.port), Door::Inside, (inside, &here));
        }
        for address in service.external.iter().filter(of_family) {
            wanted.face(reach, port, (*address, port.port), outside, (&all, &here));
        }
        if let Some(number) = port.node_port {
            wanted.face(reach, port, (family.unspecified(), number), outside, (&all, &here));
        }
    }
    if !wanted.elements.is_empty() {
        for address in reach.local_addresses(&place.node).into_iter().filter(|address| family.has(*address)) {
            wanted.elements.push((SetId::Hairpin, octets(address).repeat(2), Vec::new()));
        }
    }
    wanted
}

impl Wanted {
    fn face(
        &mut self,
        reach: &Reach,
        port: &Port,
        face: Face,
        door: Door,
        targets: (&Vec<Target>, &Vec<Target>),
    ) {
        let (all, here) = targets;
        let key = key(port.protocol.number(), face);
        if port.protocol == crate::model::Protocol::Udp {
            self.udp.push((face, all.clone()));
        }
        let local = door == Door::OutsideLocal;
        match door {
            Door::Inside => self.elements.push((SetId::Cluster, key.clone(), Vec::new())),
            Door::Outside => self.elements.push((SetId::Masquerade, key.clone(), Vec::new())),
            Door::OutsideLocal if all.is_empty() => {}
            Door::OutsideLocal => self.elements.push((SetId::Local, key.clone(), Vec::new())),
        }
        if all.is_empty() {
            // Nobody anywhere: say so. Local policy with nobody *here* is silence instead, as upstream has it, so
            // that a balancer tries another node.
            let somewhere = door == Door::Inside && !reach.targets(port, Family::of(face.0), None).is_empty();
            let set = if somewhere { SetId::Drop } else { SetId::Reject };
            self.elements.push((set, key.clone(), Vec::new()));
        }
        self.slots(reach, face, &key, Scope::All, all);
        if local {
            self.slots(reach, face, &key, Scope::Local, here);
        }
    }

    fn slots(&mut self, reach: &Reach, face: Face, key: &[u8], scope: Scope, targets: &[Target]) {
        let Ok(count) = u32::try_from(targets.len()) else { return };
        let group = Group { node: face.0.is_unspecified(), scope, count, sticky: reach.service.affinity };
        for (slot, target) in (0_u32..).zip(targets) {
            let mut slotted = key.to_vec();
            slotted.extend(slot.to_ne_bytes());
            self.elements.push((SetId::Slots(group), slotted, value(*target)));
            if group.sticky.is_some() {
                let live = [key, &value(*target)].concat();
                self.elements.push((SetId::Live(scope), live, Vec::new()));
            }
        }
    }
}

/// Address, protocol, port as the registers hold them.
pub(super) fn key(protocol: u8, face: Face) -> Vec<u8> {
    let mut key = octets(face.0);
    key.extend([protocol, 0, 0, 0]);
    key.extend(padded(face.1));
    key
}

fn value(target: Target) -> Vec<u8> {
    let mut value = octets(target.0);
    value.extend(padded(target.1));
    value
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}
