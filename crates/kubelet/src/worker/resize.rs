//! Giving running containers what they may use now.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::steps::{Done, blocking};
use super::{Context, Worker};
use crate::node::shares;
use crate::pod::state::PodState;
use crate::pod::{find_container, resize, resources, uid};
use crate::record::EventKind;
use crate::runtime::{ContainerId, Resources};

impl Worker {
    /// Takes the share of the node that the pod asks for now; where it has less and others leave no room, it keeps what it
    /// has and waits. Looked at when the pod's spec has changed, and while it waits.
    pub(super) fn share(&mut self) {
        let generation = self.pod.metadata.generation;
        if self.shared == Some(generation) && self.state.deferred.is_none() {
            return;
        }
        let pod = Arc::clone(&self.pod);
        let Some(spec) = pod.spec.as_ref().filter(|_| self.state.verdict.is_none()) else { return };
        self.shared = Some(generation);
        let (asked, id) = (shares::asked(spec), uid(&pod));
        let shares = &self.ctx.shares;
        if resize::outstanding(spec, &self.state).next().is_none() {
            self.state.deferred = None;
            shares.set(id, asked);
            return;
        }
        // What the node can never give is not waited for.
        let held = shares::asked(&resize::as_given(spec, &self.state));
        let grows = asked.cpu_milli > held.cpu_milli || asked.memory > held.memory;
        let outcome = if !grows {
            shares.set(id, asked);
            Ok(())
        } else if resize::too_much(spec, self.state.room).is_some() {
            shares.set(id, held);
            Ok(())
        } else {
            // Heard of from here on: nothing is missed between the question and the waiting.
            self.freed.mark_unchanged();
            shares.ask(id, asked, self.state.room)
        };
        let Err(why) = outcome else {
            self.state.deferred = None;
            return;
        };
        if self.state.deferred.is_none() {
            // A share is noted as asked when a worker begins.
            shares.set(id, held);
            let message = format!("Pod resize Deferred: {why}");
            self.ctx.record.record(&pod, None, EventKind::Warning, "ResizeDeferred", message);
        }
        self.state.deferred = Some(why);
    }
}

/// What the pod as a whole may use as its containers are now.
pub(super) fn given(pod: &Pod, state: &PodState) -> Resources {
    let spec = pod.spec.as_ref().map(|spec| resize::as_given(spec, state));
    resources::of_pod(&Pod { spec, ..Pod::default() })
}

/// First the pod gets room for the larger of what it had and what it is to have, then each container its own, then the
/// pod what it is to have: the kernel refuses a group that may use more than the group around it.
pub(super) async fn resize(
    ctx: Context,
    pod: Arc<Pod>,
    given: Resources,
    ids: Vec<(String, ContainerId)>,
) -> Done {
    let wanted = resources::of_pod(&pod);
    let group = async |limits: Resources| {
        let (cgroups, pod) = (ctx.cgroups.clone(), Arc::clone(&pod));
        let work = move || {
            cgroups.limit(&pod, &limits);
            Ok(())
        };
        blocking(work).await
    };
    let mut done = Vec::new();
    let mut error = group(resources::larger(&given, &wanted)).await.err();
    for (name, id) in ids {
        let Some(container) = find_container(&pod, &name) else { continue };
        let limits = resources::of_container(&pod, &container, ctx.node.memory);
        match ctx.runtime.update_container(&id, &limits).await {
            Ok(()) => done.push((name, resize::text(container.resources.as_ref()))),
            Err(fault) => error = error.or(Some(format!("container {name}: {}", fault.message()))),
        }
    }
    if error.is_none() {
        error = group(wanted).await.err();
    }
    Done::Resized { given: done, error }
}
