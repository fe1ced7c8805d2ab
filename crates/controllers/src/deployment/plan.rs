//! What to do next about a deployment's replica sets; pure.
//!
//! One plan is one move: after it the sets change, which wakes the controller again. The arithmetic is upstream's
//! (`pkg/controller/deployment`): never more pods than wanted plus surge, never fewer available than wanted minus
//! unavailable.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::revision;
use crate::shared::pods::manager;
use crate::shared::revisions;

/// One write.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Makes the replica set of the present template.
    Create(Box<ReplicaSet>),
    /// Changes how many pods a set keeps.
    Scale(Arc<ReplicaSet>, i32),
    /// Brings a set's annotations and readiness time up to date.
    Update(Box<ReplicaSet>),
    /// Removes a set that nobody will go back to.
    Delete(Arc<ReplicaSet>),
}

/// A deployment and its replica sets as they are.
pub(super) struct Scene<'a> {
    pub(super) deployment: &'a Deployment,
    /// The set of the present template.
    pub(super) new: Option<Arc<ReplicaSet>>,
    /// All others, from old to new.
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

/// How many pods a set is to keep.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// A count, or a share of the wanted replicas.
fn amount(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    match value {
        Some(IntOrString::Int(count)) => *count,
        Some(IntOrString::String(text)) => {
            let share: i64 = text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
            let product = share * i64::from(of);
            i32::try_from(if up { (product + 99) / 100 } else { product / 100 }).unwrap_or(i32::MAX)
        }
        None => 0,
    }
}

impl<'a> Scene<'a> {
    pub(super) fn new(deployment: &'a Deployment, sets: &[Arc<ReplicaSet>]) -> Self {
        let sets = revision::by_age(sets);
        let new = sets.iter().find(|set| revision::is_current(deployment, set)).cloned();
        let is_new = |set: &Arc<ReplicaSet>| new.as_ref().is_some_and(|new| Arc::ptr_eq(new, set));
        let old = sets.iter().filter(|set| !is_new(set)).cloned().collect();
        Self { deployment, new, old }
    }

    pub(super) fn wanted(&self) -> i32 {
        self.deployment.spec.replicas.unwrap_or(1)
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.deployment.spec.strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
    }

    /// How many more, and how many fewer pods than wanted there may be for a while.
    pub(super) fn slack(&self) -> (i32, i32) {
        let strategy = self.deployment.spec.strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let Some(rolling) = rolling.filter(|_| self.is_rolling() && self.wanted() > 0) else { return (0, 0) };
        let surge = amount(rolling.max_surge.as_ref(), self.wanted(), true);
        let unavailable = amount(rolling.max_unavailable.as_ref(), self.wanted(), false);
        // Rounding must not bring the roll-out to a halt.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable.min(self.wanted())) }
    }

    fn max(&self) -> i32 {
        self.wanted().saturating_add(self.slack().0)
    }

