//! How fast nodes may be emptied: the more of a zone is silent, the more likely the fault is between us and them.
//!
//! Follows upstream's node lifecycle controller: one node in ten seconds while a zone is well; one in a hundred seconds
//! when more than half of a large zone is ill, none when the zone is small; none at all when nobody anywhere is well.
//! Counts are kept as nodes are judged, so a verdict costs as much as there are zones.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use tokio::time::Instant;

/// One node in so long.
const USUAL: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_secs(100);
/// From this share of ill nodes on, in hundredths, a zone is disrupted.
const DISRUPTED: usize = 55;
/// Zones with more nodes go on slowly.
const LARGE: usize = 50;
/// How long until a zone in which nothing may be done is looked at again.
const LATER: Duration = Duration::from_secs(5);

/// Region and zone of a node.
pub(super) fn of(node: &Node) -> Box<str> {
    let label = |key: &str| {
        let labels = node.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(key)).map(String::as_str).unwrap_or_default()
    };
    format!("{}:{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone")).into()
}

/// What is known of all zones.
#[derive(Debug, Default)]
pub(super) struct Zones {
    nodes: HashMap<Box<str>, (Box<str>, bool)>,
    zones: HashMap<Box<str>, Zone>,
}

#[derive(Debug, Default)]
struct Zone {
    well: usize,
    ill: usize,
    /// When the next node may be emptied.
    next: Option<Instant>,
}

impl Zone {
    /// The time between two nodes; nothing if none may be emptied.
    fn pace(&self) -> Option<Duration> {
        let all = self.well + self.ill;
        let disrupted = self.ill > 2 && self.ill * 100 >= all * DISRUPTED;
        match disrupted && self.well > 0 {
            false => Some(USUAL),
            true if all > LARGE => Some(SLOW),
            true => None,
        }
    }
}

impl Zones {
    /// Takes in how a node is.
    pub(super) fn judge(&mut self, node: &str, zone: Box<str>, well: bool) {
        self.forget(node);
        let counted = self.zones.entry(zone.clone()).or_default();
        *(if well { &mut counted.well } else { &mut counted.ill }) += 1;
        self.nodes.insert(node.into(), (zone, well));
    }

    /// The node is gone.
    pub(super) fn forget(&mut self, node: &str) {
        if let Some((zone, well)) = self.nodes.remove(node)
            && let Some(counted) = self.zones.get_mut(&zone)
        {
            *(if well { &mut counted.well } else { &mut counted.ill }) -= 1;
        }
    }

    /// Whether a node of the zone may be emptied now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn may_empty(&mut self, zone: &str, now: Instant) -> Result<(), Duration> {
        // Nobody is well anywhere: it must be us.
        if self.zones.values().all(|zone| zone.well == 0) {
            return Err(LATER);
        }
        let Some(zone) = self.zones.get_mut(zone) else { return Ok(()) };
        let pace = zone.pace().ok_or(LATER)?;
        match zone.next {
            Some(next) if next > now => Err(next - now),
            _ => {
                zone.next = Some(now + pace);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(given: &[(&str, usize, usize)]) -> Zones {
        let mut zones = Zones::default();
        for (zone, well, ill) in given {
            for index in 0..*well {
                zones.judge(&format!("{zone}-well-{index}"), (*zone).into(), true);
            }
            for index in 0..*ill {
                zones.judge(&format!("{zone}-ill-{index}"), (*zone).into(), false);
            }
        }
        zones
    }

    #[test]
    fn the_iller_a_zone_the_slower_it_is_emptied() {
        let now = Instant::now();
        for (given, first, second) in [
            (vec![("a", 2, 1)], Ok(()), Err(USUAL)),
            (vec![("a", 0, 3)], Err(LATER), Err(LATER)),
            // A zone that is wholly gone is emptied while another one lives.
            (vec![("a", 0, 3), ("b", 1, 0)], Ok(()), Err(USUAL)),
            (vec![("a", 2, 3)], Err(LATER), Err(LATER)),
            (vec![("a", 20, 40)], Ok(()), Err(SLOW)),
        ] {
            let mut zones = zones(&given);
            assert_eq!(zones.may_empty("a", now), first, "{given:?}");
            assert_eq!(zones.may_empty("a", now), second, "{given:?}");
        }
    }

    #[test]
    fn nodes_are_counted_where_they_are_now() {
        let mut zones = zones(&[("a", 2, 0)]);
        zones.judge("a-well-0", "b".into(), false);
        zones.forget("a-well-1");
        assert_eq!(zones.may_empty("b", Instant::now()), Err(LATER));
        zones.judge("c", "c".into(), true);
        assert_eq!(zones.may_empty("b", Instant::now()), Ok(()));
    }
}
