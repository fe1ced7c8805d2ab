//! The pods' nftables table: host ports, and the way out of the cluster.
//!
//! One map for all host ports; a pod's ports are elements of it. The masks of `127.0.0.1` are lifted on the bridge
//! (`route_localnet`), so that a host port answers there too, as with upstream's portmap.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Fault;
use super::conf::{Conf, PortMapping};
use crate::netlink::expr::{Expr, Reg, Verdict, destination, range, source};
use crate::netlink::nft::{Batch, Element, Field, Hook, Set, Tables};
use crate::netlink::{Error, conntrack};

const PORTS: &str = "hostports";
const HAIRPIN: &str = "hairpin";
const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
const REWRITTEN: [u8; 4] = 0x20_u32.to_ne_bytes();

/// A pod's elements: of the port map, of the hairpin set.
pub(super) fn elements(
    pod: Ipv4Addr,
    mappings: &[PortMapping],
) -> Result<(Vec<Element>, Vec<Element>), Fault> {
    let mut ports = Vec::new();
    for mapping in mappings {
        // Upstream's runtimes send container ports without a host port too, as zero.
        if mapping.host_port == 0 {
            continue;
        }
        let protocol = protocol(&mapping.protocol)?;
        let host = host(&mapping.host_ip)?;
        let mut key = host.octets().to_vec();
        key.extend([protocol, 0, 0, 0]);
        key.extend(port(mapping.host_port));
        let mut value = pod.octets().to_vec();
        value.extend(port(mapping.container_port));
        ports.push((key, value));
    }
    let mut hairpin = Vec::new();
    if !ports.is_empty() {
        hairpin.push(([pod.octets(), pod.octets()].concat(), Vec::new()));
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

fn host(text: &str) -> Result<Ipv4Addr, Fault> {
    if text.is_empty() || text == "::" {
        return Ok(Ipv4Addr::UNSPECIFIED);
    }
    text.parse().map_err(|_| Fault::new(7, format!("hostIP \"{text}\" is not an IPv4 address")))
}

/// Makes the table with what all pods need, replacing one that is there.
pub(super) fn build(batch: &mut Batch<'_>, conf: &Conf) {
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
    let exact = destination(Reg(0));
    let any = Expr::Constant(Reg(0), vec![0; 4]);
    for address in [exact, any] {
        batch.rule(
            "hostports",
            &[
                address,
                Expr::Protocol(Reg(1)),
                Expr::DestinationPort(Reg(2)),
                Expr::Find(PORTS.to_owned(), Reg(0), Reg(4)),
                Expr::Dnat(Reg(4), Reg(5)),
            ],
        );
    }
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.base_chain(name, "nat", hook, -100);
        batch.rule(
            name,
            &[
                Expr::DestinationKind(Reg(0)),
                Expr::Equal(Reg(0), LOCAL.to_vec()),
                Expr::Go(Verdict::Jump("hostports")),
            ],
        );
    }
    batch.base_chain("postrouting", "nat", Hook::Postrouting, 100);
    let rewritten = [
        Expr::FlowStatus(Reg(0)),
        Expr::Bits(Reg(0), REWRITTEN, [0; 4]),
        Expr::Differ(Reg(0), vec![0; 4]),
        source(Reg(0)),
    ];
    let itself = [destination(Reg(1)), Expr::In(HAIRPIN, Reg(0)), Expr::Masquerade];
    batch.rule("postrouting", &[&rewritten[..], &itself].concat());
    let loopback = range(Reg(0), Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8), true);
    batch.rule("postrouting", &[&rewritten[..], &loopback, &[Expr::Masquerade]].concat());
    batch.rule("postrouting", &way_out(conf));
}

/// A pod's traffic to places outside the cluster takes the node's address; to other pods it keeps its own.
fn way_out(conf: &Conf) -> Vec<Expr> {
    let mut bridge = conf.bridge.clone().into_bytes();
    bridge.resize(16, 0);
    let mut steps = vec![source(Reg(0))];
    steps.extend(range(Reg(0), conf.range(), true));
    steps.push(destination(Reg(0)));
    steps.extend(range(Reg(0), conf.cluster_cidr.unwrap_or(conf.range()), false));
    steps.push(destination(Reg(0)));
    steps.extend(range(Reg(0), Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4), false));
    steps.extend([Expr::OutLink(Reg(0)), Expr::Differ(Reg(0), bridge), Expr::Masquerade]);
    steps
}

/// Adds a pod's ports to a transaction; none is fine.
pub(super) fn add(batch: &mut Batch<'_>, pod: Ipv4Addr, mappings: &[PortMapping]) -> Result<(), Fault> {
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
pub(super) fn open(conf: &Conf, pod: Ipv4Addr, mappings: &[PortMapping]) -> Result<(), Closed> {
    let mut batch = Batch::on(&conf.table);
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
        conntrack::flush(|flow| udp.contains(&flow.to.1)).map_err(fault)?;
    }
    Ok(())
}

/// Closes a pod's host ports; those already closed are fine.
pub(super) fn close(conf: &Conf, pod: Ipv4Addr, mappings: &[PortMapping]) -> Result<(), Fault> {
    let (ports, hairpin) = elements(pod, mappings)?;
    if ports.is_empty() {
        return Ok(());
    }
    let mut tables = Tables::open()?;
    for (set, some) in [(PORTS, ports), (HAIRPIN, hairpin)] {
        for one in some {
            let mut batch = Batch::on(&conf.table);
            batch.remove(set, &[one]);
            match tables.commit("close host port", batch) {
                Err(error) if !error.missing() => return Err(error.into()),
                _ => {}
            }
        }
    }
    if mappings.iter().any(|mapping| mapping.protocol.eq_ignore_ascii_case("udp")) {
        conntrack::flush(|flow| flow.from.0 == pod)?;
    }
    Ok(())
}
