//! Links, addresses and routes.
//!
//! A veth pair is born complete in one message (master, peer's namespace, names, hardware addresses, both ends up),
//! because each message that touches a link costs a round through the kernel's one big lock.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;

use super::{CREATE, DUMP, EXCLUSIVE, Error, Frames, REPLACE, Socket, Subsystem, attribute, attributes};
use crate::family::{self, Family, octets};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const UP: u32 = 1;
const BRIDGE: u8 = 7;
/// No other machine has the address, so there is no need to ask around before it is used.
const NO_DETECTION: u8 = 2;
const ETHERNET: u32 = 1500;
const MAIN_TABLE: u8 = 254;
/// Routes we made say so; no other program's are touched.
pub const OUR_PROTOCOL: u8 = 83;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// Number of the bridge it is a port of; 0 if none.
    pub master: u32,
    /// Largest packet.
    pub mtu: u32,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// Address and prefix length.
    pub net: IpNet,
}

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// By way of.
    pub gateway: Option<IpAddr>,
    /// Through this link; 0 lets the kernel choose from the gateway.
    pub link: u32,
    /// Who made it.
    pub protocol: u8,
}

/// A veth pair to be made.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    /// Our end.
    pub name: &'a str,
    /// The bridge our end becomes a port of.
    pub master: u32,
    /// Largest packet, both ends.
    pub mtu: u32,
    /// The other end's name.
    pub peer: &'a str,
    /// The other end's hardware address; the kernel invents one if absent.
    pub peer_mac: Option<[u8; 6]>,
    /// The namespace the other end is born in.
    pub peer_namespace: BorrowedFd<'a>,
}

/// Configures links, addresses and routes of one namespace.
#[derive(Debug)]
pub struct Routing(Socket);

