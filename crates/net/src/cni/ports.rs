//! The pods' nftables table: host ports, and the way out of the cluster.
//!
//! One map for all host ports; a pod's ports are elements of it. The masks of `127.0.0.1` are lifted on the bridge
//! (`route_localnet`), so that a host port answers there too, as with upstream's portmap; `::1` has no such thing. Each
//! family has a table of its own.

use std::net::IpAddr;

use super::Fault;
use super::conf::{Conf, PortMapping, Range};
use crate::family::{Family, octets};
use crate::netlink::expr::{Expr, Reg, Verdict, range};
use crate::netlink::nft::{Batch, Element, Field, Hook, Set, Tables};
use crate::netlink::{Error, conntrack};

const PORTS: &str = "hostports";
const HAIRPIN: &str = "hairpin";
const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
const REWRITTEN: [u8; 4] = 0x20_u32.to_ne_bytes();

/// A pod's elements: of the port map, of the hairpin set.
pub(super) fn elements(pod: IpAddr, mappings: &[PortMapping]) -> Result<(Vec<Element>, Vec<Element>), Fault> {
    let mut ports = Vec::new();
    for mapping in mappings {
        // Upstream's runtimes send container ports without a host port too, as zero.
        if mapping.host_port == 0 {
            continue;
        }
        let protocol = protocol(&mapping.protocol)?;
        let Some(host) = host(&mapping.host_ip, Family::of(pod))? else { continue };
        let mut key = octets(host);
        key.extend([protocol, 0, 0, 0]);
        key.extend(port(mapping.host_port));
        let mut value = octets(pod);
        value.extend(port(mapping.container_port));
        ports.push((key, value));
    }
    let mut hairpin = Vec::new();
    if !ports.is_empty() {
        hairpin.push((octets(pod).repeat(2), Vec::new()));
    }
    Ok((ports, hairpin))
}

/// A port as a register holds it: two bytes, then nothing.
fn port(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

fn protocol(name: &str) -> Result<u8, Fault> {
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        other => Err(Fault::new(7, format!("unknown protocol \"{other}\" in portMappings"))),
    }
}

/// The address of a family that is asked for; nothing if it is one of the other.
fn host(text: &str, family: Family) -> Result<Option<IpAddr>, Fault> {
    // By custom `::` means every address there is.
    if text.is_empty() || text == "::" {
        return Ok(Some(family.unspecified()));
    }
    let address: Result<IpAddr, _> = text.parse();
    let address = address.map_err(|_| Fault::new(7, format!("hostIP \"{text}\" is not an address")))?;
    Ok(Some(address).filter(|address| family.has(*address)))
}

/// Makes a family's table with what all pods need, replacing one that is there.
pub(super) fn build(batch: &mut Batch<'_>, conf: &Conf, pods: &Range) {
    let family = pods.family;
    let second = Reg(0).after_address(family);
    batch.replace_table();
    let key = &[Field::Address, Field::Protocol, Field::Port];
    let value = &[Field::Address, Field::Port];
    batch.set(&Set { name: PORTS.to_owned(), key, value, timeout: None });
    batch.set(&Set {
        name: HAIRPIN.to_owned(),
        key: &[Field::Address, Field::Address],
        value: &[],
        timeout: None,
    });
    batch.chain("hostports");
    let exact = Expr::Destination(Reg(0));
    let any = Expr::Constant(Reg(0), octets(family.unspecified()));
    let (port, to) = (Reg(second.0 + 1), Reg(second.0 + 2));
    for address in [exact, any] {
        batch.rule(
            "hostports",
            &[
                address,
                Expr::Protocol(second),
                Expr::DestinationPort(port),
                Expr::Find(PORTS.to_owned(), Reg(0), to),
                Expr::Dnat(to, to.after_address(family)),
            ],
        );
    }
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.base_chain(name, "nat", hook, -100);
        let mut steps = vec![Expr::DestinationKind(Reg(0)), Expr::Equal(Reg(0), LOCAL.to_vec())];
        if family == Family::Six {
            steps.push(Expr::Destination(Reg(0)));
            steps.extend(range(Reg(0), family.loopback(), false));
        }
        steps.push(Expr::Go(Verdict::Jump("hostports")));
        batch.rule(name, &steps);
    }
    batch.base_chain("postrouting", "nat", Hook::Postrouting, 100);
    let rewritten = [
        Expr::FlowStatus(Reg(0)),
        Expr::Bits(Reg(0), REWRITTEN, [0; 4]),
        Expr::Differ(Reg(0), vec![0; 4]),
        Expr::Source(Reg(0)),
    ];
    let itself = [Expr::Destination(second), Expr::In(HAIRPIN, Reg(0)), Expr::Masquerade];
    batch.rule("postrouting", &[&rewritten[..], &itself].concat());
    let loopback = range(Reg(0), family.loopback(), true);
    batch.rule("postrouting", &[&rewritten[..], &loopback, &[Expr::Masquerade]].concat());
    batch.rule("postrouting", &way_out(conf, pods));
}

