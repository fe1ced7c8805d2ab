//! The steps a rule is made of, as the kernel's little register machine runs them.
//!
//! Writing the steps ourselves instead of `nft`'s language buys two things: a number generator may feed a lookup
//! without going through the packet's mark (`nft` prints such a rule but does not accept it), and no program has to
//! start. Sixteen 32-bit registers; a key of several fields is several neighbouring registers. Where addresses are in a
//! packet, and how large they are, is decided when a step is written: by the family of its table.

use ipnet::IpNet;

use super::Attributes;
use crate::family::{Family, octets};

/// One of the sixteen registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

impl Reg {
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }

    /// The one that follows an address which starts here.
    pub fn after_address(self, family: Family) -> Self {
        Self(self.0 + family.words())
    }
}

/// What one step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Loads the source address.
    Source(Reg),
    /// Loads the destination address.
    Destination(Reg),
    /// Loads the transport header's destination port.
    DestinationPort(Reg),
    /// Loads the transport protocol's number.
    Protocol(Reg),
    /// Loads the packet's mark.
    Mark(Reg),
    /// Sets the packet's mark.
    SetMark(Reg),
    /// Loads the name of the link the packet leaves by.
    OutLink(Reg),
    /// Loads the state of the packet's flow (new is 8).
    FlowState(Reg),
    /// Loads the status of the packet's flow (destination rewritten is 0x20).
    FlowStatus(Reg),
    /// Loads what kind of address the source is to this machine (its own is 2).
    SourceKind(Reg),
    /// Loads what kind of address the destination is to this machine.
    DestinationKind(Reg),
    /// A constant.
    Constant(Reg, Vec<u8>),
    /// Register := (register & first) ^ second, four bytes.
    Bits(Reg, [u8; 4], [u8; 4]),
    /// Register := register & mask, as many bytes as the mask has.
    Mask(Reg, Vec<u8>),
    /// Leaves the rule.
    Go(Verdict),
    /// Continue only if equal.
    Equal(Reg, Vec<u8>),
    /// Continue only if different.
    Differ(Reg, Vec<u8>),
    /// Continue only if the key is in the set of that fixed name.
    In(&'static str, Reg),
    /// The same for a set whose name is made.
    Among(String, Reg),
    /// Continue only if the value lies between two, both included, in the order of their bytes.
    Within(Reg, Vec<u8>, Vec<u8>),
    /// Into the chain to which the map leads from the key; continue if it leads nowhere.
    Follow(String, Reg),
    /// Continue only if the key is in the map; its value goes into the second register on.
    Find(String, Reg, Reg),
    /// A random number below the limit.
    Random(Reg, u32),
    /// Remembers key and value, or keeps the entry alive if the key is there.
    Remember(String, Reg, Reg),
    /// Forgets a key.
    Forget(String, Reg),
    /// Rewrites the destination: address, port.
    Dnat(Reg, Reg),
    /// Rewrites the source to this machine's address on the outgoing link.
    Masquerade,
    /// Answers that the port is closed.
    Reject,
    /// The same in TCP's own words.
    Reset,
}

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out of the chain.
    Return,
    /// Nowhere.
    Drop,
    /// Into another chain and back.
    Jump(&'static str),
}

