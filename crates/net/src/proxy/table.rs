//! The table's shape: which sets there are and which rules look into them.
//!
//! All services with the same number of endpoints share one map, keyed by face and slot; one rule draws a slot and
//! looks it up. A packet passes as many lookups as there are *different* numbers of endpoints, however many services.
//! Registers: client, address, protocol, port, slot (or the remembered endpoint), endpoint, one after the other, so that
//! every key is a run of neighbours. With the addresses of IPv6 that takes all sixteen. Either family has a table of its
//! own, with the same sets and rules.
//!
//! Clients that stay with an endpoint: a map remembers client and face → endpoint and forgets by itself. What it
//! remembers counts only while it is in the `live` set, so a dead endpoint needs no clearing up.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::family::Family;
use crate::ledger::{self, Set as _};
use crate::model::Protocol;
use crate::netlink::expr::{Expr, Reg, Verdict, range};
use crate::netlink::nft::{Batch, Field, Hook, Set};

const FACE: &[Field] = &[Field::Address, Field::Protocol, Field::Port];
const SLOT: &[Field] = &[Field::Address, Field::Protocol, Field::Port, Field::Number];
const LIVE: &[Field] = &[Field::Address, Field::Protocol, Field::Port, Field::Address, Field::Port];
const CLIENT: &[Field] = &[Field::Address, Field::Address, Field::Protocol, Field::Port];
const TARGET: &[Field] = &[Field::Address, Field::Port];
const PAIR: &[Field] = &[Field::Address, Field::Address];

const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
const NEW: [u8; 4] = 8_u32.to_ne_bytes();
const REWRITTEN: [u8; 4] = 0x20_u32.to_ne_bytes();
/// The mark of packets to be masqueraded; upstream's, since other programs know it.
const MARK: u32 = 0x4000;

/// Whose endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    /// The whole cluster's.
    All,
    /// This node's, for strangers to a service with local policy.
    Local,
}

/// The services that share a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    /// Node ports, as opposed to addresses.
    pub(super) node: bool,
    /// Whose endpoints.
    pub(super) scope: Scope,
    /// How many endpoints each has.
    pub(super) count: u32,
    /// How long clients stay, in seconds.
    pub(super) sticky: Option<u32>,
}

/// A set of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SetId {
    /// Cluster addresses: masqueraded for clients that are no pods.
    Cluster,
    /// Always masqueraded.
    Masquerade,
    /// Node-local policy: strangers get this node's endpoints or nothing.
    Local,
    /// Nobody answers: say so.
    Reject,
    /// Nobody near answers: say nothing.
    Drop,
    /// A node's pods, each with itself.
    Hairpin,
    /// Face and endpoint, for clients that stay.
    Live(Scope),
    /// Face and slot → endpoint.
    Slots(Group),
}

impl ledger::Set for SetId {
    fn name(&self) -> String {
        match self {
            Self::Cluster => "cluster".to_owned(),
            Self::Masquerade => "masquerade".to_owned(),
            Self::Local => "local".to_owned(),
            Self::Reject => "reject".to_owned(),
            Self::Drop => "drop".to_owned(),
            Self::Hairpin => "hairpin".to_owned(),
            Self::Live(Scope::All) => "live".to_owned(),
            Self::Live(Scope::Local) => "live-local".to_owned(),
            Self::Slots(group) => group.name(),
        }
    }
}

impl Group {
    fn name(&self) -> String {
        let face = if self.node { "np" } else { "ep" };
        let scope = if self.scope == Scope::Local { "-local" } else { "" };
        let sticky = self.sticky.map(|seconds| format!("-{seconds}s")).unwrap_or_default();
        format!("{face}{}{scope}{sticky}", self.count)
    }

    fn chain(&self) -> &'static str {
        match (self.scope, self.node) {
            (Scope::All, false) => "address",
            (Scope::All, true) => "node",
            (Scope::Local, false) => "address-local",
            (Scope::Local, true) => "node-local",
        }
    }
}

/// What there is of the table so far.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    family: Family,
    table: String,
    inside: Option<IpNet>,
    registers: Registers,
    groups: BTreeSet<Group>,
    /// Chain and seconds for which the remembering rules are there.
    memories: BTreeSet<(bool, Scope, u32)>,
}

impl Layout {
    /// The table of a family; `inside` is where its pods are.
    pub(super) fn new(family: Family, table: String, inside: Option<IpNet>) -> Self {
        let registers = Registers::of(family);
        Self { family, table, inside, registers, groups: BTreeSet::new(), memories: BTreeSet::new() }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// An empty transaction on it.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch::on(self.family, &self.table)
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// The same table before anything was made.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.family, self.table.clone(), self.inside)
    }

