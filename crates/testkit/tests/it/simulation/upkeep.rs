//! What keeps a cluster in order: accounts and authorities of namespaces, ranges and signs of life of nodes, roles made of
//! others, tokens, and the end of what nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::apiserverinternal::v1alpha1::StorageVersion;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::{Value, json};
use skiff_api::storage_version;
use skiff_testkit::world::{Check, Dice, Truth};
use skiff_testkit::{World, given};

use super::{Scenario, anything, ensure, ensure_there, put};

fn namespace(world: &World, name: &str) {
    ensure_there::<Namespace>(
        world,
        "",
        name,
        json!({"metadata": {"name": name}, "status": {"phase": "Active"}}),
    );
}

#[test]
fn every_namespace_has_its_account_and_the_authority() {
    let scenario = Scenario {
        name: "accounts",
        schedules: 400,
        controllers: &["service-account-controller", "root-ca-certificate-publisher"],
        begin: |world, _| namespace(world, "blue"),
        whim: |world, dice| match dice.below(5) {
            0 => namespace(world, "red"),
            1 => world.delete::<Namespace>("", "red"),
            2 => world.delete::<ServiceAccount>("blue", "default"),
            3 => world.delete::<ConfigMap>("blue", "kube-root-ca.crt"),
            _ => world
                .edit::<ConfigMap>("blue", "kube-root-ca.crt", |it| it["data"] = json!({"ca.crt": "forged"})),
        },
        finally: |world| namespace(world, "green"),
        always: anything,
        end: |truth| {
            for namespace in truth.all::<Namespace>() {
                let name = namespace.metadata.name.as_deref().unwrap();
                ensure(truth.get::<ServiceAccount>(name, "default").is_some(), || {
                    format!("no account in {name}")
                })?;
                let published = truth.get::<ConfigMap>(name, "kube-root-ca.crt");
                let pem = published.and_then(|it| it.data.as_ref()?.get("ca.crt").cloned());
                ensure(pem.as_deref() == Some(super::ROOT_CA), || format!("{pem:?} in {name}"))?;
            }
            Ok(())
        },
    };
    scenario.run();
}

fn node(world: &World, n: u64) {
    super::nodes::node(world, &format!("n{n}"));
}

/// No range is two nodes'.
fn apart(truth: &Truth<'_>) -> Result<usize, String> {
    let nodes = truth.all::<Node>();
    let ranges: Vec<&str> = nodes.iter().filter_map(|node| node.spec.as_ref()?.pod_cidr.as_deref()).collect();
    let different: BTreeSet<&str> = ranges.iter().copied().collect();
    ensure(different.len() == ranges.len(), || format!("one is given twice: {ranges:?}"))?;
    Ok(ranges.len())
}

#[test]
fn no_two_nodes_have_one_range() {
    let scenario = Scenario {
        name: "ranges",
        schedules: 400,
        controllers: &["node-ipam-controller", "ttl"],
        begin: |world, dice| (0..=dice.below(3)).for_each(|n| node(world, n)),
        whim: |world, dice| match dice.below(3) {
            0 => world.delete::<Node>("", &format!("n{}", dice.below(6))),
            _ => (0..=dice.below(6)).for_each(|n| node(world, n)),
        },
        finally: |world| (0..6).for_each(|n| node(world, n)),
        always: || -> Check { Box::new(|truth| apart(truth).map(drop)) },
        end: |truth| {
            let found = apart(truth)?;
            ensure(found == 6, || format!("{found} of 6 have one"))?;
            let noted = |node: &Node| {
                let notes = node.metadata.annotations.as_ref();
                notes.is_some_and(|notes| {
                    notes.get("node.alpha.kubernetes.io/ttl").is_some_and(|ttl| ttl == "0")
                })
            };
            ensure(truth.all::<Node>().iter().all(|node| noted(node)), || {
                "a time to live is missing".to_owned()
            })
        },
    };
    scenario.run();
}

/// The node's own report, now.
fn ready(world: &World, name: &str) {
    let now = world.look(|truth| truth.now());
    let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now,
        "lastTransitionTime": now}]);
    world.edit::<Node>("", name, |node| node["status"]["conditions"] = ready);
}

#[test]
fn silent_nodes_are_found_out() {
    let scenario = Scenario {
        name: "silence",
        schedules: 200,
        controllers: &["node-lifecycle-controller"],
        begin: |world, _| {
            (0..3).for_each(|n| node(world, n));
            let mut pod = given::pod("blue", "p");
            pod.spec.as_mut().unwrap().node_name = Some("n1".to_owned());
            world.put(&pod);
        },
        whim: |world, dice| ready(world, &format!("n{}", dice.below(3))),
        finally: |world| (0..3).for_each(|n| ready(world, &format!("n{n}"))),
        always: anything,
        end: |truth| {
            for node in truth.all::<Node>() {
                let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
                let unknown = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "Unknown");
                let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
                let effects: BTreeSet<&str> = taints
                    .filter(|taint| taint.key == "node.kubernetes.io/unreachable")
                    .map(|taint| taint.effect.as_str())
                    .collect();
                // Nobody is driven out where all are silent: the fault may be ours.
                ensure(unknown && effects.contains("NoSchedule"), || {
                    format!("{:?}: {unknown}, {effects:?}", node.metadata.name)
                })?;
            }
            Ok(())
        },
    };
    scenario.run();
}

