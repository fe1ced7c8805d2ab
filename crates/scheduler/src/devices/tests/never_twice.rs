//! Whatever comes in whatever order: no device is given to two claims at a time, and none is lost.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::AllocationResult;
use proptest::prelude::*;
use serde_json::json;

use super::{given, put_claim, world};
use crate::devices::revision;
use crate::snapshot::Snapshot;

/// What happens to one of the claims.
#[derive(Clone, Debug)]
enum Act {
    /// A pod with it has its turn.
    Turn(usize),
    /// What was decided is written; its word comes later.
    Write(usize),
    /// What was decided could not be written.
    Fail(usize),
    /// The server's word comes, as it is now.
    Hear(usize),
    /// It comes as it was so many changes ago.
    Echo(usize, usize),
    /// The claim loses its devices at the server.
    Free(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        4 => (0..6_usize).prop_map(Act::Turn),
        3 => (0..6_usize).prop_map(Act::Write),
        1 => (0..6_usize).prop_map(Act::Fail),
        4 => (0..6_usize).prop_map(Act::Hear),
        2 => (0..6_usize, 1..4_usize).prop_map(|(n, ago)| Act::Echo(n, ago)),
        2 => (0..6_usize).prop_map(Act::Free),
    ];
    prop::collection::vec(one, 1..80)
}

/// The server's side: what each claim had, and at which revision.
#[derive(Default)]
struct Server {
    claims: BTreeMap<usize, Vec<(u64, Option<AllocationResult>)>>,
    revision: u64,
}

impl Server {
    fn write(&mut self, n: usize, allocation: Option<AllocationResult>) -> u64 {
        self.revision += 1;
        self.claims.entry(n).or_default().push((self.revision, allocation));
        self.revision
    }

    /// All devices that somebody has; fails if two have one.
    fn held(&self) -> BTreeSet<String> {
        let mut held = BTreeSet::new();
        for (_, allocation) in self.claims.values().filter_map(|states| states.last()) {
            for id in allocation.iter().flat_map(ids) {
                assert!(held.insert(id.clone()), "{id} was given twice");
            }
        }
        held
    }

    /// How a claim was so many changes ago.
    fn ago(&self, n: usize, ago: usize) -> (u64, Option<AllocationResult>) {
        self.claims.get(&n).and_then(|states| states.iter().rev().nth(ago)).cloned().unwrap_or_default()
    }

    fn now(&self, n: usize) -> (u64, Option<AllocationResult>) {
        self.ago(n, 0)
    }

    /// The scheduler hears how a claim is, or was.
    fn tell(&self, n: usize, ago: usize, snapshot: &mut Snapshot) {
        let (revision, allocation) = self.ago(n, ago);
        let mut claim = json!({
            "metadata": { "name": format!("c{n}"), "namespace": "blue", "uid": format!("u{n}"), "resourceVersion": revision.to_string() },
            "spec": { "devices": { "requests": [{ "name": "r", "exactly": { "deviceClassName": "gpu", "count": n % 3 + 1 } }] } },
            "status": {},
        });
        if let Some(allocation) = allocation {
            claim["status"]["allocation"] = json!(allocation);
        }
        put_claim(snapshot, &claim);
    }
}

fn ids(allocation: &AllocationResult) -> Vec<String> {
    let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
    results.map(|result| format!("{}/{}/{}", result.driver, result.pool, result.device)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_device_is_given_to_two_claims(acts in acts()) {
        let devices = "devices: [{name: g0}, {name: g1}, {name: g2}]";
        let mut snapshot = world(&format!("{{nodes: [{{metadata: {{name: a}}}}, {{metadata: {{name: b}}}}], \
            slices: [{{nodeName: a, {devices}}}, {{nodeName: b, {devices}}}]}}"));
        let mut server = Server::default();
        let mut decided: BTreeMap<usize, (u64, AllocationResult)> = BTreeMap::new();
        for n in 0..6 {
            server.tell(n, 0, &mut snapshot);
        }
        for act in acts {
            match act {
                Act::Turn(n) => {
                    let (name, uid) = (format!("c{n}"), format!("u{n}"));
                    if decided.contains_key(&n) || snapshot.devices.usage.holds(&uid) {
                        let why = given(&mut snapshot, &[&name]);
                        prop_assert!(why.is_err() || why.unwrap().1.is_empty());
                    } else if let Ok((_, mut given)) = given(&mut snapshot, &[&name])
                        && let Some(allocation) = given.pop()
                    {
                        let base = snapshot.devices.claim(&format!("blue/{name}")).map_or(0, |claim| revision(&claim));
                        snapshot.devices.usage.promise(&uid, base, &allocation);
                        decided.insert(n, (base, allocation));
                    }
                }
                Act::Write(n) => {
                    if let Some((base, allocation)) = decided.remove(&n) {
                        // As the server does: nobody writes on what has changed since.
                        if server.now(n).0 != base {
                            snapshot.devices.usage.release(&format!("u{n}"));
                        } else {
                            let revision = server.write(n, Some(allocation));
                            snapshot.devices.usage.written(&format!("u{n}"), revision);
                        }
                    }
                }
                Act::Fail(n) => {
                    if decided.remove(&n).is_some() {
                        snapshot.devices.usage.release(&format!("u{n}"));
                    }
                }
                Act::Hear(n) => server.tell(n, 0, &mut snapshot),
                Act::Echo(n, ago) => server.tell(n, ago, &mut snapshot),
                Act::Free(n) => drop(server.write(n, None)),
            }
            server.held();
        }
        // When all is quiet, what is used is what the server says.
        for n in decided.keys() {
            snapshot.devices.usage.release(&format!("u{n}"));
        }
        for n in 0..6 {
            server.tell(n, 0, &mut snapshot);
        }
        let held = server.held();
        for node in ["a", "b"] {
            for device in ["g0", "g1", "g2"] {
                let id = format!("gpu.example.com/{node}/{device}");
                prop_assert_eq!(snapshot.devices.usage.is_used(&id), held.contains(&id));
            }
        }
    }
}
