//! One namespace's quotas, what each of its objects counts as, the sums, and what is on its way; pure.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use skiff_api::pod::totals::{Totals, parsed};
use skiff_api::quantity::Quantity;

use super::scope::Term;
use super::usage::{self, Counted};

/// What a write adds, by quota.
pub(super) type Deltas = BTreeMap<Box<str>, Totals>;

/// A namespace with quotas.
#[derive(Default)]
pub(super) struct Space {
    quotas: BTreeMap<Box<str>, Quota>,
    /// By uid.
    charges: HashMap<Arc<str>, Charge>,
    pending: BTreeMap<u64, Pending>,
    /// When each table was last counted anew.
    counted_at: HashMap<Arc<str>, u64>,
}

struct Quota {
    hard: Totals,
    terms: Vec<Term>,
    used: Totals,
    /// What its stored status says: hard, used.
    published: (Totals, Totals),
}

struct Charge {
    table: Arc<str>,
    revision: u64,
    counted: Counted,
}

/// A write on its way.
struct Pending {
    table: Box<str>,
    uid: Box<str>,
    /// The revision that it replaces; nothing for a create.
    base: Option<u64>,
    deltas: Deltas,
    committed: Option<u64>,
}

impl Quota {
    /// The resources of the quota that objects of a table count towards.
    fn restricted<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a String> {
        self.hard.keys().filter(move |name| usage::table_of(name).as_deref() == Some(table))
    }

    fn counts(&self, counted: &Counted) -> bool {
        self.terms.iter().all(|term| term.holds(&counted.traits))
    }

    /// Adds or takes away what an object counts as.
    fn apply(&mut self, counted: &Counted, with: fn(&mut Quantity, Quantity)) {
        if self.counts(counted) {
            for (name, amount) in counted.usage.iter().filter(|(name, _)| self.hard.contains_key(*name)) {
                with(self.used.entry(name.clone()).or_default(), *amount);
            }
        }
    }
}

impl Space {
    /// Takes in the namespace's quotas as stored; the tables to count anew, since a quota is new or counts otherwise.
    pub(super) fn set(&mut self, stored: &[Arc<ResourceQuota>]) -> BTreeSet<Arc<str>> {
        let mut anew = BTreeSet::new();
        let mut quotas = BTreeMap::new();
        for object in stored {
            let name: Box<str> = object.metadata.name.as_deref().unwrap_or_default().into();
            let spec = object.spec.clone().unwrap_or_default();
            let status = object.status.clone().unwrap_or_default();
            let (hard, terms) = (parsed(spec.hard.as_ref()), Term::of(&spec));
            let before = self.quotas.remove(&name);
            let same = before
                .as_ref()
                .is_some_and(|before| before.terms == terms && before.hard.keys().eq(hard.keys()));
            if !same {
                anew.extend(hard.keys().filter_map(|name| usage::table_of(name)));
            }
            let used = before.filter(|_| same).map(|before| before.used).unwrap_or_default();
            let published = (parsed(status.hard.as_ref()), parsed(status.used.as_ref()));
            quotas.insert(name, Quota { hard, terms, used, published });
        }
        self.quotas = quotas;
        anew
    }

    /// Whether some quota counts objects of the table.
    pub(super) fn follows(&self, table: &str) -> bool {
        self.counted_at.contains_key(table)
    }

