//! Kernel switches under `/proc/sys/net`, which belong to the calling thread's network namespace.

use std::io;
use std::path::Path;

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

/// What a machine needs to pass packets on: between pods, to and from other machines.
pub fn forward() -> io::Result<()> {
    set("ipv4/ip_forward", "1")?;
    // Two pods on one bridge talk past the machine's IP layer; a service's answer must not.
    set("bridge/bridge-nf-call-iptables", "1")?;
    Ok(())
}
