//! A driver of devices as small as can be: its one device is a file with a greeting, `/dev/zero` under another name and a
//! variable. It registers itself, and remembers what was asked of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use skiff_base::Tasks;
use skiff_kubelet::dra::proto::{Claims, Device, Prepared, PreparedClaim, Unprepared, UnpreparedClaim};
use skiff_kubelet::plugins::proto::{PluginInfo, RegistrationStatus};
use tokio::sync::watch;

use crate::grpc::{self, Answer};

/// The driver's name.
pub(crate) const DEVICES: &str = "devices.test";
/// Long enough for a machine under heavy load; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A driver at work.
#[derive(Clone)]
pub(crate) struct DeviceDriver {
    endpoint: PathBuf,
    /// Where it describes its devices.
    spec: PathBuf,
    asked: Arc<watch::Sender<Vec<String>>>,
}

impl Drop for DeviceDriver {
    fn drop(&mut self) {
        // The last clone; the others are of calls that have ended.
        if Arc::strong_count(&self.asked) == 1 {
            let _none = std::fs::remove_file(&self.spec);
        }
    }
}

impl DeviceDriver {
    /// Serves in `folder` and registers in `registry`. What stands behind its devices is told on the machine itself.
    pub(crate) fn start(folder: &Path, registry: &Path, tasks: &Tasks) -> Self {
        let kind = format!("{DEVICES}-{}/card", std::process::id());
        let spec = PathBuf::from(format!("/var/run/cdi/{DEVICES}-{}.json", std::process::id()));
        std::fs::create_dir_all("/var/run/cdi").unwrap();
        let greeting = folder.join("greeting");
        std::fs::write(&greeting, "from the device").unwrap();
        let card = serde_json::json!({ "name": "0", "containerEdits": {
            "env": ["CARD=zero"],
            "deviceNodes": [{ "path": "/dev/card0", "hostPath": "/dev/zero", "permissions": "r" }],
            "mounts": [{ "hostPath": greeting, "containerPath": "/greeting", "options": ["ro", "bind"] }],
        } });
        let text = serde_json::json!({ "cdiVersion": "0.6.0", "kind": kind, "devices": [card] });
        std::fs::write(&spec, text.to_string()).unwrap();
        let driver = Self { endpoint: folder.join("dra.sock"), spec, asked: Arc::default() };
        std::fs::create_dir_all(registry).unwrap();
        for socket in [driver.endpoint.clone(), registry.join(format!("{DEVICES}-reg.sock"))] {
            let (own, kind) = (driver.clone(), kind.clone());
            let carry_out =
                move |call: &str, message: &[u8]| Answer::One(own.carry_out(call, message, &kind));
            grpc::serve(&socket, Arc::new(carry_out), tasks);
        }
        driver
    }

    /// What was asked of it, as soon as this is among it so many times.
    pub(crate) async fn asked(&self, so: &str, times: usize) -> Vec<String> {
        let mut asked = self.asked.subscribe();
        let seen = asked.wait_for(|asked| asked.iter().filter(|line| *line == so).count() >= times);
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{so:?} was not asked: {:#?}", self.asked.borrow()),
        }
    }

    fn note(&self, line: String) {
        self.asked.send_modify(|asked| asked.push(line));
    }

    fn carry_out(&self, call: &str, message: &[u8], kind: &str) -> Result<Vec<u8>, String> {
        match call {
            "GetInfo" => Ok(PluginInfo {
                kind: "DRAPlugin".to_owned(),
                name: DEVICES.to_owned(),
                endpoint: self.endpoint.display().to_string(),
                supported_versions: vec!["v1.DRAPlugin".to_owned(), "v1beta1.DRAPlugin".to_owned()],
            }
            .encode_to_vec()),
            "NotifyRegistrationStatus" => {
                let status = RegistrationStatus::decode(message).unwrap();
                self.note(
                    format!("registered {} {}", status.plugin_registered, status.error).trim().to_owned(),
                );
                Ok(Vec::new())
            }
            "NodePrepareResources" => {
                let mut answer = Prepared::default();
                for claim in Claims::decode(message).unwrap().claims {
                    self.note(format!("prepare {}/{}", claim.namespace, claim.name));
                    let device = Device {
                        request_names: vec!["card".to_owned()],
                        pool_name: "pool".to_owned(),
                        device_name: "0".to_owned(),
                        cdi_device_ids: vec![format!("{kind}=0")],
                        share_id: None,
                    };
                    let prepared = PreparedClaim { devices: vec![device], error: String::new() };
                    answer.claims.insert(claim.uid, prepared);
                }
                Ok(answer.encode_to_vec())
            }
            "NodeUnprepareResources" => {
                let mut answer = Unprepared::default();
                for claim in Claims::decode(message).unwrap().claims {
                    self.note(format!("unprepare {}/{}", claim.namespace, claim.name));
                    answer.claims.insert(claim.uid, UnpreparedClaim::default());
                }
                Ok(answer.encode_to_vec())
            }
            other => Err(format!("{other} is not known")),
        }
    }
}