impl Routing {
    /// For the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Socket::open(Subsystem::Route)?))
    }

    /// The link of that name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut frames = Frames::default();
        frames.message(GET_LINK, 0, &link_head(0, 0, 0, 0), |a| a.text(3, name));
        let mut found = None;
        match self.0.ask("look up link", &frames, |kind, body| {
            if kind == NEW_LINK {
                found = parse_link(body);
            }
        }) {
            Ok(()) => Ok(found),
            Err(error) if error.missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut frames = Frames::default();
        frames.message(GET_LINK, DUMP, &link_head(0, 0, 0, 0), |_| {});
        let mut all = Vec::new();
        self.0.ask("list links", &frames, |_, body| all.extend(parse_link(body)))?;
        Ok(all)
    }

    /// Makes a bridge, up; it is an error if it exists. Its hardware address is ours to say: the kernel would change it
    /// with every port that comes or goes, and neighbours would talk to nobody until they notice.
    pub fn add_bridge(&mut self, name: &str, mtu: u32, mac: [u8; 6]) -> Result<(), Error> {
        let mut frames = Frames::default();
        frames.message(NEW_LINK, CREATE | EXCLUSIVE, &link_head(0, 0, UP, UP), |a| {
            a.text(3, name);
            a.bytes(1, &mac);
            a.native(4, mtu);
            a.nest(18, |a| a.text(1, "bridge"));
        });
        self.0.request("make bridge", frames)
    }

    /// Makes a veth pair; our end is up, the other is for whoever enters its namespace.
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<(), Error> {
        let mut frames = Frames::default();
        frames.message(NEW_LINK, CREATE | EXCLUSIVE, &link_head(0, 0, UP, UP), |a| {
            a.text(3, veth.name);
            a.native(4, veth.mtu);
            if veth.master != 0 {
                a.native(10, veth.master);
            }
            a.nest(18, |a| {
                a.text(1, "veth");
                a.nest(2, |a| {
                    a.nest(1, |a| {
                        // The kernel refuses to bring an end up before the pair is tied.
                        a.raw(&link_head(0, 0, 0, 0));
                        a.text(3, veth.peer);
                        a.native(4, veth.mtu);
                        if let Some(mac) = veth.peer_mac {
                            a.bytes(1, &mac);
                        }
                        a.bytes(28, &veth.peer_namespace.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        });
        self.0.request("make veth pair", frames)
    }

    /// Lets a bridge send a frame back through the port it came from: a pod that reaches itself by its service.
    pub fn set_hairpin(&mut self, link: u32) -> Result<(), Error> {
        let mut frames = Frames::default();
        frames.message(SET_LINK, 0, &link_head(BRIDGE, link, 0, 0), |a| a.nest(12, |a| a.bytes(4, &[1])));
        self.0.request("set hairpin", frames)
    }

    /// Brings a link up.
    pub fn set_up(&mut self, link: u32) -> Result<(), Error> {
        let mut frames = Frames::default();
        frames.message(NEW_LINK, 0, &link_head(0, link, UP, UP), |_| {});
        self.0.request("bring link up", frames)
    }

    /// Makes a link the port of a bridge.
    pub fn set_master(&mut self, link: u32, master: u32) -> Result<(), Error> {
        let mut frames = Frames::default();
        frames.message(NEW_LINK, 0, &link_head(0, link, 0, 0), |a| a.native(10, master));
        self.0.request("attach link to bridge", frames)
    }

    /// Removes a link; absent is fine. True if it was there.
    pub fn delete_link(&mut self, name: &str) -> Result<bool, Error> {
        let mut frames = Frames::default();
        frames.message(DELETE_LINK, 0, &link_head(0, 0, 0, 0), |a| a.text(3, name));
        gone(self.0.request("remove link", frames))
    }

    /// Gives a link an address; already there is fine. True if it is new.
    pub fn add_address(&mut self, link: u32, net: IpNet) -> Result<bool, Error> {
        let mut frames = Frames::default();
        frames.message(NEW_ADDRESS, CREATE | EXCLUSIVE, &address_head(link, net), |a| {
            a.bytes(2, &octets(net.addr()));
            a.bytes(1, &octets(net.addr()));
            if let IpNet::V4(net) = net
                && net.prefix_len() < 31
            {
                a.bytes(4, &net.broadcast().octets());
            }
        });
        match self.0.request("add address", frames) {
            Ok(()) => Ok(true),
            Err(error) if error.exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an address from a link; absent is fine.
    pub fn delete_address(&mut self, link: u32, net: IpNet) -> Result<bool, Error> {
        let mut frames = Frames::default();
        frames.message(DELETE_ADDRESS, 0, &address_head(link, net), |a| a.bytes(2, &octets(net.addr())));
        gone(self.0.request("remove address", frames))
    }

    /// All addresses of a family.
    pub fn addresses(&mut self, family: Family) -> Result<Vec<Address>, Error> {
        let mut frames = Frames::default();
        frames.message(GET_ADDRESS, DUMP, &[family.number(), 0, 0, 0, 0, 0, 0, 0], |_| {});
        let mut all = Vec::new();
        self.0.ask("list addresses", &frames, |_, body| {
            let parsed = (|| {
                let (head, rest) = body.split_at_checked(8)?;
                let address = attribute(rest, 2).or_else(|| attribute(rest, 1))?;
                let net = IpNet::new(family::address(address)?, head[1]).ok()?;
                family.holds(&net).then(|| Some(Address { link: number(&head[4..8])?, net }))?
            })();
            all.extend(parsed);
        })?;
        Ok(all)
    }

    /// Sets a route, replacing one to the same destination.
    pub fn set_route(&mut self, route: &Route) -> Result<(), Error> {
        let mut frames = Frames::default();
        let scope = if route.gateway.is_some() { 0 } else { 253 };
        frames.message(NEW_ROUTE, CREATE | REPLACE, &route_head(route, scope), |a| fill_route(a, route));
        self.0.request("set route", frames)
    }

    /// Removes a route; absent is fine.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool, Error> {
        let mut frames = Frames::default();
        // Scope "nowhere" matches a route of any scope.
        frames.message(DELETE_ROUTE, 0, &route_head(route, 255), |a| fill_route(a, route));
        gone(self.0.request("remove route", frames))
    }

    /// All routes of a family in the main table that have one hop.
    pub fn routes(&mut self, family: Family) -> Result<Vec<Route>, Error> {
        let mut frames = Frames::default();
        let mut head = [0; 12];
        head[0] = family.number();
        frames.message(GET_ROUTE, DUMP, &head, |_| {});
        let mut all = Vec::new();
        self.0.ask("list routes", &frames, |_, body| all.extend(parse_route(body, family)))?;
        Ok(all)
    }

    /// The largest packet that gets out: that of the default route's link, or Ethernet's.
    pub fn mtu_outside(&mut self) -> Result<u32, Error> {
        let mut route = None;
        for family in Family::ALL {
            route = route.or(self.default_route(family)?);
        }
        let Some(route) = route else { return Ok(ETHERNET) };
        let out = self.links()?.into_iter().find(|link| link.index == route.link);
        Ok(out.map_or(ETHERNET, |link| link.mtu).min(ETHERNET))
    }

    /// The default route of a family, if there is one.
    pub fn default_route(&mut self, family: Family) -> Result<Option<Route>, Error> {
        Ok(self.routes(family)?.into_iter().find(|route| route.to.prefix_len() == 0))
    }
}

/// A hardware address made from an address: whoever takes the address over is found at once by neighbours that
/// remember it. The last four bytes: what differs between pods of a node.
pub fn hardware_address(address: IpAddr) -> [u8; 6] {
    let mut made = [0x0a, 0x58, 0, 0, 0, 0];
    let all = octets(address);
    made[2..].copy_from_slice(&all[all.len() - 4..]);
    made
}

fn gone(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.missing() => Ok(false),
        Err(error) => Err(error),
    }
}

fn link_head(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut head = [0; 16];
    head[0] = family;
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head[8..12].copy_from_slice(&flags.to_ne_bytes());
    head[12..16].copy_from_slice(&change.to_ne_bytes());
    head
}

fn address_head(link: u32, net: IpNet) -> [u8; 8] {
    let family = Family::of(net.addr());
    let flags = if family == Family::Six { NO_DETECTION } else { 0 };
    let mut head = [family.number(), net.prefix_len(), flags, 0, 0, 0, 0, 0];
    head[4..8].copy_from_slice(&link.to_ne_bytes());
    head
}

fn route_head(route: &Route, scope: u8) -> [u8; 12] {
    let (unicast, family) = (1, Family::of(route.to.addr()).number());
    [family, route.to.prefix_len(), 0, 0, MAIN_TABLE, route.protocol, scope, unicast, 0, 0, 0, 0]
}

fn fill_route(a: &mut super::Attributes<'_>, route: &Route) {
    if route.to.prefix_len() > 0 {
        a.bytes(1, &octets(route.to.network()));
    }
    if let Some(gateway) = route.gateway {
        a.bytes(5, &octets(gateway));
    }
    if route.link != 0 {
        a.native(4, route.link);
    }
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let (head, rest) = body.split_at_checked(16)?;
    let mut link = Link {
        index: number(&head[4..8])?,
        name: String::new(),
        up: number(&head[8..12])? & UP != 0,
        master: 0,
        mtu: 0,
        mac: [0; 6],
    };
    for (kind, value) in attributes(rest) {
        match kind {
            1 => link.mac = value.try_into().unwrap_or_default(),
            3 => link.name = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned(),
            4 => link.mtu = number(value)?,
            10 => link.master = number(value)?,
            _ => {}
        }
    }
    Some(link)
}

fn parse_route(body: &[u8], family: Family) -> Option<Route> {
    let (head, rest) = body.split_at_checked(12)?;
    if head[0] != family.number() || head[4] != MAIN_TABLE {
        return None;
    }
    let to = attribute(rest, 1).map_or(Some(family.unspecified()), family::address)?;
    Some(Route {
        to: IpNet::new(to, head[1]).ok()?,
        gateway: attribute(rest, 5).and_then(family::address),
        link: attribute(rest, 4).and_then(number).unwrap_or(0),
        protocol: head[5],
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}
