//! Owners in several versions of an object, whose version 2 calls `f` what version 1 calls `e`.

use super::*;

fn to(version: &str, object: &Value) -> Value {
    let mut object = object.clone();
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return object };
    let (from, name) = if version == "2" { ("e", "f") } else { ("f", "e") };
    if let Some(value) = spec.remove(from) {
        spec.insert(name.to_owned(), value);
    }
    object
}

struct Two {
    object: Option<Value>,
    owners: Option<Owners>,
    version: &'static str,
    gone: bool,
}

impl Two {
    /// What everything is in another version, as often as it is asked for.
    fn kin(&self, version: &str) -> Kin {
        let mut kin = Kin::default();
        for owner in entries(self.owners.as_ref()) {
            let other = owner.api_version.as_deref().unwrap();
            if other != version && !kin.has(other) {
                kin.add(other, (!self.gone).then(|| schema("").clone()));
            }
        }
        kin
    }

    fn apply(&mut self, manager: &str, version: &'static str, config: Value) -> Result<(), String> {
        let live = self.object.as_ref().map(|object| to(version, object));
        let now = at(1);
        let who = Who { manager, api_version: version, subresource: "", part: Part::All, now: &now };
        let mut kin = self.kin(version);
        let before = Before { object: live.as_ref(), owners: self.owners.as_ref() };
        loop {
            match apply(schema(""), before, &config, &who, false, &kin) {
                Ok(applied) => {
                    (self.object, self.owners) = (Some(applied.object), applied.owners);
                    self.version = version;
                    return Ok(());
                }
                Err(Refused::Wanted(wanted)) => {
                    let converted = to(&wanted.to, &wanted.object);
                    kin.learn(*wanted, converted);
                }
                Err(Refused::Conflicts(conflicts)) => return Err(ApiError::from(conflicts).to_string()),
            }
        }
    }

    fn update(&mut self, manager: &str, version: &'static str, new: &Value) {
        let live = self.object.as_ref().map(|object| to(version, object));
        let now = at(2);
        let who = Who { manager, api_version: version, subresource: "", part: Part::All, now: &now };
        let mut kin = self.kin(version);
        let before = Before { object: live.as_ref(), owners: self.owners.as_ref() };
        loop {
            match update(schema(""), before, new, None, &who, &kin) {
                Ok(Tracked::Same) => break,
                Ok(Tracked::Owners(owners)) => {
                    self.owners = owners;
                    break;
                }
                Err(wanted) => {
                    let converted = to(&wanted.to, &wanted.object);
                    kin.learn(*wanted, converted);
                }
            }
        }
        (self.object, self.version) = (Some(new.clone()), version);
    }

    fn fields(&self, manager: &str) -> Value {
        let mut owners = entries(self.owners.as_ref()).into_iter();
        let own = owners.find(|owner| owner.manager.as_deref() == Some(manager));
        own.map_or(Value::Null, |owner| owner.fields_v1.unwrap().0)
    }
}

fn new() -> Two {
    let mut two = Two { object: None, owners: None, version: "1", gone: false };
    two.apply("one", "1", json!({ "spec": { "free": { "a": 1 }, "e": 5 } })).unwrap();
    two
}

#[test]
fn a_field_of_another_name_is_in_conflict_with_its_owner_in_the_older_version() {
    let mut two = new();
    let why = two.apply("two", "2", json!({ "spec": { "f": 6 } })).unwrap_err();
    assert!(why.contains("conflict with \"one\": .spec.e"), "{why}");
    two.apply("two", "2", json!({ "spec": { "f": 5 } })).unwrap();
    assert_eq!(two.fields("one"), json!({ "f:spec": { "f:e": {}, "f:free": { "f:a": {} } } }));
    assert_eq!(two.fields("two"), json!({ "f:spec": { "f:f": {} } }));
}

#[test]
fn what_an_update_in_a_newer_version_takes_is_lost_in_the_older_one() {
    let mut two = new();
    two.update("user", "2", &json!({ "spec": { "free": { "a": 1 }, "f": 6 } }));
    assert_eq!(two.fields("one"), json!({ "f:spec": { "f:free": { "f:a": {} } } }));
    assert_eq!(two.fields("user"), json!({ "f:spec": { "f:f": {} } }));
}

#[test]
fn what_was_applied_in_an_older_version_is_pruned_in_it() {
    let mut two = new();
    two.apply("other", "1", json!({ "spec": { "free": { "b": 1 } } })).unwrap();
    two.apply("one", "2", json!({ "spec": { "free": { "a": 1 } } })).unwrap();
    assert_eq!(two.object, Some(json!({ "spec": { "free": { "a": 1, "b": 1 } } })));
    let owners = entries(two.owners.as_ref());
    let versions: Vec<_> = owners.iter().map(|owner| owner.api_version.as_deref()).collect();
    assert_eq!(versions, [Some("2"), Some("1")]);
    // What somebody holds under its older name stays.
    two.apply("other", "1", json!({ "spec": { "e": 7 } })).unwrap();
    two.apply("one", "2", json!({ "spec": { "f": 7 } })).unwrap();
    two.apply("one", "2", json!({ "spec": { "free": { "c": 1 } } })).unwrap();
    assert_eq!(two.object, Some(json!({ "spec": { "f": 7, "free": { "c": 1 } } })));
}

#[test]
fn owners_in_a_version_that_is_gone_go() {
    let mut two = new();
    two.gone = true;
    two.apply("two", "2", json!({ "spec": { "f": 6 } })).unwrap();
    assert_eq!((two.fields("one"), entries(two.owners.as_ref()).len()), (Value::Null, 1));
}
