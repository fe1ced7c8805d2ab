//! The turn of a pod in which extenders have a say, in steps, so that nobody else waits for their answers: the plugins say
//! which nodes can hold it, the extenders which of these and how well, and the best is taken that can hold it still.
//!
//! Such pods take their turns one after the other, as extenders know it from upstream.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::going::Going;
use super::{Decision, Loop};
use crate::cycle::{self, Found, Search};
use crate::extender::{self, Candidate, Extender};
use crate::fit::Unfit;
use crate::plugin::Refusal;
use crate::pod::Pending;
use crate::preemption::{self, Plan};
use crate::profile::Profile;
use crate::queue::{Failure, Turn};

/// Pods that wait for their turn with the extenders, the most important first.
#[derive(Default)]
pub(super) struct Parked {
    /// Whether one has its turn.
    busy: bool,
    count: u64,
    turns: BTreeMap<(Reverse<i32>, u64), Turn>,
}

/// Why a turn came to no node.
enum Trouble {
    Unfit(Box<Unfit>),
    /// An extender that is needed did not answer as it should.
    Failed(String),
}

impl Loop {
    /// Those who have a say where the pod goes.
    pub(super) fn asked(&self, pending: &Pending) -> impl Iterator<Item = &Extender> {
        self.extenders.iter().filter(|it| it.has_a_say() && it.is_interested(&pending.pod))
    }

    /// The pod has its turn when those before it had theirs.
    pub(super) fn park(self: &Arc<Self>, turn: Turn, priority: i32) {
        {
            let mut parked = self.parked.lock();
            let place = (Reverse(priority), parked.count);
            parked.count += 1;
            parked.turns.insert(place, turn);
            if std::mem::replace(&mut parked.busy, true) {
                return;
            }
        }
        let this = Arc::clone(self);
        self.tasks.spawn_until_stop(async move {
            let mut search = Search::default();
            while let Some(turn) = this.unpark() {
                this.extended_turn(turn, &mut search).await;
            }
        });
    }

    fn unpark(&self) -> Option<Turn> {
        let mut parked = self.parked.lock();
        let next = parked.turns.pop_first().map(|(_, turn)| turn);
        parked.busy = next.is_some();
        next
    }

    async fn extended_turn(self: &Arc<Self>, turn: Turn, search: &mut Search) {
        let Some(pending) = self.pending(&turn) else { return self.queue.remove(&turn.uid) };
        let Some(profile) = self.profiles.of(&pending.pod) else { return self.queue.remove(&turn.uid) };
        match self.seek(&pending, profile, search).await {
            Ok(going) => {
                let this = Arc::clone(self);
                self.tasks.spawn_until_stop(async move { this.go(going, None).await });
            }
            Err(Trouble::Unfit(unfit)) => {
                let decision = self.make_way(&pending, profile, unfit).await;
                let this = Arc::clone(self);
                self.tasks
                    .spawn_until_stop(async move { this.carry_out(decision, &turn, &pending, None).await });
            }
            Err(Trouble::Failed(why)) => {
                tracing::warn!(pod = %turn.key, why, "an extender failed");
                self.figures.attempt("error");
                self.queue.give_back(&turn.uid, Failure::Error);
                self.tell(&pending.pod, "SchedulerError", why, None).await;
            }
        }
    }

    /// Finds a node for the pod and takes its room there.
    async fn seek(
        &self,
        pending: &Pending,
        profile: &Profile,
        search: &mut Search,
    ) -> Result<Going, Trouble> {
        // First the node that others left for it, if they did; then all.
        for own in [true, false] {
            let found = {
                let mut snapshot = self.snapshot.lock();
                profile.track(pending, &mut snapshot);
                cycle::candidates(pending, &mut snapshot, profile, own, search)
            };
            let Found { names, mut unfit } = match found {
                Some(found) => found.map_err(Trouble::Unfit)?,
                None => continue,
            };
            let object = |name: &Arc<str>| self.feeds.nodes.get(name);
            let candidates =
                names.into_iter().map(|name| Candidate { object: object(&name), name }).collect();
            let left = self.sift(pending, candidates, &mut unfit).await.map_err(Trouble::Failed)?;
            if left.is_empty() {
                if own {
                    continue;
                }
                return Err(Trouble::Unfit(unfit));
            }
            let bonus = self.weigh(pending, &left).await;
            let left: Vec<Arc<str>> = left.into_iter().map(|candidate| candidate.name).collect();
            let mut snapshot = self.snapshot.lock();
            let node =
                cycle::best_of(pending, &mut snapshot, profile, &left, &bonus).map_err(Trouble::Unfit)?;
            return Ok(self.take(pending, profile, node, &mut snapshot));
        }
        Err(Trouble::Failed("no nodes were looked at".to_owned()))
    }

