//! The ranges that services get their addresses from: those of every ServiceCIDR that is ready and not on its way out.
//!
//! Read from the store with every allocation, so that no range is ever used a moment too long; what was read is kept
//! for as long as the objects stay the same.

use k8s_openapi::api::networking::v1::ServiceCIDR;
use skiff_store::Store;

use super::families::Family;
use super::range::Range;
use crate::stored::Stored;

/// Where ServiceCIDRs are stored.
pub(super) const TABLE: &str = "networking.k8s.io/servicecidrs";

/// What was read of the ServiceCIDRs, and at which revisions.
pub(super) struct Ranges {
    seen: Vec<u64>,
    ready: Vec<Range>,
    all: Vec<Range>,
}

impl Ranges {
    /// The server's own ranges, which count until there is any ServiceCIDR.
    pub(super) fn new(own: &[Range]) -> Self {
        Self { seen: Vec::new(), ready: own.to_vec(), all: own.to_vec() }
    }

    /// Takes in what has changed.
    pub(super) fn refresh(&mut self, store: &Store<Stored>) {
        let objects = store.snapshot(TABLE).objects;
        let revisions = objects.iter().map(|(_, stored)| stored.object().meta().revision);
        if objects.is_empty() || revisions.clone().eq(self.seen.iter().copied()) {
            return;
        }
        self.seen = revisions.collect();
        self.ready.clear();
        self.all.clear();
        for (_, stored) in &objects {
            let Ok(range) = stored.object().decode::<ServiceCIDR>() else { continue };
            let nets = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
            let nets: Vec<Range> = nets.filter_map(|text| text.parse().ok()).map(Range::new).collect();
            self.all.extend(&nets);
            if is_ready(&range) {
                self.ready.extend(nets);
            }
        }
    }

    /// Where somebody may choose an address.
    pub(super) fn ready(&self) -> &[Range] {
        &self.ready
    }

    /// Where addresses of a family are given unasked.
    pub(super) fn of(&self, family: Family) -> Vec<Range> {
        self.ready.iter().filter(|range| range.family() == family).copied().collect()
    }

    /// Every range, ready or not.
    pub(super) fn all(&self) -> &[Range] {
        &self.all
    }
}

/// Without a condition it counts as ready: whoever writes conditions may not run.
fn is_ready(range: &ServiceCIDR) -> bool {
    let conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    range.metadata.deletion_timestamp.is_none() && ready.is_none_or(|ready| ready.status == "True")
}
