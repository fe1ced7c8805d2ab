//! From notes to Events, as upstream's `client-go/tools/record/events_cache.go` correlates them; pure.
//!
//! Three memories: groups of events alike but for the message (more than ten in ten minutes become one "combined"
//! event), events seen before (counted, not repeated), and a bucket of tokens per object (25 at once, one more every
//! five minutes), so that one broken pod cannot flood the server.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};
use skiff_base::bucket::{Bucket, Rate};

use super::{Note, Source};

const MEMORY: usize = 4096;
const ALIKE: usize = 10;
const ALIKE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// How much may be told of one object.
const RATE: Rate = Rate { per_second: 1.0 / 300.0, burst: 25.0 };

/// What to write.
#[derive(Debug)]
pub(super) enum Step {
    Create(Box<Event>),
    Patch { event: Box<Event>, patch: Value },
}

/// Which object: namespace, kind, name, uid, apiVersion.
type About = [String; 5];
/// An event but for its message and field path.
type Group = (About, &'static str, String);
/// An event, message and field path included.
type Exact = (Group, String, String);

struct Alike {
    messages: BTreeSet<String>,
    last: Timestamp,
}

struct Seen {
    name: String,
    first: Timestamp,
    count: i32,
}

#[derive(Default)]
pub(super) struct Correlator {
    alike: Memory<Group, Alike>,
    seen: Memory<Exact, Seen>,
    buckets: Memory<About, Bucket>,
}

impl Correlator {
    /// What to write for a note; nothing if there are too many about its object.
    pub(super) fn take(&mut self, source: &Source, note: Note) -> Option<Step> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let about: About = [
            text(&note.about.namespace),
            text(&note.about.kind),
            text(&note.about.name),
            text(&note.about.uid),
            text(&note.about.api_version),
        ];
        let group: Group = (about.clone(), note.kind.as_str(), note.reason.clone());
        let exact: Exact = self.combine(group, &note);
        let message = exact.1.clone();
        let key = (
            exact.0.clone(),
            if message.starts_with(COMBINED) { String::new() } else { message.clone() },
            exact.2,
        );
        let seen = self.seen.entry(key, || Seen { name: String::new(), first: note.at, count: 0 });
        seen.count += 1;
        let again = seen.count > 1;
        if !again {
            seen.name = name(&note);
        }
        let (event_name, first, count) = (seen.name.clone(), seen.first, seen.count);
        if !self.affordable(about, note.at) {
            return None;
        }
        let event = Box::new(event(source, &note, event_name, &message, first, count));
        if !again {
            return Some(Step::Create(event));
        }
        let patch = json!({ "count": count, "lastTimestamp": event.last_timestamp, "message": message });
        Some(Step::Patch { event, patch })
    }

    /// The same event under a new name, after the server forgot it.
    pub(super) fn renew(&mut self, mut event: Event) -> Box<Event> {
        let old = event.metadata.name.take().unwrap_or_default();
        let at = event.last_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let stem = old.rsplit_once('.').map_or(old.as_str(), |(stem, _)| stem);
        let new = format!("{stem}.{:x}", at.as_nanosecond() + i128::from(event.count.unwrap_or(1)));
        for seen in self.seen.values_mut().filter(|seen| seen.name == old) {
            seen.name.clone_from(&new);
        }
        event.metadata.name = Some(new);
        Box::new(event)
    }

    /// The event's key and message, combined with those alike if there are many.
    fn combine(&mut self, group: Group, note: &Note) -> Exact {
        let path = note.about.field_path.clone().unwrap_or_default();
        let alike = self.alike.entry(group.clone(), || Alike { messages: BTreeSet::new(), last: note.at });
        if note.at.duration_since(alike.last) > ALIKE_WITHIN {
            alike.messages.clear();
        }
        alike.last = note.at;
        alike.messages.insert(format!("{}\u{0}{path}", note.message));
        if alike.messages.len() < ALIKE {
            return (group, note.message.clone(), path);
        }
        alike.messages.pop_first();
        (group, format!("{COMBINED}{}", note.message), String::new())
    }

    fn affordable(&mut self, about: About, now: Timestamp) -> bool {
        self.buckets.entry(about, || Bucket::full(RATE, now)).take(RATE, now)
    }
}

const COMBINED: &str = "(combined from similar events): ";