    /// All sets, from old to new.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    fn total(&self) -> i32 {
        self.all().map(|set| replicas(set)).sum()
    }

    fn available(&self) -> i32 {
        self.all().map(|set| available(set)).sum()
    }

    /// The revision that the present template has or shall get.
    pub(super) fn revision(&self) -> i64 {
        let latest = self.old.iter().map(|set| revision::of(set)).max().unwrap_or(0);
        let own = self.new.as_ref().map_or(0, |set| revision::of(set));
        own.max(latest + 1)
    }

    /// The next move; `old_pods`: whether any pod of an old set is still about.
    pub(super) fn next(&self, old_pods: bool) -> Vec<Step> {
        let paused = self.deployment.spec.paused == Some(true);
        if paused || self.is_scaled() {
            let steps = self.scale();
            return if steps.is_empty() && paused { self.clean_up() } else { steps };
        }
        if let Some(step) = self.refresh() {
            return vec![step];
        }
        let steps = if self.is_rolling() { self.roll() } else { self.recreate(old_pods) };
        if steps.is_empty() && self.is_complete() { self.clean_up() } else { steps }
    }

    /// True if some set was last looked at for another number of replicas.
    fn is_scaled(&self) -> bool {
        self.all().filter(|set| replicas(set) > 0).any(|set| {
            let desired = revision::number(set.metadata.annotations.as_ref(), revision::DESIRED);
            desired.is_some_and(|desired| desired != i64::from(self.wanted()))
        })
    }

    /// The wanted number changed: shared out over the active sets in proportion, the biggest taking what is left over.
    fn scale(&self) -> Vec<Step> {
        let active: Vec<&Arc<ReplicaSet>> = self.all().filter(|set| replicas(set) > 0).collect();
        let latest = self.new.as_ref().or_else(|| self.old.last());
        let only = match active.as_slice() {
            [] => latest,
            [only] => Some(*only),
            _ => None,
        };
        if let Some(set) = only {
            return if replicas(set) == self.wanted() && !self.is_scaled() {
                Vec::new()
            } else {
                vec![Step::Scale(Arc::clone(set), self.wanted())]
            };
        }
        if let Some(new) = self.new.as_ref().filter(|new| {
            replicas(new) == self.wanted() && available(new) == self.wanted() && !self.is_scaled()
        }) {
            let olds = active.into_iter().filter(|set| !Arc::ptr_eq(set, new));
            return olds.map(|set| Step::Scale(Arc::clone(set), 0)).collect();
        }
        if !self.is_rolling() || !self.is_scaled() {
            return Vec::new();
        }
        self.share(active)
    }

    fn share(&self, mut active: Vec<&Arc<ReplicaSet>>) -> Vec<Step> {
        let total = self.total();
        let allowed = if self.wanted() > 0 { self.max() } else { 0 };
        let more = allowed - total;
        // The biggest first; among equals the newest when growing, the oldest when shrinking.
        if more > 0 {
            active.reverse();
        }
        active.sort_by_key(|set| std::cmp::Reverse(replicas(set)));
        let mut left = more;
        let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
        for set in &active {
            let size = replicas(set);
            let before =
                revision::number(set.metadata.annotations.as_ref(), "deployment.kubernetes.io/max-replicas");
            let before = before.filter(|max| *max > 0).unwrap_or(i64::from(total.max(1)));
            let exact = f64::from(size) * f64::from(allowed) / before as f64;
            #[expect(clippy::cast_possible_truncation, reason = "counts of pods are small")]
            let part = exact.round() as i32 - size;
            let part = if more > 0 { part.clamp(0, left.max(0)) } else { part.clamp(left.min(0), 0) };
            left -= part;
            sizes.push(size + part);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + left).max(0);
        }
        active.iter().zip(sizes).map(|(set, size)| Step::Scale(Arc::clone(set), size)).collect()
    }

    /// The current set's annotations and readiness time, if they are not as they should be.
    fn refresh(&self) -> Option<Step> {
        let new = self.new.as_ref()?;
        let old = new.metadata.annotations.as_ref();
        let wanted = revision::annotations(self.deployment, old, self.revision(), self.max());
        let ready = self.deployment.spec.min_ready_seconds;
        if old == Some(&wanted) && new.spec.min_ready_seconds.unwrap_or(0) == ready.unwrap_or(0) {
            return None;
        }
        let mut set = ReplicaSet::clone(new);
        set.metadata.annotations = Some(wanted);
        set.spec.min_ready_seconds = ready;
        Some(Step::Update(Box::new(set)))
    }

    fn roll(&self) -> Vec<Step> {
        let Some(new) = &self.new else { return vec![self.create(self.grown(0))] };
        let grown = self.grown(replicas(new));
        if grown != replicas(new) {
            return vec![Step::Scale(Arc::clone(new), grown)];
        }
        self.shrink(new)
    }

    /// How many pods the new set may have by now.
    fn grown(&self, now: i32) -> i32 {
        if now > self.wanted() {
            return self.wanted();
        }
        let room = (self.max() - self.total()).max(0);
        now + room.min(self.wanted() - now)
    }

    /// Old sets give up pods: those that do not work first, then as many as the new ones have replaced.
    fn shrink(&self, new: &Arc<ReplicaSet>) -> Vec<Step> {
        let least = self.wanted() - self.slack().1;
        let pending = (replicas(new) - available(new)).max(0);
        let mut room = self.total() - least - pending;
        let mut sizes: Vec<i32> = self.old.iter().map(|set| replicas(set)).collect();
        if room <= 0 || sizes.iter().all(|size| *size == 0) {
            return Vec::new();
        }
        for (set, size) in self.old.iter().zip(&mut sizes) {
            let broken = (*size - available(set)).max(0).min(room);
            *size -= broken;
            room -= broken;
        }
        let mut spare = (self.available() - least).max(0).min(room.max(0));
        for size in &mut sizes {
            let gone = (*size).min(spare);
            *size -= gone;
            spare -= gone;
        }
        let changed = self.old.iter().zip(sizes).filter(|(set, size)| replicas(set) != *size);
        changed.map(|(set, size)| Step::Scale(Arc::clone(set), size)).collect()
    }

    /// All old pods go before the first new one comes.
    fn recreate(&self, old_pods: bool) -> Vec<Step> {
        let active: Vec<_> = self.old.iter().filter(|set| replicas(set) > 0).collect();
        if !active.is_empty() {
            return active.into_iter().map(|set| Step::Scale(Arc::clone(set), 0)).collect();
        }
        match &self.new {
            _ if old_pods => Vec::new(),
            None => vec![self.create(self.wanted())],
            Some(new) if replicas(new) != self.wanted() => vec![Step::Scale(Arc::clone(new), self.wanted())],
            Some(_) => Vec::new(),
        }
    }

    fn create(&self, size: i32) -> Step {
        let deployment = self.deployment;
        let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
        let hash = revisions::hash(&deployment.spec.template, collisions);
        let mut template = deployment.spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(revision::HASH.to_owned(), hash.clone());
        let labels = labels.clone();
        let mut selector = deployment.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(revision::HASH.to_owned(), hash.clone());
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        Step::Create(Box::new(ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{name}-{hash}")),
                namespace: deployment.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: Some(revision::annotations(deployment, None, self.revision(), self.max())),
                owner_references: Some(vec![manager(deployment)]),
                ..ObjectMeta::default()
            },
            spec: ReplicaSetSpec {
                replicas: Some(size),
                min_ready_seconds: deployment.spec.min_ready_seconds,
                selector,
                template: Some(template),
            },
            status: None,
        }))
    }

    /// True once all pods are new and available.
    pub(super) fn is_complete(&self) -> bool {
        let Some(new) = &self.new else { return false };
        let gone = self
            .old
            .iter()
            .all(|set| replicas(set) == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0));
        gone && replicas(new) == self.wanted() && available(new) == self.wanted()
    }

    /// Old sets beyond the history that is to be kept.
    fn clean_up(&self) -> Vec<Step> {
        let limit = self.deployment.spec.revision_history_limit.unwrap_or(10);
        let mut idle: Vec<&Arc<ReplicaSet>> = self
            .old
            .iter()
            .filter(|set| {
                let status = set.status.clone().unwrap_or_default();
                replicas(set) == 0
                    && status.replicas == 0
                    && status.observed_generation >= set.metadata.generation
                    && set.metadata.deletion_timestamp.is_none()
            })
            .collect();
        idle.sort_by_key(|set| revision::of(set));
        let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        idle.into_iter().take(surplus).map(|set| Step::Delete(Arc::clone(set))).collect()
    }

    /// A set as it is to be after a scaling: the number, and the annotations that remember it.
    pub(super) fn resized(&self, set: &ReplicaSet, size: i32) -> ReplicaSet {
        let mut wanted = set.clone();
        wanted.spec.replicas = Some(size);
        wanted
            .metadata
            .annotations
            .get_or_insert_default()
            .extend(revision::counts(self.wanted(), self.max()));
        wanted
    }
}
