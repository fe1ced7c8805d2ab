//! The table's shape: how packets are judged by what the plan has put into sets.
//!
//! A packet of a flow that was let through passes at once. The first one of a flow is looked up by its source among the
//! pods whose outward traffic some policy is about, and by its destination among those whose inward traffic is: two
//! look-ups, however many pods. Who is found goes through the rules of its group of policies, in a chain of the group's
//! own; the first that fits lets the packet pass, the end of the chain drops it. What this machine itself sends to its own
//! pods (probes) comes by no hook of ours.
//!
//! A map of addresses to numbers, and one of numbers to chains, would spare the kernel a check of the table's chains for
//! each pod; but Debian 12's `nft` breaks off when it is to print a look-up of what was looked up.

use crate::family::Family;
use crate::ledger::{self, Set as _};
use crate::netlink::expr::{Expr, Reg, Verdict, range};
use crate::netlink::nft::{Batch, Field, Hook, Set};
use crate::policy::model::{Port, Rule, Way};
use crate::policy::plan::{Frame, RuleId};

/// Flows that go on, and what belongs to them.
const GOING_ON: u32 = 6;
/// What is never made a flow: of IPv6, how neighbours find each other.
const UNTRACKED: u32 = 0x40;
const ADDRESS: &[Field] = &[Field::Address];
const PAIR: &[Field] = &[Field::Address, Field::Address];
const PORT: &[Field] = &[Field::Protocol, Field::Port];
const NAMED: &[Field] = &[Field::Address, Field::Protocol, Field::Port];

/// A set of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SetId {
    /// A pod here → the chain of its group, which its number stands for.
    Group(Way),
    /// A pod here, with itself: what nobody keeps from it.
    Itself,
    /// The pods that a rule allows.
    Peers(RuleId),
    /// The ports that a rule allows by name: of which pod, and which.
    Named(RuleId),
}

impl ledger::Set for SetId {
    fn name(&self) -> String {
        match self {
            Self::Group(way) => way.word().to_owned(),
            Self::Itself => "itself".to_owned(),
            Self::Peers(id) => format!("peers-{}", id.suffix()),
            Self::Named(id) => format!("named-{}", id.suffix()),
        }
    }

    fn chain(&self, value: &[u8]) -> Option<String> {
        match self {
            Self::Group(way) => Some(chain_of(*way, value)),
            _ => None,
        }
    }
}

fn chain_of(way: Way, number: &[u8]) -> String {
    let number = number.try_into().map_or(0, u32::from_ne_bytes);
    format!("{}-{number}", way.word())
}

impl RuleId {
    fn suffix(self) -> String {
        format!("{}-{}{}", self.policy, self.way.word(), self.index)
    }
}

/// Makes the table anew, without elements of pods.
pub(super) fn create(batch: &mut Batch<'_>, frame: &Frame) {
    batch.replace_table();
    batch.set(&Set { name: SetId::Itself.name(), key: PAIR, value: &[], timeout: None });
    for way in Way::ALL {
        batch.verdict_map(&SetId::Group(way).name(), ADDRESS);
    }
    for (id, _, rule) in frame.rules() {
        sets(batch, id, rule);
    }
    for ((way, group), number) in &frame.groups {
        let chain = chain_of(*way, &number.to_ne_bytes());
        batch.chain(&chain);
        let own = frame.rules().filter(|(id, ..)| id.way == *way && group.contains(&id.policy));
        for (id, _, rule) in own {
            allow(batch, &chain, id, rule);
        }
        batch.rule(&chain, &[Expr::Go(Verdict::Drop)]);
    }
    ways_through(batch);
}

/// The sets of one rule, with the ports it gives by number.
fn sets(batch: &mut Batch<'_>, id: RuleId, rule: &Rule) {
    if rule.peers.as_ref().is_some_and(super::model::Peers::has_pods) {
        batch.set(&Set { name: SetId::Peers(id).name(), key: ADDRESS, value: &[], timeout: None });
    }
    let ports = rule.ports.iter().flatten();
    if ports.clone().any(|port| matches!(port, Port::Named(..))) {
        batch.set(&Set { name: SetId::Named(id).name(), key: NAMED, value: &[], timeout: None });
    }
    let single = ports.filter_map(|port| match port {
        Port::Numbers(protocol, first, last) if first == last => {
            let key = [&[protocol.number(), 0, 0, 0][..], &first.to_be_bytes(), &[0, 0]].concat();
            Some((key, Vec::new()))
        }
        _ => None,
    });
    let mut single: Vec<_> = single.collect();
    single.sort_unstable();
    single.dedup();
    if !single.is_empty() {
        let name = ports_of(id);
        batch.set(&Set { name: name.clone(), key: PORT, value: &[], timeout: None });
        batch.add(&name, &single);
    }
}

