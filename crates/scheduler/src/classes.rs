//! What pods of one class have been told about the nodes.
//!
//! Two pods whose plugins wrote down the same ([`Judge::share`](crate::plugin::Judge::share)) hear the same about every
//! node, so the verdicts are kept, with the nodes that can hold such a pod ordered by their score. Before each use those
//! nodes are judged anew that changed since the last one: after a pod was placed that is one node, however many there are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::cycle::Seat;
use crate::plugin::{Refusal, Share};
use crate::profile::Profile;
use crate::snapshot::{Node, NodeId, Snapshot};

/// So many classes are kept.
const MOST: usize = 64;
/// So many are remembered that were seen once: the first pod of a class is no reason to judge all nodes.
const ONCE: usize = 1_024;

type Verdict = Result<i64, (&'static str, Refusal)>;

/// The verdict on one node.
#[derive(Default)]
enum Slot {
    /// No such node.
    #[default]
    Absent,
    Refused(&'static str, Refusal),
    /// Its score, and its place among those that have the same.
    Fits(i64, usize),
}

/// What is known for pods of one class.
#[derive(Default)]
pub(crate) struct Class {
    /// By the node's number.
    slots: Vec<Slot>,
    /// The nodes that can hold a pod, by score.
    ranks: BTreeMap<i64, Vec<NodeId>>,
    /// The snapshot's last change that is accounted for.
    generation: u64,
    /// When it was last asked for.
    used: u64,
}

/// The classes that are kept.
#[derive(Default)]
pub(crate) struct Classes {
    /// Keyed anew in each process: nobody can prepare two classes with one key.
    keys: RandomState,
    classes: HashMap<u64, Class>,
    once: VecDeque<u64>,
    clock: u64,
}

impl Classes {
    /// The class of a pod, brought up to date, and what each of its plugins shares; nothing for the first of its kind.
    pub(crate) fn of(
        &mut self,
        profile: &Profile,
        cluster: &Snapshot,
        seats: &[Seat<'_>],
    ) -> Option<(&Class, Vec<Share>)> {
        let mut key = self.keys.build_hasher();
        key.write(profile.name.as_bytes());
        let share = |seat: &Seat<'_>| {
            key.write(seat.name.as_bytes());
            seat.judge.share(&mut key)
        };
        let shares: Vec<Share> = seats.iter().map(share).collect();
        let key = key.finish();
        self.clock += 1;
        if !self.classes.contains_key(&key) {
            if !self.once.contains(&key) {
                self.once.push_back(key);
                if self.once.len() > ONCE {
                    self.once.pop_front();
                }
                return None;
            }
            self.once.retain(|held| *held != key);
            self.make_room();
        }
        let class = self.classes.entry(key).or_default();
        class.used = self.clock;
        class.refresh(cluster, |node| judge(seats, &shares, node));
        Some((class, shares))
    }

    fn make_room(&mut self) {
        if self.classes.len() >= MOST
            && let Some(oldest) = self.classes.iter().min_by_key(|(_, class)| class.used).map(|(key, _)| *key)
        {
            self.classes.remove(&oldest);
        }
    }
}

/// What the plugins that share say about a node.
fn judge(seats: &[Seat<'_>], shares: &[Share], node: &Node) -> Verdict {
    let sharing = || seats.iter().zip(shares).filter(|(_, share)| **share != Share::Nothing);
    for (seat, _) in sharing().filter(|(seat, _)| seat.filters) {
        seat.judge.filter(node).map_err(|refusal| (seat.name, refusal))?;
    }
    let scoring = sharing().filter(|(seat, share)| **share == Share::Everything && seat.weight > 0);
    Ok(scoring.map(|(seat, _)| seat.judge.score(node) * seat.weight).sum())
}

impl Class {
    fn refresh(&mut self, cluster: &Snapshot, judge: impl Fn(&Node) -> Verdict) {
        for id in cluster.changed_since(self.generation) {
            let Some(node) = cluster.numbered(id) else { continue };
            let slot = if node.known {
                match judge(node) {
                    Ok(score) => Slot::Fits(score, 0),
                    Err((plugin, refusal)) => Slot::Refused(plugin, refusal),
                }
            } else {
                Slot::Absent
            };
            self.set(id, slot);
        }
        self.generation = cluster.generation();
    }

    fn set(&mut self, id: NodeId, mut slot: Slot) {
        let index = id as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        if let Slot::Fits(score, at) = self.slots[index] {
            self.leave(score, at);
        }
        if let Slot::Fits(score, at) = &mut slot {
            let rank = self.ranks.entry(*score).or_default();
            *at = rank.len();
            rank.push(id);
        }
        self.slots[index] = slot;
    }

    fn leave(&mut self, score: i64, at: usize) {
        let Some(rank) = self.ranks.get_mut(&score) else { return };
        rank.swap_remove(at);
        match rank.get(at) {
            Some(moved) => self.slots[*moved as usize] = Slot::Fits(score, at),
            None if rank.is_empty() => {
                self.ranks.remove(&score);
            }
            None => {}
        }
    }

    /// One of the nodes with the highest score, as `pick` says.
    pub(crate) fn best(&self, pick: impl FnOnce(usize) -> usize) -> Option<NodeId> {
        let (_, rank) = self.ranks.last_key_value()?;
        rank.get(pick(rank.len())).copied()
    }

    /// All nodes with the highest score.
    #[cfg(test)]
    pub(crate) fn finalists(&self) -> &[NodeId] {
        self.ranks.last_key_value().map(|(_, rank)| rank.as_slice()).unwrap_or_default()
    }

    /// The score of a node that can hold such a pod.
    ///
    /// # Errors
    /// Who says that it cannot, and why.
    pub(crate) fn verdict(&self, node: NodeId) -> Verdict {
        match self.slots.get(node as usize) {
            Some(Slot::Fits(score, _)) => Ok(*score),
            Some(Slot::Refused(plugin, refusal)) => Err((plugin, refusal.clone())),
            Some(Slot::Absent) | None => Err(("", Refusal::unsuitable("node is gone"))),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
