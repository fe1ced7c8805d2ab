//! Which devices a pod's claims get on a node: a search with backtracking, the first solution counts.
//!
//! As upstream's allocator: one claim after the other, its requests in order, their alternatives in order, and for each
//! device that is wanted the candidates in order. Since constraints do not ask for an order, the devices of one request are
//! tried in one order only, which finds the same first solution. A search ends after a number of steps, not after a time:
//! the same cluster always gives the same answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::capacity::{self, Amounts};
use super::device::Device;
use super::inventory::{Counters, Pool, Reachable};
use super::taints::TaintRules;
use super::usage::Usage;
use super::wanted::{Ask, Claim, MOST, Mode};
use skiff_api::quantity::Quantity;

/// Candidates that are looked at for one node.
const FOR_A_NODE: u32 = 50_000;
/// Candidates that are looked at in one turn of a pod, on all nodes.
const FOR_A_TURN: u32 = 1_000_000;
/// In upstream's words, though it is steps that are counted.
const TIRED: &str = "timed out trying to allocate devices";

/// What is searched.
pub(crate) struct Scene<'a> {
    pub(crate) claims: &'a [Claim],
    pub(crate) usage: &'a Usage,
    pub(crate) taints: &'a TaintRules,
}

/// A device that is given to a request.
#[derive(Clone, Debug)]
pub(crate) struct Pick<'a> {
    /// Which of the claims.
    pub(crate) claim: usize,
    pub(crate) ask: &'a Ask,
    /// Which alternative of its request that is.
    pub(crate) rank: usize,
    pub(crate) device: &'a Arc<Device>,
    /// What it takes of a device that others may share.
    pub(crate) part: Option<Amounts>,
    pool: &'a Pool,
}

/// How much searching a turn may still do.
#[derive(Debug)]
pub(crate) struct Steps {
    left: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self { left: FOR_A_TURN }
    }
}

/// Finds devices for all claims among those that a node reaches; nothing if there are not enough.
///
/// # Errors
/// Why the search could not be carried through.
pub(crate) fn search<'a>(
    scene: &Scene<'a>,
    pools: &[Reachable<'a>],
    steps: &mut Steps,
) -> Result<Option<Vec<Pick<'a>>>, String> {
    let for_node = steps.left.min(FOR_A_NODE);
    let usable = pools.iter().filter(|reachable| reachable.pool.complete && reachable.pool.valid);
    let mut usable: Vec<_> = usable.collect();
    // Devices that must be made ready first are the last choice.
    usable.sort_by_key(|reachable| reachable.devices.iter().any(|device| device.must_be_made_ready()));
    let candidates = usable.into_iter().flat_map(|reachable| {
        reachable.devices.iter().map(|device| Candidate { pool: reachable.pool, device })
    });
    let mut search = Search {
        scene,
        candidates: candidates.collect(),
        all: HashMap::new(),
        picks: Vec::new(),
        spent: HashMap::new(),
        left: for_node,
    };
    let found = search.find_all(pools).and_then(|()| search.claim(0));
    steps.left -= for_node - search.left;
    match found? {
        true => Ok(Some(search.picks)),
        false if pools.iter().any(|reachable| reachable.pool.complete && !reachable.pool.valid) => {
            Err("invalid resource pools were encountered".to_owned())
        }
        false => Ok(None),
    }
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    pool: &'a Pool,
    device: &'a Arc<Device>,
}

/// A request: which claim's, which one, and which alternative.
type At = (usize, usize, usize);

struct Search<'s, 'a> {
    scene: &'s Scene<'a>,
    candidates: Vec<Candidate<'a>>,
    /// The candidates of requests that want all of them.
    all: HashMap<At, Rc<[usize]>>,
    /// What was decided so far.
    picks: Vec<Pick<'a>>,
    /// What devices in use consume of their pools' counters.
    spent: HashMap<&'a str, Counters>,
    left: u32,
}