fn ports_of(id: RuleId) -> String {
    format!("ports-{}", id.suffix())
}

/// Lets pass what one rule allows: every way to be its peer with every way to be on its ports.
fn allow(batch: &mut Batch<'_>, chain: &str, id: RuleId, rule: &Rule) {
    for peer in peers(id, rule, batch.family()) {
        for port in ports(id, rule, batch.family()) {
            batch.rule(chain, &[&peer[..], &port[..], &[Expr::Go(Verdict::Return)]].concat());
        }
    }
}

fn peers(id: RuleId, rule: &Rule, family: Family) -> Vec<Vec<Expr>> {
    let Some(peers) = &rule.peers else { return vec![Vec::new()] };
    let address = || match id.way {
        Way::In => Expr::Source(Reg(0)),
        Way::Out => Expr::Destination(Reg(0)),
    };
    let chosen = peers.has_pods().then(|| vec![address(), Expr::Among(SetId::Peers(id).name(), Reg(0))]);
    let blocks = peers.blocks.iter().filter(|(net, _)| family.holds(net)).map(|(net, except)| {
        let mut steps = vec![address()];
        steps.extend(range(Reg(0), *net, true));
        for net in except.iter().filter(|net| family.holds(net)) {
            steps.push(address());
            steps.extend(range(Reg(0), *net, false));
        }
        steps
    });
    chosen.into_iter().chain(blocks).collect()
}

fn ports(id: RuleId, rule: &Rule, family: Family) -> Vec<Vec<Expr>> {
    let Some(ports) = &rule.ports else { return vec![Vec::new()] };
    let mut all: Vec<Vec<Expr>> = Vec::new();
    let of = |protocol: &crate::model::Protocol| {
        [Expr::Protocol(Reg(1)), Expr::Equal(Reg(1), vec![protocol.number()])]
    };
    for port in ports {
        let steps = match port {
            Port::All(protocol) => of(protocol).to_vec(),
            Port::Numbers(_, first, last) if first == last => {
                vec![Expr::Protocol(Reg(1)), Expr::DestinationPort(Reg(2)), Expr::Among(ports_of(id), Reg(1))]
            }
            Port::Numbers(protocol, first, last) => {
                let (first, last) = (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec());
                let within = [Expr::DestinationPort(Reg(2)), Expr::Within(Reg(2), first, last)];
                [&of(protocol)[..], &within].concat()
            }
            Port::Named(..) => {
                let protocol = Reg(0).after_address(family);
                vec![
                    Expr::Destination(Reg(0)),
                    Expr::Protocol(protocol),
                    Expr::DestinationPort(Reg(protocol.0 + 1)),
                    Expr::Among(SetId::Named(id).name(), Reg(0)),
                ]
            }
        };
        // All single ports are one set, all names another.
        if !all.contains(&steps) {
            all.push(steps);
        }
    }
    all
}

fn ways_through(batch: &mut Batch<'_>) {
    let passing = match batch.family() {
        Family::Four => GOING_ON,
        Family::Six => GOING_ON | UNTRACKED,
    };
    let going_on = [
        Expr::FlowState(Reg(0)),
        Expr::Bits(Reg(0), passing.to_ne_bytes(), [0; 4]),
        Expr::Differ(Reg(0), vec![0; 4]),
        Expr::Go(Verdict::Return),
    ];
    let judged = |way: Way, address: Expr| [address, Expr::Follow(SetId::Group(way).name(), Reg(0))];
    // Before the rules that refuse what no service answers: who may not ask is not answered.
    for (name, hook) in [("forward", Hook::Forward), ("input", Hook::Input)] {
        batch.base_chain(name, "filter", hook, -5);
        batch.rule(name, &going_on);
        if hook == Hook::Forward {
            let itself = Expr::Among(SetId::Itself.name(), Reg(0));
            let second = Reg(0).after_address(batch.family());
            let own = [Expr::Source(Reg(0)), Expr::Destination(second), itself, Expr::Go(Verdict::Return)];
            batch.rule(name, &own);
        }
        batch.rule(name, &judged(Way::Out, Expr::Source(Reg(0))));
        if hook == Hook::Forward {
            batch.rule(name, &judged(Way::In, Expr::Destination(Reg(0))));
        }
    }
}
