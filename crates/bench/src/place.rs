//! A network namespace for the cluster under test, so that it meets neither the machine's network nor another test.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace of our own; removed when dropped.
pub(crate) struct Place {
    name: String,
}

impl Place {
    /// Makes a namespace with an address and a default route, as a machine has them, and enters it.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let place = Self { name: format!("skiff-bench-{}", std::process::id()) };
        ip(&["netns", "add", &place.name])?;
        for line in [
            "link set lo up",
            "link add bench0 type bridge",
            "addr add 192.0.2.1/24 dev bench0",
            "link set bench0 up",
            "route add default via 192.0.2.254",
        ] {
            let mut words = vec!["-n", place.name.as_str()];
            words.extend(line.split(' '));
            ip(&words)?;
        }
        enter(Path::new("/run/netns").join(&place.name).as_path())?;
        Ok(place)
    }

    /// Enters the namespace of a process.
    pub(crate) fn join(pid: u32) -> anyhow::Result<()> {
        enter(Path::new(&format!("/proc/{pid}/ns/net")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            crate::report::say(&format!("the namespace {} stays: {error:#}", self.name));
        }
    }
}

fn enter(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("enter {} (are we root?)", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "runs before and after the asynchronous runtime")]
fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).output().context("run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