/// A pod's traffic to places outside the cluster takes the node's address; to other pods it keeps its own.
fn way_out(conf: &Conf, pods: &Range) -> Vec<Expr> {
    let mut bridge = conf.bridge.clone().into_bytes();
    bridge.resize(16, 0);
    let mut steps = vec![Expr::Source(Reg(0))];
    steps.extend(range(Reg(0), pods.net, true));
    for elsewhere in [pods.cluster, pods.family.multicast()] {
        steps.push(Expr::Destination(Reg(0)));
        steps.extend(range(Reg(0), elsewhere, false));
    }
    steps.extend([Expr::OutLink(Reg(0)), Expr::Differ(Reg(0), bridge), Expr::Masquerade]);
    steps
}

/// Adds a pod's ports to a transaction; none is fine.
pub(super) fn add(batch: &mut Batch<'_>, pod: IpAddr, mappings: &[PortMapping]) -> Result<(), Fault> {
    let (ports, hairpin) = elements(pod, mappings)?;
    batch.add(PORTS, &ports);
    batch.add(HAIRPIN, &hairpin);
    Ok(())
}

/// Why ports could not be opened.
#[derive(Debug)]
pub(super) enum Closed {
    /// Somebody removed the table.
    NoTable,
    /// Anything else.
    Fault(Fault),
}

/// Opens a pod's host ports.
pub(super) fn open(conf: &Conf, pod: IpAddr, mappings: &[PortMapping]) -> Result<(), Closed> {
    let family = Family::of(pod);
    let mut batch = Batch::on(family, &conf.table);
    add(&mut batch, pod, mappings).map_err(Closed::Fault)?;
    if batch.is_empty() {
        return Ok(());
    }
    let fault = |error: Error| match error {
        error if error.missing() => Closed::NoTable,
        error if error.exists() => {
            Closed::Fault(Fault::new(101, "a host port of this pod is already in use on the node"))
        }
        error => Closed::Fault(error.into()),
    };
    Tables::open().and_then(|mut tables| tables.commit("open host ports", batch)).map_err(fault)?;
    // Clients that kept sending while nobody listened hold flows that lead nowhere.
    let udp: Vec<u16> =
        mappings.iter().filter(|m| m.protocol.eq_ignore_ascii_case("udp")).map(|m| m.host_port).collect();
    if !udp.is_empty() {
        conntrack::flush(family, |flow| udp.contains(&flow.to.1)).map_err(fault)?;
    }
    Ok(())
}

/// Closes a pod's host ports; those already closed are fine.
pub(super) fn close(conf: &Conf, pod: IpAddr, mappings: &[PortMapping]) -> Result<(), Fault> {
    let (ports, hairpin) = elements(pod, mappings)?;
    if ports.is_empty() {
        return Ok(());
    }
    let family = Family::of(pod);
    let mut tables = Tables::open()?;
    for (set, some) in [(PORTS, ports), (HAIRPIN, hairpin)] {
        for one in some {
            let mut batch = Batch::on(family, &conf.table);
            batch.remove(set, &[one]);
            match tables.commit("close host port", batch) {
                Err(error) if !error.missing() => return Err(error.into()),
                _ => {}
            }
        }
    }
    if mappings.iter().any(|mapping| mapping.protocol.eq_ignore_ascii_case("udp")) {
        conntrack::flush(family, |flow| flow.from.0 == pod)?;
    }
    Ok(())
}
