//! Sums and judgements of one namespace.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use proptest::prelude::*;

use super::*;
use crate::kinds::testing::given;

fn quota(name: &str, spec: &str) -> Arc<ResourceQuota> {
    Arc::new(given(&format!("{{metadata: {{name: {name}}}, spec: {spec}}}")))
}

fn pod(cpu: &str) -> Pod {
    given(&format!("{{spec: {{containers: [{{name: c, resources: {{requests: {{cpu: {cpu}}}}}}}]}}}}"))
}

fn space(quotas: &[Arc<ResourceQuota>]) -> Space {
    let mut space = Space::default();
    for table in space.set(quotas) {
        space.recount(&table, 1, std::iter::empty());
    }
    space
}

fn write(space: &mut Space, uid: &str, revision: u64, cpu: &str) {
    let counted = usage::of_typed("pods", &pod(cpu));
    space.wrote(&"pods".into(), &uid.into(), None, revision, Some(counted));
}

fn used(space: &Space) -> String {
    let status = space.stale().next().map(|(_, status)| status).unwrap_or_default();
    let used = status.used.unwrap_or_default();
    used.iter().map(|(name, amount)| format!("{name}={}", amount.0)).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_exceeds_a_quota_is_told_with_all_that_exceeds() {
    let mut space = space(&[quota("a", "{hard: {pods: '2', requests.cpu: '1', secrets: '1'}}")]);
    write(&mut space, "one", 2, "700m");
    assert_eq!(used(&space), "pods=1 requests.cpu=700m secrets=0");
    assert_eq!(
        space.judge("pods", &pod("400m"), None).unwrap_err(),
        "exceeded quota: a, requested: requests.cpu=400m, used: requests.cpu=700m, limited: requests.cpu=1"
    );
    assert!(space.judge("pods", &pod("300m"), None).is_ok());
    assert!(space.judge("configmaps", &ConfigMap::default(), None).unwrap().is_empty());
    space.wrote(&"pods".into(), &"one".into(), Some(2), 3, None);
    assert_eq!(used(&space), "pods=0 requests.cpu=0 secrets=0");
}

#[test]
fn what_is_on_its_way_counts_until_it_is_seen_or_fails() {
    let mut space = space(&[quota("a", "{hard: {pods: '2'}}")]);
    let begin = |space: &mut Space, id: u64, uid: &str| {
        let deltas = space.judge("pods", &pod("1"), None)?;
        space.reserve(id, "pods", uid, None, deltas);
        Ok::<(), String>(())
    };
    begin(&mut space, 1, "one").unwrap();
    begin(&mut space, 2, "two").unwrap();
    assert!(begin(&mut space, 3, "three").is_err());
    space.release(2);
    begin(&mut space, 3, "three").unwrap();
    // Seen before its writer hears of it: it must not count twice.
    write(&mut space, "one", 5, "1");
    space.commit(1, 5);
    assert!(begin(&mut space, 4, "four").unwrap_err().contains("used: pods=2"));
    space.commit(3, 6);
    write(&mut space, "three", 6, "1");
    assert_eq!(used(&space), "pods=2");
}

#[test]
fn a_committed_write_that_is_gone_again_does_not_count_for_ever() {
    let mut space = space(&[quota("a", "{hard: {pods: '1'}}")]);
    let deltas = space.judge("pods", &pod("1"), None).unwrap();
    space.reserve(1, "pods", "one", None, deltas);
    // Counted anew from a state in which the object has come and gone.
    space.recount(&"pods".into(), 9, std::iter::empty());
    space.commit(1, 7);
    assert!(space.judge("pods", &pod("1"), None).is_ok());
}

#[test]
fn scopes_keep_objects_out_and_a_new_quota_counts_what_is_there() {
    let mut space = space(&[quota("a", "{hard: {pods: '5'}, scopes: [BestEffort]}")]);
    write(&mut space, "one", 2, "1");
    assert_eq!(used(&space), "pods=0");
    let anew = space
        .set(&[quota("a", "{hard: {pods: '5'}, scopes: [BestEffort]}"), quota("b", "{hard: {pods: '9'}}")]);
    assert_eq!(anew.into_iter().collect::<Vec<_>>(), ["pods".into()]);
    let unchanged = space
        .set(&[quota("a", "{hard: {pods: '6'}, scopes: [BestEffort]}"), quota("b", "{hard: {pods: '9'}}")]);
    assert!(unchanged.is_empty());
}

proptest! {
    /// Whatever the order of reservations, failures, successes and events: sums are exact and never beyond the quota.
    #[test]
    fn usage_never_exceeds_hard(steps in prop::collection::vec((0_u8..4, 0_usize..8), 1..200)) {
        let mut space = space(&[quota("a", "{hard: {pods: '3'}}")]);
        let mut waiting: Vec<(u64, String)> = Vec::new();
        let mut unseen: Vec<(String, u64)> = Vec::new();
        let mut stored: Vec<(String, u64)> = Vec::new();
        let mut revision = 1;
        for (index, (what, which)) in steps.into_iter().enumerate() {
            match what {
                0 => if let Ok(deltas) = space.judge("pods", &pod("1"), None) {
                    let uid = format!("u{index}");
                    let id = u64::try_from(index).unwrap();
                    space.reserve(id, "pods", &uid, None, deltas);
                    waiting.push((id, uid));
                },
                1 if !waiting.is_empty() => {
                    let (id, uid) = waiting.remove(which % waiting.len());
                    revision += 1;
                    stored.push((uid.clone(), revision));
                    unseen.push((uid, revision));
                    space.commit(id, revision);
                }
                2 if !waiting.is_empty() => space.release(waiting.remove(which % waiting.len()).0),
                3 if !stored.is_empty() => {
                    // A judgement catches up first; then one object goes.
                    for (uid, at) in unseen.drain(..) { write(&mut space, &uid, at, "1"); }
                    let (uid, at) = stored.remove(which % stored.len());
                    revision += 1;
                    space.wrote(&"pods".into(), &uid.as_str().into(), Some(at), revision, None);
                }
                _ => {}
            }
            prop_assert!(stored.len() <= 3);
        }
        for (uid, at) in unseen.drain(..) { write(&mut space, &uid, at, "1"); }
        waiting.into_iter().for_each(|(id, _)| space.release(id));
        let all = space.quotas["a"].used.get("pods").copied().unwrap_or_default();
        prop_assert_eq!(all, Quantity::units(i64::try_from(stored.len()).unwrap()));
        prop_assert!(space.pending.is_empty());
    }
}
