//! Skiff's own CNI plugin: gives a pod its link, address, routes and host ports.
//!
//! The same binary under the names `skiff-cni` and `loopback`, started by the container runtime once per pod and
//! operation, so it is written to be quick: no async runtime, no other program, one lock around the addresses, and
//! netlink for all the rest. The protocol is <https://www.cni.dev/docs/spec/>, versions 0.3.1 to 1.0.0.
//!
//! It must not know the cluster: all it needs is in the configuration that [`config`] renders.

use std::io::{Read, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

mod alloc;
mod conf;
mod pods;
mod ports;
mod state;

pub use conf::{Config, config};
pub(crate) use state::forget_all;

const VERSIONS: &[&str] = &["0.3.1", "0.4.0", "1.0.0"];

/// A failure as the runtime wants to hear it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The specification's number, or one of ours from 100 on.
    pub code: u32,
    /// In one sentence.
    pub message: String,
    /// What is beneath.
    pub details: String,
}

impl Fault {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    fn environment(message: impl Into<String>) -> Self {
        Self::new(4, message)
    }

    fn io(message: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self { code: 5, message: message.into(), details: error.to_string() }
    }
}

impl From<crate::netlink::Error> for Fault {
    fn from(error: crate::netlink::Error) -> Self {
        Self::new(100, error.to_string())
    }
}

/// What the runtime says in environment variables.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// ADD, DEL, CHECK or VERSION.
    pub command: String,
    /// The sandbox's id.
    pub container: String,
    /// Path of the pod's network namespace; may be empty for DEL.
    pub netns: PathBuf,
    /// The link's name inside the pod.
    pub link: String,
}

impl Call {
    fn from_environment() -> Self {
        let get = |name| std::env::var(name).unwrap_or_default();
        Self {
            command: get("CNI_COMMAND"),
            container: get("CNI_CONTAINERID"),
            netns: PathBuf::from(get("CNI_NETNS")),
            link: get("CNI_IFNAME"),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if self.container.is_empty() || !self.container.chars().all(plain) {
            return Err(Fault::environment(format!("invalid CNI_CONTAINERID \"{}\"", self.container)));
        }
        let fits = !self.link.is_empty() && self.link.len() <= 15;
        if !fits || self.link == "." || self.link == ".." || self.link.contains(['/', ':', '@', ' ']) {
            return Err(Fault::environment(format!("invalid CNI_IFNAME \"{}\"", self.link)));
        }
        if self.netns.as_os_str().is_empty() && self.command != "DEL" {
            return Err(Fault::environment("CNI_NETNS is missing"));
        }
        Ok(())
    }
}

/// The plugin as a program: environment and standard input in, JSON on standard output; the exit status.
pub fn main() -> i32 {
    let mut text = Vec::new();
    let call = Call::from_environment();
    let outcome = std::io::stdin()
        .read_to_end(&mut text)
        .map_err(|error| Fault::io("read configuration", &error))
        .and_then(|_| run(&call, &text));
    let (answer, status) = match outcome {
        Ok(answer) => (answer, 0),
        Err(fault) => (
            Some(json!({
                "cniVersion": version_of(&text), "code": fault.code, "msg": fault.message, "details": fault.details,
            })),
            1,
        ),
    };
    if let Some(answer) = answer {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            return 1;
        }
    }
    status
}

/// Writes the pods' rules (host ports, the way out) anew if somebody removed them; for whoever watches over the node.
///
/// # Errors
/// [`Fault`] if addresses can't be read or the kernel refuses.
pub fn repair(config: &Config) -> Result<(), Fault> {
    let list: Value = serde_json::from_str(&self::config(config)).unwrap_or_default();
    let mut plugin = list["plugins"][0].clone();
    plugin["name"] = list["name"].clone();
    let conf = conf::parse(plugin.to_string().as_bytes())?;
    state::repair(&conf)
}

/// One call of the plugin.
///
/// # Errors
/// [`Fault`], to be shown to the runtime.
pub fn run(call: &Call, text: &[u8]) -> Result<Option<Value>, Fault> {
    if call.command == "VERSION" {
        return Ok(Some(json!({ "cniVersion": "1.0.0", "supportedVersions": VERSIONS })));
    }
    let conf = conf::parse(text)?;
    if !VERSIONS.contains(&conf.cni_version.as_str()) {
        return Err(Fault::new(1, format!("incompatible CNI version \"{}\"", conf.cni_version)));
    }
    call.check()?;
    let loopback = conf.kind == "loopback";
    match call.command.as_str() {
        "ADD" if loopback => pods::add_loopback(call, &conf).map(Some),
        "DEL" | "CHECK" if loopback => Ok(None),
        "ADD" => pods::add(call, &conf).map(Some),
        "DEL" => pods::delete(call, &conf).map(|()| None),
        "CHECK" => pods::check(call, &conf).map(|()| None),
        other => Err(Fault::environment(format!("unknown CNI_COMMAND \"{other}\""))),
    }
}

fn version_of(text: &[u8]) -> String {
    serde_json::from_slice::<Value>(text)
        .ok()
        .and_then(|conf| conf.get("cniVersion")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| "1.0.0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(command: &str) -> Call {
        Call {
            command: command.into(),
            container: "c1".into(),
            netns: "/proc/self/ns/net".into(),
            link: "eth0".into(),
        }
    }

    #[test]
    fn version_names_what_we_speak() {
        let answer = run(&call("VERSION"), b"{}").unwrap().unwrap();
        assert_eq!(answer["supportedVersions"], json!(["0.3.1", "0.4.0", "1.0.0"]));
    }

    #[test]
    fn faults_carry_the_specifications_codes() {
        let code = |call: &Call, text: &str| run(call, text.as_bytes()).unwrap_err().code;
        let good = r#"{"cniVersion":"1.0.0","name":"n","type":"skiff-cni","bridge":"b0","subnet":"10.0.0.0/24","dataDir":"/nonexistent/skiff"}"#;
        assert_eq!(code(&call("ADD"), "not json"), 6);
        assert_eq!(code(&call("ADD"), r#"{"cniVersion":"0.1.0","name":"n","type":"loopback"}"#), 1);
        assert_eq!(code(&call("ADD"), r#"{"cniVersion":"1.0.0","name":"n","type":"skiff-cni"}"#), 7);
        assert_eq!(code(&call("BREW"), good), 4);
        assert_eq!(code(&Call { container: "a/b".into(), ..call("ADD") }, good), 4);
        assert_eq!(code(&Call { link: String::new(), ..call("ADD") }, good), 4);
        assert_eq!(code(&Call { netns: PathBuf::new(), ..call("ADD") }, good), 4);
    }
}