fn role(world: &World, name: &str, verbs: &[&str]) {
    let value = json!({"metadata": {"name": name, "labels": {"sums": "yes"}},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]});
    ensure_there::<ClusterRole>(world, "", name, value);
    world.edit::<ClusterRole>("", name, |role| role["rules"][0]["verbs"] = json!(verbs));
}

#[test]
fn a_role_is_the_sum_of_those_it_selects() {
    let scenario = Scenario {
        name: "roles",
        schedules: 400,
        controllers: &["clusterrole-aggregation"],
        begin: |world, _| {
            put::<ClusterRole>(
                world,
                json!({"metadata": {"name": "all"}, "rules": [],
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"sums": "yes"}}]}}),
            );
            role(world, "a", &["get"]);
        },
        whim: |world, dice| match dice.below(4) {
            0 => role(world, "a", &["list"]),
            1 => role(world, "b", &["watch"]),
            2 => world.delete::<ClusterRole>("", "b"),
            _ => world.edit::<ClusterRole>("", "all", |role| role["rules"] = json!([])),
        },
        finally: |world| {
            role(world, "a", &["get"]);
            role(world, "b", &["create"]);
        },
        always: anything,
        end: |truth| {
            let all = truth.get::<ClusterRole>("", "all").unwrap();
            let verbs: Vec<&str> =
                all.rules.iter().flatten().flat_map(|rule| rule.verbs.iter().map(String::as_str)).collect();
            ensure(verbs == ["get", "create"], || format!("{verbs:?}"))
        },
    };
    scenario.run();
}

#[test]
fn what_is_over_goes_and_the_rest_stays() {
    let scenario = Scenario {
        name: "over",
        schedules: 400,
        controllers: &["ttl-after-finished", "podgc", "csrcleaner", "tokencleaner"],
        begin: |world, dice| {
            node(world, 0);
            let now = world.look(|truth| truth.now());
            for (name, ttl, done) in [("brief", 60, true), ("long", 86_400 * 400, true), ("busy", 60, false)]
            {
                let conditions = if done {
                    json!([{"type": "Complete", "status": "True", "lastTransitionTime": now}])
                } else {
                    json!([])
                };
                put::<Job>(
                    world,
                    json!({"metadata": {"name": name, "namespace": "blue"},
                    "spec": {"ttlSecondsAfterFinished": ttl, "template": {"spec": {"containers": []}}},
                    "status": {"completionTime": now, "conditions": conditions}}),
                );
            }
            for n in 0..=dice.below(3) {
                put::<CertificateSigningRequest>(
                    world,
                    json!({"metadata": {"name": format!("r{n}")},
                    "spec": {"request": "", "signerName": "x.io/y"},
                    "status": {"conditions": [{"type": "Denied", "status": "True", "lastUpdateTime": now}]}}),
                );
            }
        },
        whim: |world, dice| {
            let mut pod = given::pod("blue", &format!("p{}", world.revision()));
            let place = *dice.pick(&["n0", "gone"]);
            pod.spec.as_mut().unwrap().node_name = Some(place.to_owned());
            world.put(&pod);
            let end = world.look(|truth| truth.now()) + jiff::SignedDuration::from_hours(1);
            let name = format!("bootstrap-token-{}", world.revision());
            let data: BTreeMap<String, ByteString> =
                [("expiration".to_owned(), ByteString(end.to_string().into_bytes()))].into();
            put::<Secret>(
                world,
                json!({"metadata": {"name": name, "namespace": "kube-system"}, "data": data,
                "type": "bootstrap.kubernetes.io/token"}),
            );
        },
        finally: |_| {},
        always: || -> Check {
            Box::new(|truth| {
                let there = |name: &str| truth.get::<Job>("blue", name).is_some();
                ensure(there("long") && there("busy"), || "a job is gone that should stay".to_owned())
            })
        },
        end: |truth| {
            let lost = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some("gone");
            ensure(!truth.all::<Pod>().iter().any(|pod| lost(pod)), || {
                "a pod is on a node that is gone".to_owned()
            })?;
            ensure(truth.get::<Job>("blue", "brief").is_none(), || "a finished job is there".to_owned())?;
            ensure(truth.all::<Secret>().is_empty(), || "a token is there".to_owned())?;
            ensure(truth.all::<CertificateSigningRequest>().is_empty(), || "a request is there".to_owned())
        },
    };
    scenario.run();
}

