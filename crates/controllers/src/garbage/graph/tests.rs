//! Small families of objects.

use serde_json::json;

use super::*;

#[derive(Default)]
struct World(Graph);

impl World {
    /// Puts an object; `owners` are uids, blocking if they end in `!`.
    fn put(&mut self, uid: &str, owners: &[&str], leaving: bool, finalizers: &[&str]) -> Vec<String> {
        let resource = Resource::of::<k8s_openapi::api::core::v1::Pod>();
        let references: Vec<_> = owners
            .iter()
            .map(|owner| {
                let plain = owner.trim_end_matches('!');
                json!({"apiVersion": "v1", "kind": "Pod", "name": plain, "uid": plain,
                    "blockOwnerDeletion": owner.ends_with('!')})
            })
            .collect();
        let mut value = json!({"metadata": {"name": uid, "namespace": "blue", "uid": uid,
            "ownerReferences": references, "finalizers": finalizers}});
        if leaving {
            value["metadata"]["deletionTimestamp"] = json!("2026-11-22T10:00:00Z");
        }
        let affected = self.0.put(&resource, &Object::parse(value.to_string().into()).unwrap());
        affected.iter().map(ToString::to_string).collect()
    }

    fn step(&self, uid: &str, absent: &[&str]) -> String {
        let absent: Vec<Uid> = absent.iter().map(|uid| Uid::from(*uid)).collect();
        match self.0.step(uid, &absent).map(|(_, step)| step) {
            None => "-".to_owned(),
            Some(Step::Delete { policy, unblock }) => {
                format!("delete {policy}{}", if unblock { " unblocked" } else { "" })
            }
            Some(Step::Disown(owners)) => format!("disown {owners:?}"),
            Some(Step::Orphan) => "orphan".to_owned(),
            Some(Step::Release) => "release".to_owned(),
            Some(Step::Press(items)) => format!("press {items:?}"),
        }
    }
}

#[test]
fn what_is_owned_by_nobody_any_more_is_deleted() {
    let mut world = World::default();
    world.put("owner", &[], false, &[]);
    assert_eq!(world.put("child", &["owner"], false, &[]), ["child"]);
    assert_eq!(world.step("child", &[]), "-");
    assert_eq!(world.0.gone("owner").len(), 1);
    assert_eq!(world.0.unknown_owners("child").len(), 1);
    assert_eq!(world.step("child", &[]), "-", "an owner not looked up is not gone");
    assert_eq!(world.step("child", &["owner"]), "delete Background");
}

#[test]
fn a_second_owner_keeps_it() {
    let mut world = World::default();
    world.put("solid", &[], false, &[]);
    world.put("child", &["solid", "gone"], false, &[]);
    assert_eq!(world.step("child", &["gone"]), "disown [\"gone\"]");
}

#[test]
fn orphaning_lets_dependents_go_first() {
    let mut world = World::default();
    world.put("child", &["owner"], false, &[]);
    assert_eq!(world.put("owner", &[], true, &["orphan"]), ["owner"]);
    assert_eq!(world.step("owner", &[]), "orphan");
}

#[test]
fn foreground_deletion_waits_for_those_that_block() {
    let mut world = World::default();
    world.put("owner", &[], true, &["foregroundDeletion"]);
    world.put("child", &["owner!"], false, &[]);
    world.put("grandchild", &["child!"], false, &[]);
    assert_eq!(world.step("owner", &[]), "press [\"child\"]");
    assert_eq!(world.step("child", &[]), "delete Foreground");
    assert_eq!(world.step("grandchild", &[]), "-");
    world.put("child", &["owner!"], true, &["foregroundDeletion"]);
    assert_eq!(world.step("grandchild", &[]), "delete Background");
    assert_eq!(world.0.gone("grandchild"), ["child".into()]);
    assert_eq!(world.step("child", &[]), "release");
    assert_eq!(world.0.gone("child"), ["owner".into()]);
    assert_eq!(world.step("owner", &[]), "release");
}

#[test]
fn two_that_own_each_other_do_not_wait_for_ever() {
    let mut world = World::default();
    world.put("one", &["two!"], true, &["foregroundDeletion"]);
    world.put("two", &["one!"], false, &[]);
    assert_eq!(world.step("one", &[]), "press [\"two\"]");
    assert_eq!(world.step("two", &[]), "delete Foreground unblocked");
    // Both sent away by hand.
    world.put("two", &["one!"], true, &["foregroundDeletion"]);
    assert_eq!(world.step("two", &[]), "release");
}

#[test]
fn a_uid_with_another_name_is_looked_up() {
    let mut world = World::default();
    world.put("owner", &[], false, &[]);
    world.put("child", &["owner"], false, &[]);
    assert!(world.0.unknown_owners("child").is_empty());
    let resource = Resource::of::<k8s_openapi::api::core::v1::Pod>();
    let elsewhere = json!({"metadata": {"name": "far", "namespace": "red", "uid": "far", "ownerReferences":
        [{"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": "owner"}]}});
    world.0.put(&resource, &Object::parse(elsewhere.to_string().into()).unwrap());
    assert_eq!(world.0.unknown_owners("far").len(), 1);
    assert_eq!(world.0.misplaced_owners("far").len(), 1);
    assert_eq!(world.step("far", &["owner"]), "delete Background");
}
