//! The signals by which a node knows that it runs short, as upstream names them, and what each is about.

/// One thing of which a machine may run short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Memory that can be had without taking it from anybody.
    MemoryAvailable,
    /// Bytes of the file system with the kubelet's files: volumes, logs.
    NodeFsAvailable,
    /// Inodes of it.
    NodeFsInodesFree,
    /// Bytes of the file system with images and what containers write over them.
    ImageFsAvailable,
    /// Inodes of it.
    ImageFsInodesFree,
    /// Process ids.
    PidAvailable,
}

/// What a signal is about, by the name that messages give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    Storage,
    Inodes,
    Pids,
}

/// A way in which the Node says that it is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    Memory,
    Disk,
    Pids,
}

/// All signals with their names and what they are about.
const SIGNALS: [(Signal, &str, Resource); 6] = [
    (Signal::MemoryAvailable, "memory.available", Resource::Memory),
    (Signal::NodeFsAvailable, "nodefs.available", Resource::Storage),
    (Signal::NodeFsInodesFree, "nodefs.inodesFree", Resource::Inodes),
    (Signal::ImageFsAvailable, "imagefs.available", Resource::Storage),
    (Signal::ImageFsInodesFree, "imagefs.inodesFree", Resource::Inodes),
    (Signal::PidAvailable, "pid.available", Resource::Pids),
];

impl Signal {
    pub(crate) fn named(name: &str) -> Option<Self> {
        SIGNALS.iter().find(|(_, known, _)| *known == name).map(|(signal, ..)| *signal)
    }

    fn row(self) -> (Self, &'static str, Resource) {
        let row = SIGNALS.iter().copied().find(|(signal, ..)| *signal == self);
        row.unwrap_or(SIGNALS[0])
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn resource(self) -> Resource {
        self.row().2
    }

    pub(crate) fn condition(self) -> Condition {
        match self.resource() {
            Resource::Memory => Condition::Memory,
            Resource::Storage | Resource::Inodes => Condition::Disk,
            Resource::Pids => Condition::Pids,
        }
    }
}

impl Resource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }
}

impl Condition {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Pids];

    /// As the Node's conditions name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pids => "PIDPressure",
        }
    }
}

/// What the machine is short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

impl Pressure {
    pub(crate) fn of(holds: impl Fn(Condition) -> bool) -> Self {
        let [memory, disk, pids] = Condition::ALL.map(holds);
        Self { memory, disk, pids }
    }

    /// The conditions that hold.
    pub(crate) fn conditions(self) -> impl Iterator<Item = Condition> {
        let held = [self.memory, self.disk, self.pids];
        Condition::ALL.into_iter().zip(held).filter(|(_, holds)| *holds).map(|(condition, _)| condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_by_its_name() {
        for (signal, name, resource) in SIGNALS {
            assert_eq!((Signal::named(name), signal.name()), (Some(signal), name));
            assert_eq!(signal.resource(), resource);
        }
        assert_eq!(Signal::named("cpu.available"), None);
    }
}