fn token(world: &World, id: &str, signs: bool) {
    let name = format!("bootstrap-token-{id}");
    let usage = if signs { "true" } else { "false" };
    let fields = [("token-id", id), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", usage)];
    let data: BTreeMap<&str, ByteString> =
        fields.map(|(field, text)| (field, ByteString(text.as_bytes().to_vec()))).into();
    let value = json!({"metadata": {"name": name, "namespace": "kube-system"}, "data": data,
        "type": "bootstrap.kubernetes.io/token"});
    ensure_there::<Secret>(world, "kube-system", &name, value);
    world.edit::<Secret>("kube-system", &name, |secret| secret["data"] = json!(data));
}

#[test]
fn what_is_public_is_signed_by_the_tokens_there_are() {
    let scenario = Scenario {
        name: "signatures",
        schedules: 300,
        controllers: &["bootstrapsigner"],
        begin: |world, _| {
            put::<ConfigMap>(
                world,
                json!({"metadata": {"name": "cluster-info", "namespace": "kube-public"},
                "data": {"kubeconfig": "first"}}),
            );
        },
        whim: |world, dice| match dice.below(4) {
            0 => token(world, "aaaaaa", true),
            1 => token(world, "bbbbbb", false),
            2 => world.delete::<Secret>("kube-system", "bootstrap-token-aaaaaa"),
            _ => world.edit::<ConfigMap>("kube-public", "cluster-info", |it| {
                it["data"] = json!({"kubeconfig": "other", "jws-kubeconfig-zzzzzz": "forged"});
            }),
        },
        finally: |world| {
            token(world, "bbbbbb", true);
            token(world, "cccccc", false);
            world.delete::<Secret>("kube-system", "bootstrap-token-aaaaaa");
        },
        always: anything,
        end: |truth| {
            let info = truth.get::<ConfigMap>("kube-public", "cluster-info").unwrap();
            let names: Vec<&str> = info.data.iter().flatten().map(|(name, _)| name.as_str()).collect();
            ensure(names == ["jws-kubeconfig-bbbbbb", "kubeconfig"], || format!("{names:?}"))
        },
    };
    scenario.run();
}

fn endpoints(world: &World, addresses: &[&str]) {
    let list: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    let subsets =
        if list.is_empty() { json!([]) } else { json!([{"addresses": list, "ports": [{"port": 80}]}]) };
    let value = json!({"metadata": {"name": "db", "namespace": "blue"}, "subsets": subsets});
    ensure_there::<Endpoints>(world, "blue", "db", value);
    world.edit::<Endpoints>("blue", "db", |it| it["subsets"] = subsets);
}

#[test]
fn endpoints_by_hand_are_mirrored() {
    let scenario = Scenario {
        name: "mirrored",
        schedules: 300,
        controllers: &["endpointslicemirroring"],
        begin: |world, _| {
            let service =
                "{metadata: {name: db, namespace: blue}, spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}}";
            world.put(&given::yaml::<Service>(service));
            endpoints(world, &["10.1.0.1"]);
        },
        whim: |world: &World, dice: &mut Dice| match dice.below(4) {
            0 => endpoints(world, &["10.1.0.1", "10.1.0.2"]),
            1 => endpoints(world, &[]),
            2 => world.delete::<Endpoints>("blue", "db"),
            _ => {
                let slices = world.look(|truth| truth.all::<EndpointSlice>());
                if let Some(slice) = slices.first() {
                    world.delete::<EndpointSlice>("blue", slice.metadata.name.as_deref().unwrap());
                }
            }
        },
        finally: |world| endpoints(world, &["10.1.0.3", "10.1.0.4"]),
        always: anything,
        end: |truth| {
            let slices = truth.all::<EndpointSlice>();
            let mut listed: Vec<String> = slices
                .iter()
                .flat_map(|slice| slice.endpoints.iter().flatten())
                .flat_map(|endpoint| endpoint.addresses.clone())
                .collect();
            listed.sort();
            ensure(listed == ["10.1.0.3", "10.1.0.4"], || format!("{listed:?} in {} slices", slices.len()))
        },
    };
    scenario.run();
}

#[test]
fn a_pods_own_claims_come_with_it_and_go_with_it() {
    let scenario = Scenario {
        name: "own claims",
        schedules: 300,
        controllers: &["ephemeral-volume-controller", "pvc-protection"],
        begin: |_, _| {},
        whim: |world, dice| {
            let name = format!("p{}", dice.below(3));
            if world.look(|truth| truth.get::<Pod>("blue", &name)).is_some() {
                return world.delete::<Pod>("blue", &name);
            }
            let mut pod = given::pod("blue", &name);
            pod.spec.as_mut().unwrap().volumes = Some(given::yaml(
                "[{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}}]",
            ));
            world.put(&pod);
        },
        finally: |_| {},
        always: anything,
        end: |truth| {
            let active = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
            let pods = truth.all::<Pod>();
            let wanted: BTreeSet<String> = pods
                .iter()
                .filter(|pod| active(pod))
                .map(|pod| format!("{}-v", pod.metadata.name.as_deref().unwrap()))
                .collect();
            let claims = truth.all::<PersistentVolumeClaim>();
            let found: BTreeSet<String> =
                claims.iter().filter_map(|claim| claim.metadata.name.clone()).collect();
            ensure(found == wanted, || format!("{found:?}, wanted {wanted:?}"))
        },
    };
    scenario.run();
}

/// A server that lives, by the lease of its name.
fn server(world: &World, name: &str) {
    let labels = json!({ "apiserver.kubernetes.io/identity": "kube-apiserver" });
    let metadata = json!({ "name": name, "namespace": "kube-system", "labels": labels });
    ensure_there::<Lease>(world, "kube-system", name, json!({ "metadata": metadata, "spec": {} }));
}

/// Says for a server how it stores a kind.
fn says(world: &World, kind: &str, server: &str, encoding: &str) {
    let name = format!("example.com.{kind}");
    ensure_there::<StorageVersion>(world, "", &name, json!({"metadata": {"name": name}}));
    world.edit::<StorageVersion>("", &name, |value| {
        let mut version: StorageVersion = serde_json::from_value(value.clone()).unwrap();
        let said =
            json!({"apiServerID": server, "encodingVersion": encoding, "decodableVersions": ["v1", "v2"]});
        storage_version::say(&mut version, serde_json::from_value(said).unwrap(), Timestamp::UNIX_EPOCH);
        *value = serde_json::to_value(&version).unwrap();
    });
}

/// What is said of a kind, and by whom.
fn said(version: &StorageVersion) -> BTreeSet<(String, String)> {
    let name = version.metadata.name.as_deref().unwrap();
    let said = version.status.iter().flat_map(|status| status.storage_versions.iter().flatten());
    said.map(|said| (name.to_owned(), said.api_server_id.clone())).collect()
}

#[test]
fn what_servers_say_lasts_as_long_as_they_do() {
    let scenario = Scenario {
        name: "storage versions",
        schedules: 400,
        controllers: &["storage-version-gc"],
        begin: |world, _| server(world, "first"),
        whim: |world, dice| {
            // Nobody comes again under an old name.
            let name = format!("s{}", dice.number());
            match dice.below(4) {
                0 => says(world, "a", &name, "v1"),
                1 => {
                    let leases = world.look(|truth| truth.all::<Lease>());
                    if let Some(lease) = leases.first() {
                        world.delete::<Lease>("kube-system", lease.metadata.name.as_deref().unwrap());
                    }
                }
                _ => {
                    server(world, &name);
                    says(world, "a", &name, if dice.percent(50) { "v1" } else { "v2" });
                    says(world, "b", &name, "v1");
                }
            }
        },
        finally: |world| {
            server(world, "last");
            says(world, "a", "last", "v2");
            says(world, "c", "nobody", "v2");
        },
        always: || -> Check {
            let before = Mutex::new(BTreeSet::new());
            Box::new(move |truth| {
                let now: BTreeSet<_> = truth.all::<StorageVersion>().iter().flat_map(|it| said(it)).collect();
                let before = std::mem::replace(&mut *before.lock().unwrap(), now.clone());
                let alive =
                    |(_, server): &&(String, String)| truth.get::<Lease>("kube-system", server).is_some();
                match before.difference(&now).find(alive) {
                    Some(lost) => Err(format!("{lost:?} is lost, and the server is alive")),
                    None => Ok(()),
                }
            })
        },
        end: |truth| {
            for version in truth.all::<StorageVersion>() {
                let said = said(&version);
                ensure(!said.is_empty(), || format!("{:?} says nothing", version.metadata.name))?;
                for (name, server) in said {
                    ensure(truth.get::<Lease>("kube-system", &server).is_some(), || {
                        format!("{server} in {name}")
                    })?;
                }
                let mut again = StorageVersion::clone(&version);
                storage_version::agree(&mut again, Timestamp::UNIX_EPOCH);
                let common = |it: &StorageVersion| it.status.as_ref()?.common_encoding_version.clone();
                ensure(common(&again) == common(&version), || format!("{version:?}"))?;
            }
            let last = truth.get::<StorageVersion>("", "example.com.a");
            let last = last.is_some_and(|it| said(&it).iter().any(|(_, server)| server == "last"));
            ensure(last, || "the last one is not heard".to_owned())
        },
    };
    scenario.run();
}
