//! ADD, DEL and CHECK of one pod.

use std::fs::File;
use std::os::fd::AsFd;

use serde_json::{Value, json};

use super::alloc::{Lease, Leases};
use super::conf::{Conf, PortMapping, Range};
use super::{Call, Fault, ports, state};
use crate::family::Family;
use crate::netlink::route::{OUR_PROTOCOL, Route, Routing, Veth, hardware_address};
use crate::{netns, sysctl};

/// An address of a pod, with the range it is from.
type Given = (Range, Lease);

/// Gives the pod its link and addresses.
pub(super) fn add(call: &Call, conf: &Conf) -> Result<Value, Fault> {
    let namespace = File::open(&call.netns)
        .map_err(|error| Fault::io(format!("open network namespace {}", call.netns.display()), &error))?;
    let mut routing = Routing::open()?;
    let mappings = &conf.runtime_config.port_mappings;
    let (given, bridge) = {
        let leases = Leases::lock(&conf.folder()).map_err(|error| Fault::io("lock addresses", &error))?;
        let bridge = state::bridge(conf, &mut routing, &leases)?;
        let note = serde_json::to_vec(mappings).unwrap_or_default();
        let give = |range: Range| {
            let lease = leases
                .give(range.net, range.gateway(), &call.container, &call.link, &note)
                .map_err(|error| Fault::io("give out an address", &error))?
                .ok_or_else(|| Fault::new(102, format!("no free address left in {}", range.net)))?;
            Ok::<Given, Fault>((range, lease))
        };
        let given: Result<Vec<Given>, Fault> = conf.ranges().map(give).collect();
        if given.is_err() {
            // One family without the other is no use to anybody.
            for lease in leases.of(&call.container, &call.link).unwrap_or_default() {
                let _best_effort = leases.take_back(&lease);
            }
        }
        (given?, bridge)
    };
    let name = host_link(call);
    let mac = given.first().map(|(_, lease)| hardware_address(lease.address)).unwrap_or_default();
    let mut work = || {
        let veth = Veth {
            name: &name,
            master: bridge.index,
            mtu: bridge.mtu,
            peer: &call.link,
            peer_mac: Some(mac),
            peer_namespace: namespace.as_fd(),
        };
        match routing.add_veth(&veth) {
            // Left over from a call that was killed half-way.
            Err(error) if error.exists() && routing.delete_link(&name)? => routing.add_veth(&veth)?,
            other => other?,
        }
        let ours = routing.link(&name)?.ok_or_else(|| Fault::new(100, format!("link {name} vanished")))?;
        if conf.hairpin {
            routing.set_hairpin(ours.index)?;
        }
        let mut inside = netns::within(namespace.as_fd(), || enter(call, &given))
            .map_err(|error| Fault::io("enter network namespace", &error))??;
        furnish(&mut inside, call, &given)?;
        for (_, lease) in &given {
            open_ports(conf, lease, mappings)?;
        }
        Ok(ours.mac)
    };
    match work() {
        Ok(ours) => {
            Ok(result(call, conf, &given, [(&conf.bridge, bridge.mac), (&name, ours), (&call.link, mac)]))
        }
        Err(fault) => {
            // The runtime may or may not call DEL; leave nothing either way. The first fault is the one to tell.
            let _best_effort = delete(call, conf);
            Err(fault)
        }
    }
}

/// Opens the ports; makes the table anew if somebody flushed it meanwhile.
fn open_ports(conf: &Conf, lease: &Lease, mappings: &[PortMapping]) -> Result<(), Fault> {
    match ports::open(conf, lease.address, mappings) {
        Err(ports::Closed::NoTable) => {
            let leases = Leases::lock(&conf.folder()).map_err(|error| Fault::io("lock addresses", &error))?;
            state::table(conf, &leases)
        }
        Err(ports::Closed::Fault(fault)) => Err(fault),
        Ok(()) => Ok(()),
    }
}

/// Speaks to the kernel inside the pod, where a runtime may have switched IPv6 off.
fn enter(call: &Call, given: &[Given]) -> Result<Routing, Fault> {
    if given.iter().any(|(range, _)| range.family == Family::Six) {
        for link in ["lo", &call.link] {
            let switch = format!("ipv6/conf/{link}/disable_ipv6");
            sysctl::set(&switch, "0").map_err(|error| Fault::io(format!("set net/{switch}"), &error))?;
        }
    }
    Ok(Routing::open()?)
}

/// Inside the pod: loopback up, the addresses, the ways out.
fn furnish(inside: &mut Routing, call: &Call, given: &[Given]) -> Result<(), Fault> {
    let link = inside
        .link(&call.link)?
        .ok_or_else(|| Fault::new(100, format!("link {} is not in the pod", call.link)))?;
    if let Some(lo) = inside.link("lo")?.filter(|lo| !lo.up) {
        inside.set_up(lo.index)?;
    }
    inside.set_up(link.index)?;
    for (range, lease) in given {
        inside.add_address(link.index, range.pod(lease.address))?;
        inside.set_route(&Route {
            to: range.family.everything(),
            gateway: Some(range.gateway()),
            link: link.index,
            protocol: OUR_PROTOCOL,
        })?;
    }
    Ok(())
}

