//! Addresses given out once, remembered on disk.
//!
//! One file per address, named `ADDRESS@CONTAINER@LINK`, in a folder per network: giving out is creating a file,
//! taking back is removing it, and a crash in between leaves either state but never half of one. One directory read
//! says everything. The folder's lock makes calls for different pods wait for each other, for microseconds.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use rustix::fs::FlockOperation;

/// An address and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
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

    pub(super) fn of(&self, container: &str, link: &str) -> io::Result<Option<Lease>> {
        Ok(self.all()?.into_iter().find(|lease| lease.container == container && lease.link == link))
    }

    /// Gives out an address; the same one again if the container has one. None if the range is full.
    pub(super) fn give(
        &self,
        range: Ipv4Net,
        gateway: Ipv4Addr,
        container: &str,
        link: &str,
        note: &[u8],
    ) -> io::Result<Option<Lease>> {
        let given = self.all()?;
        let had = given.iter().find(|lease| lease.container == container && lease.link == link).cloned();
        let chosen = had.map(|lease| lease.address).or_else(|| {
            let last =
                std::fs::read_to_string(self.folder.join("last")).ok().and_then(|text| text.parse().ok());
            choose(range, last, |address| {
                address == gateway || given.iter().any(|lease| lease.address == address)
            })
        });
        let Some(address) = chosen else { return Ok(None) };
        let lease = Lease { address, container: container.to_owned(), link: link.to_owned() };
        let draft = self.folder.join("draft");
        std::fs::write(&draft, note)?;
        std::fs::rename(&draft, self.folder.join(lease.file()))?;
        std::fs::write(self.folder.join("last"), address.to_string())?;
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
fn choose(range: Ipv4Net, last: Option<Ipv4Addr>, taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let (low, high) = (u32::from(range.network()) + 1, u32::from(range.broadcast()).saturating_sub(1));
    let start = last.map(u32::from).filter(|last| (low..high).contains(last)).map_or(low, |last| last + 1);
    (start..=high).chain(low..start).map(Ipv4Addr::from).find(|address| !taken(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_rotate_and_wrap_and_run_out() {
        let range: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let ip = |last: u8| Some(Ipv4Addr::new(10, 0, 0, last));
        let gateway = |address| Some(address) == ip(1);
        assert_eq!(choose(range, None, gateway), ip(2));
        assert_eq!(choose(range, ip(4), gateway), ip(5));
        assert_eq!(choose(range, ip(6), gateway), ip(2));
        assert_eq!(choose(range, Some(Ipv4Addr::new(10, 9, 9, 9)), gateway), ip(2));
        assert_eq!(choose(range, ip(3), |_| true), None);
    }

    #[test]
    fn leases_survive_and_are_taken_back_once() {
        let folder = std::env::temp_dir().join(format!("skiff-net-alloc-{}", std::process::id()));
        let range: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        let first = {
            let leases = Leases::lock(&folder).unwrap();
            leases.give(range, gateway, "one", "eth0", b"note").unwrap().unwrap()
        };
        let leases = Leases::lock(&folder).unwrap();
        assert_eq!(leases.give(range, gateway, "one", "eth0", b"note").unwrap().as_ref(), Some(&first));
        assert_eq!(leases.note(&first), b"note");
        let second = leases.give(range, gateway, "two", "eth0", b"").unwrap().unwrap();
        assert_ne!(first.address, second.address);
        leases.take_back(&first).unwrap();
        leases.take_back(&first).unwrap();
        assert_eq!(leases.all().unwrap(), [second]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
