//! Tables for the pure functions: given as YAML, expected in short.

mod env;
mod hosts;
mod plan;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use super::state::{DeviceState, PodState, Room, Slot, Verdict, VolumeState, Waiting};
use crate::runtime::{ContainerState, ContainerStatus, Sandbox, SandboxState, SandboxStatus};

/// Seconds after the beginning of time.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn pod(yaml: &str) -> Pod {
    let mut pod: Pod = serde_saphyr::from_str(yaml).unwrap();
    pod.metadata.name.get_or_insert_with(|| "p".to_owned());
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    pod.metadata.uid.get_or_insert_with(|| "u".to_owned());
    pod
}

/// A pod's state in short: `sandbox: ready`, `containers: {c: [exited 1 @20, running]}`, the oldest attempt first.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Given {
    sandbox: Option<String>,
    volumes: Option<String>,
    devices: Option<String>,
    containers: BTreeMap<String, Vec<String>>,
    prepared: Vec<String>,
    not_ready: Vec<String>,
    not_started: Vec<String>,
    unhealthy: BTreeMap<String, String>,
    waiting: BTreeMap<String, String>,
    /// Containers that were restarted before, at these seconds.
    restarted: BTreeMap<String, Vec<i64>>,
    /// What containers were given last, as JSON.
    given: BTreeMap<String, String>,
    /// Why they must wait for what they ask for now.
    deferred: Option<String>,
    /// The node puts it out, and gives it so many seconds.
    evicted: Option<u64>,
    gone: bool,
}

fn state(yaml: &str) -> PodState {
    let given: Given =
        if yaml.trim().is_empty() { Given::default() } else { serde_saphyr::from_str(yaml).unwrap() };
    let room = Room { cpu_milli: 2000, memory: 1 << 30 };
    let mut state = PodState { gone: given.gone, room, deferred: given.deferred, ..PodState::default() };
    state.verdict = given.evicted.map(|seconds| Verdict {
        reason: "Evicted".to_owned(),
        message: "The node was low. ".to_owned(),
        grace: Some(Duration::from_secs(seconds)),
        disruption: true,
        ..Verdict::default()
    });
    state.sandbox = given.sandbox.map(|word| SandboxStatus {
        sandbox: Sandbox {
            id: "s".to_owned(),
            state: if word == "ready" { SandboxState::Ready } else { SandboxState::NotReady },
            ..Sandbox::default()
        },
        addresses: vec!["10.0.0.1".parse().unwrap()],
    });
    state.volumes = match given.volumes.as_deref() {
        Some("mounted") => VolumeState::Mounted,
        Some("removed") => VolumeState::Removed,
        _ => VolumeState::Absent,
    };
    state.devices = match given.devices.as_deref() {
        Some("preparing") => DeviceState::Preparing,
        Some("prepared") => DeviceState::Prepared,
        _ => DeviceState::Absent,
    };
    for (name, attempts) in given.containers {
        let slot = state.slots.entry(name.clone()).or_default();
        for (number, text) in attempts.iter().enumerate() {
            slot.history.insert(0, attempt(&name, u32::try_from(number).unwrap(), text));
        }
        slot.ready = !given.not_ready.contains(&name);
        slot.started = !given.not_started.contains(&name);
    }
    for name in given.prepared {
        state.slots.entry(name).or_default().prepared = true;
    }
    for (name, why) in given.unhealthy {
        state.slots.entry(name).or_default().unhealthy = Some(why);
    }
    for (name, reason) in given.waiting {
        state.slots.entry(name).or_default().waiting = Some(Waiting { reason, message: String::new() });
    }
    for (name, resources) in given.given {
        state.slots.entry(name).or_default().given = Some(resources);
    }
    for (name, times) in given.restarted {
        let slot: &mut Slot = state.slots.entry(name).or_default();
        times.into_iter().for_each(|time| slot.restarts.restarted(at(time), at(time)));
    }
    state
}

/// `running`, or `exited CODE @SECONDS`.
fn attempt(name: &str, attempt: u32, text: &str) -> ContainerStatus {
    let mut words = text.split(' ');
    let mut status = ContainerStatus {
        id: format!("{name}{attempt}"),
        name: name.to_owned(),
        attempt,
        image: "image:1".to_owned(),
        image_ref: "sha256:1".to_owned(),
        started_at: Some(at(1)),
        ..ContainerStatus::default()
    };
    match words.next() {
        Some("running") => status.state = ContainerState::Running,
        Some("exited") => {
            status.state = ContainerState::Exited;
            status.exit_code = words.next().map_or(0, |code| code.parse().unwrap());
            let finished = words.next().map_or(10, |time| time[1..].parse().unwrap());
            status.finished_at = Some(at(finished));
        }
        other => panic!("unknown state {other:?}"),
    }
    status
}