    /// The tables that its quotas count.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<str>> {
        self.counted_at.keys()
    }

    /// Counts a table anew: these are all its objects in the namespace, at this revision.
    pub(super) fn recount(
        &mut self,
        table: &Arc<str>,
        at: u64,
        objects: impl Iterator<Item = (Arc<str>, u64, Counted)>,
    ) {
        self.charges.retain(|_, charge| charge.table != *table);
        for quota in self.quotas.values_mut() {
            let names: Vec<String> = quota.restricted(table).cloned().collect();
            names.iter().for_each(|name| {
                quota.used.remove(name);
            });
        }
        let mut revisions = HashMap::new();
        for (uid, revision, counted) in objects {
            revisions.insert(Arc::clone(&uid), revision);
            self.charge(table, uid, revision, counted);
        }
        self.counted_at.insert(Arc::clone(table), at);
        self.pending.retain(|_, pending| {
            let seen = match (pending.base, revisions.get(&*pending.uid)) {
                (None, found) => found.is_some(),
                (Some(base), Some(found)) => *found != base,
                (Some(_), None) => true,
            };
            let over = pending.committed.is_some_and(|revision| revision <= at);
            *pending.table != **table || !seen && !over
        });
    }

    fn charge(&mut self, table: &Arc<str>, uid: Arc<str>, revision: u64, mut counted: Counted) {
        let quotas = &mut self.quotas;
        counted.usage.retain(|name, _| quotas.values().any(|quota| quota.hard.contains_key(name)));
        quotas.values_mut().for_each(|quota| quota.apply(&counted, |sum, more| *sum += more));
        self.charges.insert(uid, Charge { table: Arc::clone(table), revision, counted });
    }

    fn discharge(&mut self, uid: &str) {
        let Some(charge) = self.charges.remove(uid) else { return };
        self.quotas.values_mut().for_each(|quota| quota.apply(&charge.counted, |sum, less| *sum -= less));
    }

    /// An object was written: it replaces `base`, and counts as this from now on; nothing if it is gone.
    pub(super) fn wrote(
        &mut self,
        table: &Arc<str>,
        uid: &Arc<str>,
        base: Option<u64>,
        revision: u64,
        counted: Option<Counted>,
    ) {
        self.pending.retain(|_, pending| *pending.uid != **uid || pending.base != base);
        if self.charges.get(uid).is_some_and(|charge| charge.revision >= revision) {
            return;
        }
        self.discharge(uid);
        if let Some(counted) = counted {
            self.charge(table, Arc::clone(uid), revision, counted);
        }
    }

    /// Whether an object may be written, and what it would add.
    ///
    /// # Errors
    /// Upstream's words.
    pub(super) fn judge(&self, table: &str, new: &dyn Any, old: Option<&dyn Any>) -> Result<Deltas, String> {
        let counted = usage::of_typed(table, new);
        let before = old.map(|old| usage::of_typed(table, old));
        let counting: Vec<(&Box<str>, &Quota)> = self
            .quotas
            .iter()
            .filter(|(_, quota)| quota.counts(&counted) && quota.restricted(table).next().is_some())
            .collect();
        for (name, quota) in &counting {
            if let Some(unsaid) = usage::unsaid(new, quota.restricted(table)) {
                return Err(format!("failed quota: {name}: must specify {unsaid}"));
            }
        }
        let negative: Vec<&str> = counted
            .usage
            .iter()
            .filter(|(_, amount)| amount.is_negative())
            .map(|(name, _)| name.as_str())
            .collect();
        if !negative.is_empty() && !counting.is_empty() {
            return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
        }
        let mut deltas = Deltas::new();
        for (name, quota) in counting {
            let before = before.as_ref().filter(|before| quota.counts(before));
            let more = |(name, amount): (&String, &Quantity)| {
                let held = before.and_then(|before| before.usage.get(name)).copied().unwrap_or_default();
                (name.clone(), *amount - held)
            };
            let asked = counted.usage.iter().filter(|(name, _)| quota.hard.contains_key(*name)).map(more);
            let asked: Totals =
                asked.filter(|(_, amount)| !amount.is_zero() && !amount.is_negative()).collect();
            self.room(name, quota, &asked)?;
            if !asked.is_empty() {
                deltas.insert(name.clone(), asked);
            }
        }
        Ok(deltas)
    }

    fn room(&self, name: &str, quota: &Quota, asked: &Totals) -> Result<(), String> {
        let waiting = |resource: &String| -> Quantity {
            let deltas = self.pending.values().filter_map(|pending| pending.deltas.get(name)?.get(resource));
            deltas.copied().sum()
        };
        let used =
            |resource: &String| quota.used.get(resource).copied().unwrap_or_default() + waiting(resource);
        let over: Vec<(&String, &Quantity)> = asked
            .iter()
            .filter(|(resource, more)| {
                quota.hard.get(*resource).is_some_and(|hard| used(resource) + **more > *hard)
            })
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        let listed = |amount: &dyn Fn(&String, Quantity) -> Quantity| {
            let pairs =
                over.iter().map(|(resource, more)| format!("{resource}={}", amount(resource, **more)));
            pairs.collect::<Vec<_>>().join(",")
        };
        Err(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            listed(&|_, more| more),
            listed(&|resource, _| used(resource)),
            listed(&|resource, _| quota.hard.get(resource).copied().unwrap_or_default()),
        ))
    }

    /// Holds what a write of the object `uid` adds until it ends; `base` is the revision that it replaces.
    pub(super) fn reserve(&mut self, id: u64, table: &str, uid: &str, base: Option<u64>, deltas: Deltas) {
        let pending = Pending { table: table.into(), uid: uid.into(), base, deltas, committed: None };
        self.pending.insert(id, pending);
    }

    /// The write of a reservation succeeded.
    pub(super) fn commit(&mut self, id: u64, revision: u64) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        if self.counted_at.get(&*pending.table).is_none_or(|at| *at >= revision) {
            self.pending.remove(&id);
        } else {
            pending.committed = Some(revision);
        }
    }

    /// The write of a reservation failed.
    pub(super) fn release(&mut self, id: u64) {
        self.pending.remove(&id);
    }

    /// The statuses that no longer say what is.
    pub(super) fn stale(&self) -> impl Iterator<Item = (&str, ResourceQuotaStatus)> {
        self.quotas.iter().filter_map(|(name, quota)| {
            let used: Totals = quota
                .hard
                .keys()
                .map(|name| (name.clone(), quota.used.get(name).copied().unwrap_or_default()))
                .collect();
            if quota.published.0 == quota.hard && quota.published.1 == used {
                return None;
            }
            let texts = |totals: &Totals| {
                totals
                    .iter()
                    .map(|(name, amount)| (name.clone(), amount.to_text()))
                    .collect::<BTreeMap<_, _>>()
            };
            let status = ResourceQuotaStatus { hard: Some(texts(&quota.hard)), used: Some(texts(&used)) };
            Some((&**name, status))
        })
    }
}

#[cfg(test)]
mod tests;
