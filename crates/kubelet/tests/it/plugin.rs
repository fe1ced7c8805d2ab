//! What small plugins have in common: they register themselves as drivers do, answer calls, and remember what was asked of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use skiff_base::Tasks;
use skiff_kubelet::plugins::proto::{PluginInfo, RegistrationStatus};
use tokio::sync::watch;

use crate::grpc::{self, Answer};

/// Long enough for a machine under heavy load; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was asked of a plugin, in order; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    lines: Arc<watch::Sender<Vec<String>>>,
}

impl Asked {
    pub(crate) fn note(&self, line: &str) {
        self.lines.send_modify(|lines| lines.push(line.trim().to_owned()));
    }

    /// What was asked so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// What was asked, as soon as this is among it so many times.
    pub(crate) async fn until(&self, so: &str, times: usize) -> Vec<String> {
        let mut lines = self.lines.subscribe();
        let seen = lines.wait_for(|lines| lines.iter().filter(|line| *line == so).count() >= times);
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{so:?} was not asked: {:#?}", self.lines.borrow()),
        }
    }
}

/// A plugin as it makes itself known.
pub(crate) struct Plugin {
    /// `CSIPlugin` or `DRAPlugin`.
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) versions: &'static [&'static str],
    /// Where it serves.
    pub(crate) socket: PathBuf,
}

impl Plugin {
    /// Serves, and registers in `registry`, which is noted as it goes.
    pub(crate) fn start(
        self,
        registry: &Path,
        asked: &Asked,
        tasks: &Tasks,
        carry_out: impl Fn(&str, &[u8]) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) {
        std::fs::create_dir_all(registry).unwrap();
        let (socket, register) = (self.socket.clone(), registry.join(format!("{}-reg.sock", self.name)));
        let asked = asked.clone();
        let answer = move |call: &str, message: &[u8]| {
            Answer::One(match call {
                "GetInfo" => Ok(PluginInfo {
                    kind: self.kind.to_owned(),
                    name: self.name.to_owned(),
                    endpoint: self.socket.display().to_string(),
                    supported_versions: self.versions.iter().map(|version| (*version).to_owned()).collect(),
                }
                .encode_to_vec()),
                "NotifyRegistrationStatus" => {
                    let status = RegistrationStatus::decode(message).unwrap();
                    asked.note(&format!("registered {} {}", status.plugin_registered, status.error));
                    Ok(Vec::new())
                }
                _ => carry_out(call, message),
            })
        };
        let answer: grpc::CarryOut = Arc::new(answer);
        for path in [socket, register] {
            grpc::serve(&path, Arc::clone(&answer), tasks);
        }
    }
}
