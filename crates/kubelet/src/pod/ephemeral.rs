//! Containers added to a pod that runs, to look into it: each is started once, and how it ends concerns nobody.
//!
//! Follows upstream's `pkg/kubelet/kuberuntime/kuberuntime_manager.go` (`EphemeralContainersToStart`).

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

use super::state::PodState;
use crate::runtime::ContainerId;

/// The ephemeral container of this name.
pub(crate) fn find<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a EphemeralContainer> {
    spec.ephemeral_containers.iter().flatten().find(|container| container.name == name)
}

/// The same in the form of every other container, which never runs again.
pub(crate) fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let own = ephemeral.clone();
    Container {
        name: own.name,
        image: own.image,
        command: own.command,
        args: own.args,
        working_dir: own.working_dir,
        env: own.env,
        env_from: own.env_from,
        volume_mounts: own.volume_mounts,
        volume_devices: own.volume_devices,
        image_pull_policy: own.image_pull_policy,
        security_context: own.security_context,
        resources: own.resources,
        stdin: own.stdin,
        stdin_once: own.stdin_once,
        tty: own.tty,
        termination_message_path: own.termination_message_path,
        termination_message_policy: own.termination_message_policy,
        restart_policy: Some("Never".to_owned()),
        ..Container::default()
    }
}

/// Those that were never there yet.
pub(crate) fn to_start<'a>(spec: &'a PodSpec, state: &'a PodState) -> impl Iterator<Item = Container> + 'a {
    let new = |one: &&EphemeralContainer| state.slot(&one.name).is_none_or(|slot| slot.history.is_empty());
    spec.ephemeral_containers.iter().flatten().filter(new).map(as_container)
}

/// The container whose processes an ephemeral one sees, as the runtime calls it.
pub(crate) fn target(pod: &Pod, state: &PodState, name: &str) -> Option<ContainerId> {
    let target = find(pod.spec.as_ref()?, name)?.target_container_name.as_deref()?;
    Some(state.slot(target)?.newest()?.id.clone())
}
