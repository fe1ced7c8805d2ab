//! What something cost: the server's CPU, and the whole machine's, for a runtime's processes come and go.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::procs;

/// CPU of the server (kubelet included) and of the whole machine (runtime, shims, CNI and we ourselves included).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) server: Duration,
    pub(super) machine: Duration,
}

/// A cost that is being counted.
pub(super) struct Counting<'a> {
    pids: &'a [u32],
    server: Duration,
    machine: Duration,
}

impl Cost {
    pub(super) fn begin(cluster: &Cluster) -> anyhow::Result<Counting<'_>> {
        Ok(Counting { pids: &cluster.pids, server: procs::cpu(&cluster.pids)?, machine: procs::machine()? })
    }

    pub(super) fn begin_machine() -> anyhow::Result<Counting<'static>> {
        Ok(Counting { pids: &[], server: Duration::ZERO, machine: procs::machine()? })
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.server += more.server;
        self.machine += more.machine;
    }
}

impl Counting<'_> {
    pub(super) fn end(&self) -> anyhow::Result<Cost> {
        Ok(Cost {
            server: procs::cpu(self.pids)?.saturating_sub(self.server),
            machine: procs::machine()?.saturating_sub(self.machine),
        })
    }
}