fn event(source: &Source, note: &Note, name: String, message: &str, first: Timestamp, count: i32) -> Event {
    let namespace = note.about.namespace.clone().filter(|namespace| !namespace.is_empty());
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: note.about.clone(),
        reason: Some(note.reason.clone()),
        message: Some(message.to_owned()),
        source: Some(EventSource {
            component: Some(source.component.clone()),
            host: (!source.host.is_empty()).then(|| source.host.clone()),
        }),
        first_timestamp: Some(Time(first)),
        last_timestamp: Some(Time(note.at)),
        count: Some(count),
        type_: Some(note.kind.as_str().to_owned()),
        reporting_component: Some(source.component.clone()),
        reporting_instance: Some(source.host.clone()),
        ..Event::default()
    }
}

/// `NAME.HEX`: the object's name and a number that no other event of it has. Objects from the API of 2014 may bear
/// names that an Event may not.
fn name(note: &Note) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c.to_ascii_lowercase() } else { '-' }
    };
    let stem: String = note.about.name.as_deref().unwrap_or_default().chars().map(plain).collect();
    format!("{}.{:016x}", stem.trim_matches(|c| c == '-' || c == '.'), rand::random::<u64>())
}

/// A map that forgets its oldest half when it is full.
struct Memory<K, V> {
    map: HashMap<K, (u64, V)>,
    turn: u64,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), turn: 0 }
    }
}

impl<K: Eq + Hash, V> Memory<K, V> {
    fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.turn += 1;
        if self.map.len() >= MEMORY && !self.map.contains_key(&key) {
            let mut turns: Vec<u64> = self.map.values().map(|(turn, _)| *turn).collect();
            let middle = turns.len() / 2;
            let (_, median, _) = turns.select_nth_unstable(middle);
            let median = *median;
            self.map.retain(|_, (turn, _)| *turn > median);
        }
        let turn = self.turn;
        let (used, value) = self.map.entry(key).or_insert_with(|| (turn, make()));
        *used = turn;
        value
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.map.values_mut().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::events::EventKind;

    fn say(correlator: &mut Correlator, second: i64, pod: &str, message: &str) -> String {
        let about = ObjectReference {
            kind: Some("Pod".into()),
            name: Some(pod.into()),
            namespace: Some("blue".into()),
            ..ObjectReference::default()
        };
        let source = Source { component: "kubelet".into(), host: "one".into() };
        let note = Note {
            about,
            kind: EventKind::Warning,
            reason: "BackOff".into(),
            message: message.into(),
            at: Timestamp::from_second(second).unwrap(),
        };
        match correlator.take(&source, note) {
            None => "dropped".into(),
            Some(Step::Create(event)) => format!("new: {}", event.message.unwrap()),
            Some(Step::Patch { event, patch }) => {
                format!(
                    "x{} since {}: {}",
                    patch["count"],
                    event.first_timestamp.unwrap().0.as_second(),
                    patch["message"]
                )
            }
        }
    }

    #[test]
    fn the_same_event_again_is_counted() {
        let mut correlator = Correlator::default();
        assert_eq!(say(&mut correlator, 1, "a", "m"), "new: m");
        assert_eq!(say(&mut correlator, 5, "a", "m"), "x2 since 1: \"m\"");
        assert_eq!(say(&mut correlator, 9, "a", "m"), "x3 since 1: \"m\"");
        assert_eq!(say(&mut correlator, 9, "b", "m"), "new: m");
    }

    #[test]
    fn many_alike_are_combined() {
        let mut correlator = Correlator::default();
        for n in 1..10 {
            assert_eq!(say(&mut correlator, n, "a", &format!("m{n}")), format!("new: m{n}"));
        }
        assert_eq!(say(&mut correlator, 10, "a", "m10"), "new: (combined from similar events): m10");
        assert_eq!(
            say(&mut correlator, 11, "a", "m11"),
            "x2 since 10: \"(combined from similar events): m11\""
        );
        assert_eq!(say(&mut correlator, 1000, "a", "m12"), "new: m12");
    }

    #[test]
    fn a_flood_about_one_object_is_cut_and_others_still_heard() {
        let mut correlator = Correlator::default();
        let dropped = (0..40).filter(|_| say(&mut correlator, 1, "a", "m") == "dropped").count();
        assert_eq!(dropped, 15);
        assert_eq!(say(&mut correlator, 1, "b", "m"), "new: m");
        assert_eq!(say(&mut correlator, 302, "a", "m"), "x41 since 1: \"m\"");
    }
}
