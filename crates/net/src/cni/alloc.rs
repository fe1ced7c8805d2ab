//! Addresses given out once, remembered on disk.
//!
//! One file per address, named `ADDRESS@CONTAINER@LINK`, in a folder per network: giving out is creating a file,
//! taking back is removing it, and a crash in between leaves either state but never half of one. One directory read
//! says everything. The folder's lock makes calls for different pods wait for each other, for microseconds. A container
//! has an address of each range, and so as many files.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rustix::fs::FlockOperation;

use crate::family::{Family, further, number};

/// An address and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: IpAddr,
    pub(super) container: String,
    pub(super) link: String,
}

impl Lease {
    fn file(&self) -> String {
        format!("{}@{}@{}", self.address, self.container, self.link)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, '@');
        Some(Self {
            address: parts.next()?.parse().ok()?,
            container: parts.next()?.to_owned(),
            link: parts.next()?.to_owned(),
        })
    }
}

/// The network's folder, locked until dropped.
#[derive(Debug)]
pub(super) struct Leases {
    folder: PathBuf,
    _lock: File,
}

impl Leases {
    /// Locks the folder, making it if needed; waits for whoever holds it.
    pub(super) fn lock(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    pub(super) fn all(&self) -> io::Result<Vec<Lease>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            all.extend(entry?.file_name().to_str().and_then(Lease::parse));
        }
        Ok(all)
    }

    pub(super) fn of(&self, container: &str, link: &str) -> io::Result<Vec<Lease>> {
        let mut all = self.all()?;
        all.retain(|lease| lease.container == container && lease.link == link);
        Ok(all)
    }

    /// Gives out an address of a range; the same one again if the container has one. None if the range is full.
    pub(super) fn give(
        &self,
        range: IpNet,
        gateway: IpAddr,
        container: &str,
        link: &str,
        note: &[u8],
    ) -> io::Result<Option<Lease>> {
        let given = self.all()?;
        let family = Family::of(range.addr());
        let its =
            |lease: &&Lease| lease.container == container && lease.link == link && family.has(lease.address);
        let had = given.iter().find(its).cloned();
        let note_of_last = self.folder.join(if family == Family::Four { "last" } else { "last6" });
        let chosen = had.map(|lease| lease.address).or_else(|| {
            let last = std::fs::read_to_string(&note_of_last).ok().and_then(|text| text.parse().ok());
            choose(range, last, |address| {
                address == gateway || given.iter().any(|lease| lease.address == address)
            })
        });
        let Some(address) = chosen else { return Ok(None) };
        let lease = Lease { address, container: container.to_owned(), link: link.to_owned() };
        let draft = self.folder.join("draft");
        std::fs::write(&draft, note)?;
        std::fs::rename(&draft, self.folder.join(lease.file()))?;
        std::fs::write(note_of_last, address.to_string())?;
        Ok(Some(lease))
    }

    /// What was noted when the address was given out.
    pub(super) fn note(&self, lease: &Lease) -> Vec<u8> {
        std::fs::read(self.folder.join(lease.file())).unwrap_or_default()
    }

    pub(super) fn take_back(&self, lease: &Lease) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(lease.file())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The next free address after `last`, wrapping around: a freed address rests as long as possible, so that nobody
/// who still remembers it talks to the wrong pod.
fn choose(range: IpNet, last: Option<IpAddr>, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let size = number(range.broadcast()) - number(range.network());
    let (low, high) = (1, size.saturating_sub(1));
    let last = last.filter(|last| range.contains(last)).map(|last| number(last) - number(range.network()));
    let start = last.filter(|last| (low..high).contains(last)).map_or(low, |last| last + 1);
    let order = (start..=high).chain(low..start);
    order.map(|steps| further(range.network(), steps)).find(|address| !taken(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_rotate_and_wrap_and_run_out() {
        for range in ["10.0.0.0/29", "fd00::/125"] {
            let range: IpNet = range.parse().unwrap();
            let ip = |last: u128| Some(further(range.network(), last));
            let gateway = |address| Some(address) == ip(1);
            assert_eq!(choose(range, None, gateway), ip(2));
            assert_eq!(choose(range, ip(4), gateway), ip(5));
            assert_eq!(choose(range, ip(6), gateway), ip(2));
            assert_eq!(choose(range, "10.9.9.9".parse().ok(), gateway), ip(2));
            assert_eq!(choose(range, ip(3), |_| true), None);
        }
    }

    #[test]
    fn leases_survive_and_are_taken_back_once() {
        let folder = std::env::temp_dir().join(format!("skiff-net-alloc-{}", std::process::id()));
        let range: IpNet = "10.0.0.0/29".parse().unwrap();
        let gateway = further(range.network(), 1);
        let first = {
            let leases = Leases::lock(&folder).unwrap();
            leases.give(range, gateway, "one", "eth0", b"note").unwrap().unwrap()
        };
        let leases = Leases::lock(&folder).unwrap();
        assert_eq!(leases.give(range, gateway, "one", "eth0", b"note").unwrap().as_ref(), Some(&first));
        assert_eq!(leases.note(&first), b"note");
        let second = leases.give(range, gateway, "two", "eth0", b"").unwrap().unwrap();
        assert_ne!(first.address, second.address);
        let six: IpNet = "fd00::/64".parse().unwrap();
        let other = leases.give(six, further(six.network(), 1), "one", "eth0", b"").unwrap().unwrap();
        assert_eq!(leases.of("one", "eth0").unwrap().len(), 2);
        for lease in [&first, &first, &other] {
            leases.take_back(lease).unwrap();
        }
        assert_eq!(leases.all().unwrap(), [second]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