    /// The table anew: fixed sets, chains, rules.
    pub(super) fn create(&self, batch: &mut Batch<'_>) {
        batch.replace_table();
        let sets = [SetId::Cluster, SetId::Masquerade, SetId::Local, SetId::Reject, SetId::Drop];
        for id in sets {
            batch.set(&Set { name: id.name(), key: FACE, value: &[], timeout: None });
        }
        batch.set(&Set { name: SetId::Hairpin.name(), key: PAIR, value: &[], timeout: None });
        for scope in [Scope::All, Scope::Local] {
            batch.set(&Set { name: SetId::Live(scope).name(), key: LIVE, value: &[], timeout: None });
        }
        for chain in ["address", "node", "address-local", "node-local", "services", "node-ports"] {
            batch.chain(chain);
        }
        self.ways_in(batch);
        self.services(batch);
        self.registers.way_out(batch);
        self.registers.refusals(batch);
    }

    /// The groups that nearly every cluster has. A new rule makes the kernel wait until no packet is in the old ones;
    /// an element does not.
    pub(super) fn usual() -> impl Iterator<Item = SetId> {
        let groups = (1..=4).flat_map(|count| [false, true].map(|node| (count, node)));
        groups.map(|(count, node)| SetId::Slots(Group { node, scope: Scope::All, count, sticky: None }))
    }

    fn ways_in(&self, batch: &mut Batch<'_>) {
        for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
            batch.base_chain(name, "nat", hook, -100);
            batch.rule(name, &[Expr::Go(Verdict::Jump("services"))]);
            batch.rule(
                name,
                &[&to_this_node(self.family)[..], &[Expr::Go(Verdict::Jump("node-ports"))]].concat(),
            );
        }
    }

    /// The two ways through: by address and by node port; they differ in what stands for the address.
    fn services(&self, batch: &mut Batch<'_>) {
        for (chain, node) in [("services", false), ("node-ports", true)] {
            let (near, far) = if node { ("node-local", "node") } else { ("address-local", "address") };
            // Strangers to a service with local policy: this node's endpoints or nothing, source kept.
            batch.rule(chain, &[&self.stranger()[..], &[Expr::Go(Verdict::Jump(near))]].concat());
            let face = self.registers.face(node);
            let one_of = |set| [&face[..], &[Expr::In(set, self.registers.address)]].concat();
            let stray = [one_of("local"), vec![Expr::Go(Verdict::Drop)]].concat();
            batch.rule(chain, &[self.stranger(), stray].concat());
            // This machine itself uses all endpoints, but they must answer to an address they can reach.
            let own = vec![Expr::SourceKind(Reg(0)), Expr::Equal(Reg(0), LOCAL.to_vec())];
            batch.rule(chain, &[own, one_of("local"), mark()].concat());
            batch.rule(chain, &[one_of("masquerade"), mark()].concat());
            if let (Some(inside), false) = (self.inside, node) {
                let mut steps = vec![Expr::Source(Reg(0))];
                steps.extend(range(Reg(0), inside, false));
                steps.extend([one_of("cluster"), mark()].concat());
                batch.rule(chain, &steps);
            }
            batch.rule(chain, &[Expr::Go(Verdict::Jump(far))]);
        }
    }

    /// Neither a pod nor this machine.
    fn stranger(&self) -> Vec<Expr> {
        let mut steps = vec![Expr::SourceKind(Reg(0)), Expr::Differ(Reg(0), LOCAL.to_vec())];
        if let Some(inside) = self.inside {
            steps.push(Expr::Source(Reg(0)));
            steps.extend(range(Reg(0), inside, false));
        }
        steps
    }

    /// Makes the maps and rules of groups not seen before.
    pub(super) fn ensure(&mut self, batch: &mut Batch<'_>, sets: impl IntoIterator<Item = SetId>) {
        for id in sets {
            let SetId::Slots(group) = id else { continue };
            if !self.groups.insert(group) {
                continue;
            }
            batch.set(&Set { name: group.name(), key: SLOT, value: TARGET, timeout: None });
            let Registers { client, address, slot, target, .. } = self.registers;
            let mut draw = self.registers.face(group.node);
            draw.push(Expr::Random(slot, group.count));
            draw.push(Expr::Find(group.name(), address, target));
            let send = Expr::Dnat(target, target.after_address(self.family));
            if let Some(seconds) = group.sticky {
                let memory = self.remember(batch, group, seconds);
                let noted = [Expr::Remember(memory, client, target), send.clone()];
                batch.rule(group.chain(), &[&[Expr::Source(client)], &draw[..], &noted].concat());
                // When memory is full the rule above ends early; then the client is served all the same.
            }
            draw.push(send);
            batch.rule(group.chain(), &draw);
        }
    }

    /// The rules for clients that were here before; the name of the map that remembers them.
    fn remember(&mut self, batch: &mut Batch<'_>, group: Group, seconds: u32) -> String {
        let suffix = if group.scope == Scope::Local { "-local" } else { "" };
        let name = format!("clients-{seconds}s{suffix}");
        let made_for = |node| self.memories.contains(&(node, group.scope, seconds));
        if !made_for(false) && !made_for(true) {
            batch.set(&Set { name: name.clone(), key: CLIENT, value: TARGET, timeout: Some(seconds.max(1)) });
        }
        if self.memories.insert((group.node, group.scope, seconds)) {
            // The remembered endpoint stands where the slot does, next to the face.
            let Registers { client, address, slot: again, .. } = self.registers;
            let known = [vec![Expr::Source(client)], self.registers.face(group.node)].concat();
            let live = if group.scope == Scope::Local { "live-local" } else { "live" };
            let still = [
                Expr::Find(name.clone(), client, again),
                Expr::In(live, address),
                Expr::Remember(name.clone(), client, again),
                Expr::Dnat(again, again.after_address(self.family)),
            ];
            batch.rule(group.chain(), &[&known[..], &still].concat());
            // Adding does not change what is remembered, so what is no longer true has to go first.
            batch.rule(group.chain(), &[&known[..], &[Expr::Forget(name.clone(), client)]].concat());
        }
        name
    }
}

