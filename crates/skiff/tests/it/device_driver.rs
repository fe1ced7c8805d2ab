//! A driver of devices as small as can be: its one device is a file with a greeting, `/dev/zero` under another name and a
//! variable. It registers itself, and remembers what was asked of it.

use std::path::{Path, PathBuf};

use prost::Message;
use skiff_base::Tasks;
use skiff_kubelet::dra::proto::{Claims, Device, Prepared, PreparedClaim, Unprepared, UnpreparedClaim};

use crate::plugin::{Asked, Plugin};

/// The driver's name.
pub(crate) const DEVICES: &str = "devices.test";

/// A driver at work.
pub(crate) struct DeviceDriver {
    /// Where it describes its devices.
    spec: PathBuf,
    pub(crate) asked: Asked,
}

impl Drop for DeviceDriver {
    fn drop(&mut self) {
        let _none = std::fs::remove_file(&self.spec);
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
        let driver = Self { spec, asked: Asked::default() };
        let plugin = Plugin {
            kind: "DRAPlugin",
            name: DEVICES,
            versions: &["v1.DRAPlugin", "v1beta1.DRAPlugin"],
            socket: folder.join("dra.sock"),
        };
        let asked = driver.asked.clone();
        plugin.start(registry, &driver.asked, tasks, move |call, message| {
            carry_out(call, message, &kind, &asked)
        });
        driver
    }
}

fn carry_out(call: &str, message: &[u8], kind: &str, asked: &Asked) -> Result<Vec<u8>, String> {
    match call {
        "NodePrepareResources" => {
            let mut answer = Prepared::default();
            for claim in Claims::decode(message).unwrap().claims {
                asked.note(&format!("prepare {}/{}", claim.namespace, claim.name));
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
                asked.note(&format!("unprepare {}/{}", claim.namespace, claim.name));
                answer.claims.insert(claim.uid, UnpreparedClaim::default());
            }
            Ok(answer.encode_to_vec())
        }
        other => Err(format!("{other} is not known")),
    }
}