impl<'a> Search<'_, 'a> {
    fn step(&mut self) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or_else(|| TIRED.to_owned())?;
        Ok(())
    }

    /// Finds out how much "all" is wherever that is asked for.
    fn find_all(&mut self, pools: &[Reachable<'a>]) -> Result<(), String> {
        for (claim, wanted) in self.scene.claims.iter().enumerate() {
            for (request, alternatives) in wanted.requests.iter().enumerate() {
                for (rank, ask) in alternatives.iter().enumerate().filter(|(_, ask)| ask.mode == Mode::All) {
                    let unfit =
                        |reachable: &&Reachable<'_>| !(reachable.pool.complete && reachable.pool.valid);
                    if let Some(Reachable { pool, .. }) = pools.iter().find(unfit) {
                        let state = if pool.complete { "invalid" } else { "being updated" };
                        return Err(format!(
                            "claim {}, request {}: asks for all devices, but resource pool {} is currently {state}",
                            wanted.key(),
                            ask.name,
                            pool.id
                        ));
                    }
                    let mut all = Vec::new();
                    for index in 0..self.candidates.len() {
                        self.step()?;
                        if ask.means(self.candidates[index].device)? {
                            all.push(index);
                        }
                    }
                    self.all.insert((claim, request, rank), all.into());
                }
            }
        }
        Ok(())
    }

    fn claim(&mut self, claim: usize) -> Result<bool, String> {
        if claim == self.scene.claims.len() { Ok(true) } else { self.request(claim, 0) }
    }

    fn request(&mut self, claim: usize, request: usize) -> Result<bool, String> {
        let claims = self.scene.claims;
        let Some(alternatives) = claims[claim].requests.get(request) else { return self.claim(claim + 1) };
        for (rank, ask) in alternatives.iter().enumerate() {
            let at = (claim, request, rank);
            let found = match ask.mode {
                Mode::Count(count) => self.some(at, ask, count, 0)?,
                Mode::All => self.every(at, ask)?,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds so many more devices for a request, among the candidates from one on, and all that is wanted after it.
    fn some(&mut self, at: At, ask: &'a Ask, wanted: usize, from: usize) -> Result<bool, String> {
        if wanted == 0 {
            return self.request(at.0, at.1 + 1);
        }
        if self.count(at.0) + wanted > MOST {
            return Ok(false);
        }
        for index in from..self.candidates.len() {
            self.step()?;
            let candidate = self.candidates[index];
            if self.is_taken(at.0, ask, candidate.device) || !ask.means(candidate.device)? {
                continue;
            }
            let Some(pick) = self.pick(at, ask, candidate).filter(|pick| self.is_allowed(pick)) else {
                continue;
            };
            self.picks.push(pick);
            // From this one on: it may be shared.
            if self.some(at, ask, wanted - 1, index)? {
                return Ok(true);
            }
            self.picks.pop();
        }
        Ok(false)
    }

    /// Takes all devices that a request means, and finds all that is wanted after it.
    fn every(&mut self, at: At, ask: &'a Ask) -> Result<bool, String> {
        let all = self.all.get(&at).cloned().unwrap_or_default();
        if all.is_empty() || self.count(at.0) + all.len() > MOST {
            return Ok(false);
        }
        let before = self.picks.len();
        for index in all.iter() {
            self.step()?;
            let candidate = self.candidates[*index];
            let free = !self.is_taken(at.0, ask, candidate.device);
            let Some(pick) = free.then(|| self.pick(at, ask, candidate)).flatten() else {
                self.picks.truncate(before);
                return Ok(false);
            };
            if !self.is_allowed(&pick) {
                return Err(format!(
                    "claim {}, request {}: cannot add device {} because a claim constraint would not be satisfied",
                    self.scene.claims[at.0].key(),
                    ask.name,
                    candidate.device.id
                ));
            }
            self.picks.push(pick);
        }
        let found = self.request(at.0, at.1 + 1)?;
        if !found {
            self.picks.truncate(before);
        }
        Ok(found)
    }

    /// How many devices a claim has so far.
    fn count(&self, claim: usize) -> usize {
        self.picks.iter().rev().take_while(|pick| pick.claim == claim).count()
    }

    /// Whether somebody has the device for himself, be it one of these claims.
    fn is_taken(&self, claim: usize, ask: &Ask, device: &Device) -> bool {
        let mut own = self.picks.iter().filter(|pick| pick.device.id == device.id && pick.part.is_none());
        if ask.admin {
            return own.any(|pick| pick.claim == claim);
        }
        self.scene.usage.is_taken(&device.id) || own.next().is_some()
    }

    /// The device for the request, if it has enough left and no taint is in the way.
    fn pick(&mut self, (claim, _, rank): At, ask: &'a Ask, candidate: Candidate<'a>) -> Option<Pick<'a>> {
        let Candidate { pool, device } = candidate;
        let shared = device.is_shared() && !ask.admin;
        let amounts = capacity::taken(&ask.capacity, device)?;
        if shared && !self.has_left(device, &amounts) {
            return None;
        }
        if !self.has_counters(candidate) || self.scene.taints.forbid(device, &ask.tolerations) {
            return None;
        }
        Some(Pick { claim, ask, rank, device, part: shared.then_some(amounts), pool })
    }

    /// Whether so much of a shared device is left.
    fn has_left(&self, device: &Device, wanted: &Amounts) -> bool {
        let parts = self.picks.iter().filter(|pick| pick.device.id == device.id);
        let parts: Vec<&Amounts> = parts.filter_map(|pick| pick.part.as_ref()).collect();
        wanted.iter().all(|(name, amount)| {
            let total = device.spec.capacity.as_ref().and_then(|capacity| capacity.get(name));
            let total = total.and_then(|total| Quantity::try_from(&total.value).ok()).unwrap_or_default();
            let name_at_large = capacity::whole_name(&device.driver, name);
            let mut sum = self.scene.usage.consumed(&device.id, &name_at_large) + *amount;
            parts.iter().filter_map(|part| part.get(name)).for_each(|part| sum += *part);
            sum <= total
        })
    }

    /// Whether the counters of its pool suffice for one more device.
    fn has_counters(&mut self, candidate: Candidate<'a>) -> bool {
        let Candidate { pool, device } = candidate;
        let asked = consumption(device);
        if asked.is_empty() || self.picks.iter().any(|pick| pick.device.id == device.id) {
            return true;
        }
        let usage = self.scene.usage;
        if usage.is_used(&device.id) {
            return true;
        }
        let spent = self.spent.entry(&pool.id).or_insert_with(|| {
            let used = pool.devices.iter().filter(|device| usage.is_used(&device.id));
            let mut spent = Counters::new();
            used.for_each(|device| add(&mut spent, consumption(device)));
            spent
        });
        let mut sum = spent.clone();
        let mut own: Vec<&Arc<Device>> = Vec::new();
        for pick in self.picks.iter().filter(|pick| pick.pool.id == pool.id) {
            // A device that several share, or that is in use already, consumes once.
            let counted =
                usage.is_used(&pick.device.id) || own.iter().any(|known| known.id == pick.device.id);
            if !counted {
                own.push(pick.device);
            }
        }
        own.into_iter().for_each(|device| add(&mut sum, consumption(device)));
        add(&mut sum, asked.clone());
        asked.keys().all(|counter| {
            let total = pool.counters.get(counter).copied().unwrap_or_default();
            sum.get(counter).copied().unwrap_or_default() <= total
        })
    }

    /// Whether the claim's constraints allow one more device.
    fn is_allowed(&self, pick: &Pick<'_>) -> bool {
        let constraints = &self.scene.claims[pick.claim].constraints;
        constraints.iter().all(|constraint| {
            let own = self.picks.iter().filter(|other| other.claim == pick.claim);
            constraint.allows(pick.ask, pick.device, own.map(|other| (other.ask, &**other.device)))
        })
    }
}

/// What a device consumes of its pool's counters.
fn consumption(device: &Device) -> Counters {
    let sets = device.spec.consumes_counters.iter().flatten();
    sets.flat_map(|set| {
        set.counters.iter().map(|(name, counter)| {
            let amount = Quantity::try_from(&counter.value).unwrap_or_default();
            ((set.counter_set.clone(), name.clone()), amount)
        })
    })
    .collect()
}

fn add(sum: &mut Counters, more: Counters) {
    for (counter, amount) in more {
        *sum.entry(counter).or_default() += amount;
    }
}
