//! Kernel switches under `/proc/sys/net`, which belong to the calling thread's network namespace.

use std::io;
use std::path::Path;

use crate::family::Family;

/// Sets a switch unless it already has that value; false if this kernel does not have it.
pub fn set(name: &str, value: &str) -> io::Result<bool> {
    let path = Path::new("/proc/sys/net").join(name);
    let now = match std::fs::read_to_string(&path) {
        Ok(now) => now,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if now.trim() != value {
        std::fs::write(&path, value)?;
    }
    Ok(true)
}

/// What a machine needs to pass packets of a family on: between pods, to and from other machines.
pub fn forward(family: Family) -> io::Result<()> {
    // Two pods on one bridge talk past the machine's IP layer; a service's answer must not.
    let between_pods = match family {
        Family::Four => {
            set("ipv4/ip_forward", "1")?;
            "bridge/bridge-nf-call-iptables"
        }
        Family::Six => {
            keep_listening_to_routers()?;
            set("ipv6/conf/all/forwarding", "1")?;
            "bridge/bridge-nf-call-ip6tables"
        }
    };
    set(between_pods, "1")?;
    Ok(())
}

/// Who passes packets on is a router to the kernel, and routers do not learn their way out from others unless told so.
fn keep_listening_to_routers() -> io::Result<()> {
    let links = match std::fs::read_dir("/proc/sys/net/ipv6/conf") {
        Ok(links) => links,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for link in links {
        let path = link?.path().join("accept_ra");
        // A link may go at any time.
        if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == "1") {
            std::fs::write(&path, "2").or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
    }
    Ok(())
}
