//! Whether the node is short, from how much of each thing is left; pure.
//!
//! Follows upstream's `pkg/kubelet/eviction`: a threshold that is crossed stays so until its minimum reclaim is free as well; one
//! with a grace period moves nothing until that has passed; a condition, once said, is said for a while longer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::settings::{Settings, Threshold};
use super::signal::{Condition, Pressure, Signal};

/// How much of something there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) available: u64,
    pub(crate) capacity: u64,
}

/// What the machine has of each thing; what it does not tell is not there.
pub(crate) type Levels = BTreeMap<Signal, Level>;

/// What is remembered from one look to the next. Thresholds are known by their place, times since the beginning.
#[derive(Debug, Default)]
pub(crate) struct Before {
    crossed_at: BTreeMap<usize, Duration>,
    due: BTreeSet<usize>,
    short_at: BTreeMap<Condition, Duration>,
}

/// Something of which there must be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) threshold: Threshold,
    /// What must be free.
    pub(crate) least: u64,
    pub(crate) available: u64,
}

/// What a look came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assessment {
    /// What the node says of itself.
    pub(crate) pressure: Pressure,
    /// What pods must make room for; memory first.
    pub(crate) shortages: Vec<Shortage>,
}

fn shortage(threshold: &Threshold, levels: &Levels, and_reclaim: bool) -> Option<Shortage> {
    let level = levels.get(&threshold.signal)?;
    let least = threshold.least.of(level.capacity);
    let more = threshold.reclaim.filter(|_| and_reclaim).map_or(0, |more| more.of(level.capacity));
    let short = level.available < least.saturating_add(more);
    short.then_some(Shortage { threshold: *threshold, least, available: level.available })
}

/// Compares what there is `now` with what must be.
pub(crate) fn assess(settings: &Settings, before: &mut Before, levels: &Levels, now: Duration) -> Assessment {
    let numbered = settings.thresholds.iter().enumerate();
    let crossed: BTreeMap<usize, Shortage> = numbered
        .filter_map(|(place, threshold)| {
            Some((place, shortage(threshold, levels, before.due.contains(&place))?))
        })
        .collect();
    before.crossed_at.retain(|place, _| crossed.contains_key(place));
    before.due.clear();
    for (place, shortage) in &crossed {
        before.short_at.insert(shortage.threshold.signal.condition(), now);
        let since = *before.crossed_at.entry(*place).or_insert(now);
        if now.saturating_sub(since) >= shortage.threshold.grace {
            before.due.insert(*place);
        }
    }
    let pressure = Pressure::of(|condition| {
        let at = before.short_at.get(&condition);
        at.is_some_and(|at| *at == now || now.saturating_sub(*at) < settings.transition)
    });
    let mut shortages: Vec<Shortage> =
        before.due.iter().filter_map(|place| crossed.get(place).copied()).collect();
    shortages.sort_by_key(|shortage| shortage.threshold.signal != Signal::MemoryAvailable);
    Assessment { pressure, shortages }
}

/// Whether enough of everything is free, minimum reclaims included.
pub(crate) fn is_enough(settings: &Settings, levels: &Levels) -> bool {
    settings.thresholds.iter().all(|threshold| shortage(threshold, levels, true).is_none())
}

#[cfg(test)]
mod tests {
    use super::super::settings::Flags;
    use super::*;

    /// Looks at `second value` pairs of available memory (of 1000) in turn; each told as conditions and shortages.
    fn told(flags: &Flags<'_>, looks: &[(u64, u64)]) -> Vec<String> {
        let settings = Settings::read(flags).unwrap();
        let mut before = Before::default();
        let look = |(second, available): &(u64, u64)| {
            let level = Level { available: *available, capacity: 1000 };
            let levels = Levels::from([(Signal::MemoryAvailable, level)]);
            let seen = assess(&settings, &mut before, &levels, Duration::from_secs(*second));
            let short =
                seen.shortages.iter().map(|one| if one.threshold.is_hard() { "hard" } else { "soft" });
            format!("{}{:?}", if seen.pressure.memory { "!" } else { "" }, short.collect::<Vec<_>>())
        };
        looks.iter().map(look).collect()
    }

    const HARD: Flags<'static> = Flags {
        hard: Some("memory.available<100"),
        soft: None,
        soft_grace_period: None,
        minimum_reclaim: None,
        max_pod_grace_period: None,
        pressure_transition_period: Some(Duration::from_secs(30)),
    };

    #[test]
    fn a_hard_threshold_holds_at_once_and_its_condition_for_a_while_longer() {
        let looks = [(0, 100), (10, 99), (20, 100), (39, 500), (40, 500)];
        assert_eq!(told(&HARD, &looks), ["[]", "![\"hard\"]", "![]", "![]", "[]"]);
        let at_once = Flags { pressure_transition_period: Some(Duration::ZERO), ..HARD };
        assert_eq!(told(&at_once, &looks), ["[]", "![\"hard\"]", "[]", "[]", "[]"]);
    }

    #[test]
    fn what_was_short_is_so_until_the_minimum_reclaim_is_free() {
        let flags = Flags { minimum_reclaim: Some("memory.available=5%"), ..HARD };
        let looks = [(0, 149), (10, 99), (20, 149), (30, 150), (40, 149)];
        assert_eq!(told(&flags, &looks), ["[]", "![\"hard\"]", "![\"hard\"]", "![]", "![]"]);
        let settings = Settings::read(&flags).unwrap();
        let enough = |available| {
            let level = Level { available, capacity: 1000 };
            is_enough(&settings, &Levels::from([(Signal::MemoryAvailable, level)]))
        };
        assert!(!enough(149) && enough(150));
    }

    #[test]
    fn a_soft_threshold_waits_for_its_grace_period_and_begins_anew_after_a_relief() {
        let flags = Flags {
            soft: Some("memory.available<20%"),
            soft_grace_period: Some("memory.available=30s"),
            ..HARD
        };
        let looks = [(0, 199), (20, 199), (25, 200), (30, 199), (59, 150), (60, 150), (70, 99)];
        let soft = "![\"soft\"]";
        assert_eq!(told(&flags, &looks), ["![]", "![]", "![]", "![]", "![]", soft, "![\"hard\", \"soft\"]"]);
    }

    #[test]
    fn memory_comes_before_disk_and_what_the_machine_does_not_tell_is_not_short() {
        let flags =
            Flags { hard: Some("nodefs.available<100,memory.available<100,pid.available<5%"), ..HARD };
        let settings = Settings::read(&flags).unwrap();
        let level = Level { available: 1, capacity: 1000 };
        let levels = Levels::from([(Signal::MemoryAvailable, level), (Signal::NodeFsAvailable, level)]);
        let seen = assess(&settings, &mut Before::default(), &levels, Duration::ZERO);
        let names: Vec<_> = seen.shortages.iter().map(|one| one.threshold.signal.name()).collect();
        assert_eq!(names, ["memory.available", "nodefs.available"]);
        assert_eq!(seen.pressure, Pressure { memory: true, disk: true, pids: false });
    }
}