/// Continue only if the address in the register is inside the range (or, `inside` false, outside).
pub fn range(register: Reg, net: IpNet, inside: bool) -> [Expr; 2] {
    let network = octets(net.network());
    let compare = if inside { Expr::Equal(register, network) } else { Expr::Differ(register, network) };
    [Expr::Mask(register, octets(net.netmask())), compare]
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Self::Source(_) | Self::Destination(_) | Self::DestinationPort(_) => "payload",
            Self::Protocol(_) | Self::Mark(_) | Self::SetMark(_) | Self::OutLink(_) => "meta",
            Self::FlowState(_) | Self::FlowStatus(_) => "ct",
            Self::SourceKind(_) | Self::DestinationKind(_) => "fib",
            Self::Constant(..) | Self::Go(_) => "immediate",
            Self::Bits(..) | Self::Mask(..) => "bitwise",
            Self::Equal(..) | Self::Differ(..) => "cmp",
            Self::In(..) | Self::Among(..) | Self::Follow(..) | Self::Find(..) => "lookup",
            Self::Within(..) => "range",
            Self::Random(..) => "numgen",
            Self::Remember(..) | Self::Forget(..) => "dynset",
            Self::Dnat(..) => "nat",
            Self::Masquerade => "masq",
            Self::Reject | Self::Reset => "reject",
        }
    }

    /// Writes the step as an element of a rule's list.
    pub(super) fn write(&self, list: &mut Attributes<'_>, family: Family) {
        list.nest(1, |element| {
            element.text(1, self.name());
            element.nest(2, |a| self.fill(a, family));
        });
    }

    fn fill(&self, a: &mut Attributes<'_>, family: Family) {
        let (source, destination, port_unreachable) = match family {
            Family::Four => (12, 16, 3),
            Family::Six => (8, 24, 4),
        };
        match self {
            Self::Source(to) => payload(a, *to, 1, source, family.bytes()),
            Self::Destination(to) => payload(a, *to, 1, destination, family.bytes()),
            Self::DestinationPort(to) => payload(a, *to, 2, 2, 2),
            Self::Protocol(to) => load(a, *to, 16),
            Self::Mark(to) => load(a, *to, 3),
            Self::OutLink(to) => load(a, *to, 7),
            Self::SetMark(from) => {
                a.network(2, 3);
                a.network(3, from.number());
            }
            Self::FlowState(to) => load(a, *to, 0),
            Self::FlowStatus(to) => load(a, *to, 2),
            Self::SourceKind(to) => kind_of_address(a, *to, 1),
            Self::DestinationKind(to) => kind_of_address(a, *to, 2),
            Self::Constant(to, value) => {
                a.network(1, to.number());
                a.nest(2, |a| a.bytes(1, value));
            }
            Self::Bits(register, mask, xor) => bitwise(a, *register, mask, xor),
            Self::Mask(register, mask) => bitwise(a, *register, mask, &vec![0; mask.len()]),
            Self::Go(verdict) => {
                a.network(1, 0);
                a.nest(2, |a| a.nest(2, |a| verdict.fill(a)));
            }
            Self::Equal(from, value) => compare(a, *from, 0, value),
            Self::Differ(from, value) => compare(a, *from, 1, value),
            Self::In(set, key) => {
                a.text(1, set);
                a.network(2, key.number());
            }
            Self::Among(set, key) => {
                a.text(1, set);
                a.network(2, key.number());
            }
            Self::Within(from, first, last) => {
                a.network(1, from.number());
                a.network(2, 0);
                a.nest(3, |a| a.bytes(1, first));
                a.nest(4, |a| a.bytes(1, last));
            }
            Self::Follow(map, key) => {
                a.text(1, map);
                a.network(2, key.number());
                a.network(3, 0);
            }
            Self::Find(map, key, to) => {
                a.text(1, map);
                a.network(2, key.number());
                a.network(3, to.number());
            }
            Self::Random(to, limit) => {
                a.network(1, to.number());
                a.network(2, *limit);
                a.network(3, 1);
            }
            Self::Remember(map, key, value) => {
                a.text(1, map);
                a.network(3, 1);
                a.network(4, key.number());
                a.network(5, value.number());
            }
            Self::Forget(map, key) => {
                a.text(1, map);
                a.network(3, 2);
                a.network(4, key.number());
                // Of a map the kernel wants a value too; it does not look at it.
                a.network(5, key.number());
            }
            Self::Dnat(address, port) => {
                a.network(1, 1);
                a.network(2, family.number().into());
                a.network(3, address.number());
                a.network(5, port.number());
            }
            Self::Masquerade => {}
            Self::Reject => {
                a.network(1, 0);
                a.bytes(2, &[port_unreachable]);
            }
            Self::Reset => a.network(1, 1),
        }
    }
}

impl Verdict {
    fn fill(&self, a: &mut Attributes<'_>) {
        match self {
            Self::Return => a.bytes(1, &(-5_i32).to_be_bytes()),
            Self::Drop => a.bytes(1, &0_i32.to_be_bytes()),
            Self::Jump(chain) => jump_to(a, chain),
        }
    }
}

/// Writes the verdict that leads into a chain and back.
pub(super) fn jump_to(a: &mut Attributes<'_>, chain: &str) {
    a.bytes(1, &(-3_i32).to_be_bytes());
    a.text(2, chain);
}

fn payload(a: &mut Attributes<'_>, to: Reg, base: u32, offset: u32, length: u32) {
    a.network(1, to.number());
    a.network(2, base);
    a.network(3, offset);
    a.network(4, length);
}

fn bitwise(a: &mut Attributes<'_>, register: Reg, mask: &[u8], xor: &[u8]) {
    a.network(1, register.number());
    a.network(2, register.number());
    a.network(3, u32::try_from(mask.len()).unwrap_or(0));
    a.nest(4, |a| a.bytes(1, mask));
    a.nest(5, |a| a.bytes(1, xor));
}

fn load(a: &mut Attributes<'_>, to: Reg, key: u32) {
    a.network(1, to.number());
    a.network(2, key);
}

fn kind_of_address(a: &mut Attributes<'_>, to: Reg, of: u32) {
    a.network(1, to.number());
    a.network(2, 3);
    a.network(3, of);
}

fn compare(a: &mut Attributes<'_>, from: Reg, operator: u32, value: &[u8]) {
    a.network(1, from.number());
    a.network(2, operator);
    a.nest(3, |a| a.bytes(1, value));
}