/// Takes link, ports and address back; what is already gone is fine.
pub(super) fn delete(call: &Call, conf: &Conf) -> Result<(), Fault> {
    let folder = conf.folder();
    if !folder.exists() {
        return Ok(());
    }
    let leases = Leases::lock(&folder).map_err(|error| Fault::io("lock addresses", &error))?;
    let given =
        leases.of(&call.container, &call.link).map_err(|error| Fault::io("read addresses", &error))?;
    for lease in &given {
        let mappings: Vec<PortMapping> = serde_json::from_slice(&leases.note(lease)).unwrap_or_default();
        ports::close(conf, lease.address, &mappings)?;
    }
    // An address is only free again when the link is gone; the lock need not be held meanwhile, since the lease
    // file itself keeps others from it.
    drop(leases);
    Routing::open()?.delete_link(&host_link(call))?;
    if given.is_empty() {
        return Ok(());
    }
    let leases = Leases::lock(&folder).map_err(|error| Fault::io("lock addresses", &error))?;
    let taken = given.iter().map(|lease| leases.take_back(lease));
    taken.fold(Ok(()), Result::and).map_err(|error| Fault::io("take an address back", &error))
}

/// Fails if the pod has lost what ADD gave it.
pub(super) fn check(call: &Call, conf: &Conf) -> Result<(), Fault> {
    let leases = Leases::lock(&conf.folder()).map_err(|error| Fault::io("lock addresses", &error))?;
    let given =
        leases.of(&call.container, &call.link).map_err(|error| Fault::io("read addresses", &error))?;
    if given.is_empty() {
        return Err(Fault::new(3, format!("container {} has no address here", call.container)));
    }
    drop(leases);
    let ours = Routing::open()?.link(&host_link(call))?;
    if !ours.is_some_and(|link| link.up) {
        return Err(Fault::new(103, format!("link {} is missing or down", host_link(call))));
    }
    let mut inside = netns::within_path(&call.netns, Routing::open)
        .map_err(|error| Fault::io("enter network namespace", &error))??;
    let link = inside.link(&call.link)?.map_or(0, |link| link.index);
    for range in conf.ranges() {
        for lease in given.iter().filter(|lease| range.family.has(lease.address)) {
            let wanted = range.pod(lease.address);
            let all = inside.addresses(range.family)?;
            if !all.iter().any(|known| known.link == link && known.net == wanted) {
                return Err(Fault::new(103, format!("address {wanted} is missing on {}", call.link)));
            }
        }
    }
    Ok(())
}

/// The runtime's loopback network: containerd asks for a plugin of that name.
pub(super) fn add_loopback(call: &Call, conf: &Conf) -> Result<Value, Fault> {
    let mut inside = netns::within_path(&call.netns, Routing::open)
        .map_err(|error| Fault::io("enter network namespace", &error))??;
    let lo = inside.link("lo")?.ok_or_else(|| Fault::new(100, "the namespace has no loopback link"))?;
    inside.set_up(lo.index)?;
    if let Some(previous) = &conf.prev_result {
        return Ok(previous.clone());
    }
    let mut address = json!({ "address": "127.0.0.1/8", "interface": 0 });
    if conf.cni_version != "1.0.0" {
        address["version"] = json!("4");
    }
    Ok(json!({
        "cniVersion": conf.cni_version,
        "interfaces": [{ "name": call.link, "mac": "00:00:00:00:00:00", "sandbox": call.netns }],
        "ips": [address],
        "dns": {},
    }))
}

fn result(call: &Call, conf: &Conf, given: &[Given], links: [(&String, [u8; 6]); 3]) -> Value {
    let [bridge, ours, inside] = links.map(|(name, mac)| json!({ "name": name, "mac": mac_text(mac) }));
    let mut inside = inside;
    inside["sandbox"] = json!(call.netns);
    let ips = given.iter().map(|(range, lease)| {
        let address = range.pod(lease.address).to_string();
        let mut address = json!({ "address": address, "gateway": range.gateway(), "interface": 2 });
        if conf.cni_version != "1.0.0" {
            address["version"] = json!(if range.family == Family::Four { "4" } else { "6" });
        }
        address
    });
    let routes = given
        .iter()
        .map(|(range, _)| json!({ "dst": range.family.everything().to_string(), "gw": range.gateway() }));
    json!({
        "cniVersion": conf.cni_version,
        "interfaces": [bridge, ours, inside],
        "ips": ips.collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "dns": {},
    })
}

/// The name of our end: the same for the same pod, so that DEL finds it without remembering.
fn host_link(call: &Call) -> String {
    // FNV-1a: must never change between versions of Skiff, unlike the standard library's hasher.
    let hash = call
        .container
        .bytes()
        .chain([0])
        .chain(call.link.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("sk{:012x}", hash >> 16)
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