    /// Those of the candidates that all extenders leave.
    async fn sift(
        &self,
        pending: &Pending,
        mut candidates: Vec<Candidate>,
        unfit: &mut Unfit,
    ) -> Result<Vec<Candidate>, String> {
        for extender in self.asked(pending) {
            if candidates.is_empty() {
                break;
            }
            let filtered = match extender.filter(&pending.info.object, &candidates).await {
                Ok(filtered) => filtered,
                Err(why) if extender.ignorable => {
                    tracing::info!(
                        extender = extender.client.url(),
                        why,
                        "skipped: the extender is ignorable"
                    );
                    continue;
                }
                Err(why) => return Err(why),
            };
            candidates.retain(|candidate| {
                let name = &*candidate.name;
                if filtered.left.contains(name) {
                    return true;
                }
                unfit.plugins.insert(extender::NAME);
                if let Some(why) = filtered.unresolvable.get(name) {
                    unfit.refused(extender::NAME, Refusal::unsuitable(why), &candidate.name);
                } else if let Some(why) = filtered.failed.get(name) {
                    unfit.refused(extender::NAME, Refusal::crowded(why), &candidate.name);
                }
                false
            });
        }
        Ok(candidates)
    }

    /// What the extenders add to the nodes' scores. Who does not answer adds nothing.
    async fn weigh(&self, pending: &Pending, candidates: &[Candidate]) -> BTreeMap<String, i64> {
        let mut bonus: BTreeMap<String, i64> = BTreeMap::new();
        if candidates.len() < 2 {
            return bonus;
        }
        for extender in self.asked(pending) {
            match extender.prioritize(&pending.info.object, candidates).await {
                Ok(scores) => {
                    scores.into_iter().for_each(|(node, score)| *bonus.entry(node).or_default() += score)
                }
                Err(why) => {
                    tracing::debug!(extender = extender.client.url(), why, "no scores by this extender")
                }
            }
        }
        bonus
    }

    /// The pod fits nowhere: perhaps others make room for it, where the extenders say that it helps.
    async fn make_way(&self, pending: &Pending, profile: &Profile, mut unfit: Box<Unfit>) -> Decision {
        let (had, plans) = {
            let mut snapshot = self.snapshot.lock();
            let had = snapshot.nominated_node(pending.info.uid()).is_some();
            let ghosts = snapshot.conjure(pending);
            let plans = preemption::plans(pending, &mut snapshot, profile, &mut unfit);
            snapshot.banish(&ghosts);
            (had, plans)
        };
        let plans = match plans {
            Some(plans) => self.agree(pending, plans).await.map(Some),
            None => Ok(None),
        };
        let mut snapshot = self.snapshot.lock();
        let plan = match plans {
            Ok(Some(plans)) => preemption::best(pending, &mut snapshot, plans),
            Ok(None) => None,
            Err(why) => {
                tracing::warn!(pod = %pending.info.object.meta().key(), why, "an extender failed");
                None
            }
        };
        self.give_up(pending, profile, &mut snapshot, unfit, (plan, had))
    }

    /// The plans that the extenders agree to.
    async fn agree(&self, pending: &Pending, mut plans: Vec<Plan>) -> Result<Vec<Plan>, String> {
        for extender in self.asked(pending) {
            if plans.is_empty() {
                break;
            }
            let on = |node: &str, uid: &str| {
                let snapshot = self.snapshot.lock();
                snapshot.pods_of(node).find(|pod| **pod.uid() == *uid).cloned()
            };
            match extender.preempt(&pending.info.object, plans.clone(), on).await {
                Ok(agreed) => plans = agreed,
                Err(why) if extender.ignorable => {
                    tracing::info!(
                        extender = extender.client.url(),
                        why,
                        "skipped: the extender is ignorable"
                    );
                }
                Err(why) => return Err(why),
            }
        }
        Ok(plans)
    }
}
