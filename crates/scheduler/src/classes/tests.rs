//! What a class is told equals what each of its pods would be told by itself.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::cycle::{self, Search};
use crate::fit::Unfit;
use crate::history::{LIKES, pending, steps};
use crate::plugin::Share;
use crate::pod::Pending;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

/// The nodes that can hold a pod, the best among them, and the words if there are none; with the help of classes or
/// without.
pub(crate) fn judged(
    pod: &Pending,
    cluster: &Snapshot,
    profile: &Profile,
    search: Option<&mut Search>,
) -> (BTreeSet<String>, BTreeSet<String>, String) {
    let mut seats = cycle::seats(pod, cluster, profile);
    let class = search.and_then(|search| search.classes.of(profile, cluster, &seats));
    let best = class.as_ref().filter(|(_, shares)| shares.iter().all(|share| *share == Share::Everything));
    let best = best.map(|(class, _)| class.finalists().to_vec());
    let (class, shares) = class.unzip();
    let mut unfit = Unfit::new(cluster.len());
    let feasible = cycle::feasible(cluster, profile, &seats, (class, shares.as_deref()), &mut 0, &mut unfit);
    let finalists = match feasible.is_empty() {
        true => Vec::new(),
        false => cycle::finalists(&mut seats, shares.as_deref(), &feasible),
    };
    let finalists: BTreeSet<String> = finalists.iter().map(|node| node.name.to_string()).collect();
    if let Some(best) = best {
        let best = best.iter().filter_map(|id| cluster.numbered(*id)).map(|node| node.name.to_string());
        assert_eq!(best.collect::<BTreeSet<_>>(), finalists);
    }
    let names = feasible.iter().map(|(node, _)| node.name.to_string()).collect();
    (names, finalists, unfit.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_class_is_told_what_each_of_its_pods_would_be_told(steps in steps()) {
        let profile = Profile { percent: Some(100), ..Profile::default() };
        let (mut cluster, mut search) = (Snapshot::default(), Search::default());
        for step in &steps {
            step.apply(&mut cluster);
            for like in 0..LIKES {
                let pod = pending(like);
                profile.track(&pod, &mut cluster);
                let alone = judged(&pod, &cluster, &profile, None);
                prop_assert_eq!(judged(&pod, &cluster, &profile, Some(&mut search)), alone);
            }
        }
    }
}

#[test]
fn the_first_of_its_kind_makes_no_class() {
    let cluster = crate::plugins::tests::cluster("[{metadata: {name: a}}]", "[]");
    let (pod, profile) = (pending(1), Profile::default());
    let seats = cycle::seats(&pod, &cluster, &profile);
    let mut search = Search::default();
    assert!(search.classes.of(&profile, &cluster, &seats).is_none());
    assert!(search.classes.of(&profile, &cluster, &seats).is_some());
}