/// Where a rule keeps what it loads.
#[derive(Clone, Copy, Debug)]
struct Registers {
    family: Family,
    client: Reg,
    address: Reg,
    protocol: Reg,
    port: Reg,
    slot: Reg,
    target: Reg,
}

impl Registers {
    fn of(family: Family) -> Self {
        let (client, next) = (Reg(0), |reg: Reg| Reg(reg.0 + 1));
        let address = client.after_address(family);
        let protocol = address.after_address(family);
        let port = next(protocol);
        let slot = next(port);
        Self { family, client, address, protocol, port, slot, target: next(slot) }
    }

    /// Loads what the client used: address (or none for a node port), protocol, port.
    fn face(&self, node: bool) -> Vec<Expr> {
        let any = || vec![0; usize::from(self.family.words()) * 4];
        let address =
            if node { Expr::Constant(self.address, any()) } else { Expr::Destination(self.address) };
        vec![address, Expr::Protocol(self.protocol), Expr::DestinationPort(self.port)]
    }

    fn way_out(&self, batch: &mut Batch<'_>) {
        batch.base_chain("postrouting", "nat", Hook::Postrouting, 100);
        let bit = MARK.to_ne_bytes();
        let marked = [Expr::Mark(Reg(0)), Expr::Bits(Reg(0), bit, [0; 4]), Expr::Differ(Reg(0), vec![0; 4])];
        // The mark has done its work; a tunnel must not see it again.
        let clean =
            [Expr::Mark(Reg(0)), Expr::Bits(Reg(0), [0xff; 4], bit), Expr::SetMark(Reg(0)), Expr::Masquerade];
        batch.rule("postrouting", &[&marked[..], &clean].concat());
        let itself = [
            Expr::FlowStatus(Reg(0)),
            Expr::Bits(Reg(0), REWRITTEN, [0; 4]),
            Expr::Differ(Reg(0), vec![0; 4]),
            Expr::Source(self.client),
            Expr::Destination(self.address),
            Expr::In("hairpin", self.client),
            Expr::Masquerade,
        ];
        batch.rule("postrouting", &itself);
    }

    fn refusals(&self, batch: &mut Batch<'_>) {
        let fresh =
            [Expr::FlowState(Reg(0)), Expr::Bits(Reg(0), NEW, [0; 4]), Expr::Differ(Reg(0), vec![0; 4])];
        let hooks = [("input", Hook::Input), ("forward", Hook::Forward), ("from-here", Hook::Output)];
        // TCP is refused in its own words: the kernel sends a client only one ICMP message a second.
        let tcp =
            vec![Expr::Protocol(Reg(0)), Expr::Equal(Reg(0), vec![Protocol::Tcp.number()]), Expr::Reset];
        let one_of = |node, set| [self.face(node), vec![Expr::In(set, self.address)]].concat();
        for (name, hook) in hooks {
            batch.base_chain(name, "filter", hook, 0);
            for end in [tcp.clone(), vec![Expr::Reject]] {
                if hook != Hook::Forward {
                    let refused = [to_this_node(self.family), one_of(true, "reject"), end.clone()].concat();
                    batch.rule(name, &[&fresh[..], &refused].concat());
                }
                let refused = [one_of(false, "reject"), end].concat();
                batch.rule(name, &[&fresh[..], &refused].concat());
            }
            let dropped = [one_of(false, "drop"), vec![Expr::Go(Verdict::Drop)]].concat();
            batch.rule(name, &[&fresh[..], &dropped].concat());
        }
    }
}

/// Only what is sent to an address of this machine other than loopback.
fn to_this_node(family: Family) -> Vec<Expr> {
    let mut steps =
        vec![Expr::DestinationKind(Reg(0)), Expr::Equal(Reg(0), LOCAL.to_vec()), Expr::Destination(Reg(0))];
    steps.extend(range(Reg(0), family.loopback(), false));
    steps
}

/// Marks the packet for masquerade, leaving other bits as they are. The last thing a rule does: registers are free.
fn mark() -> Vec<Expr> {
    let bit = MARK.to_ne_bytes();
    let others = (!MARK).to_ne_bytes();
    vec![Expr::Mark(Reg(0)), Expr::Bits(Reg(0), others, bit), Expr::SetMark(Reg(0))]
}
