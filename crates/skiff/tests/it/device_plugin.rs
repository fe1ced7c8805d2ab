//! A plugin of devices as small as can be: it has three, one of which is ill, registers itself, and gives a variable, a
//! greeting in a file and `/dev/zero` under another name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use prost::Message;
use skiff_base::Tasks;
use skiff_kubelet::device_plugins::proto::{
    Allocated, ContainerAllocated, Device, Devices, ForContainers, Ids, Mount, Node, Options, Preference,
    Register, VERSION,
};

use crate::grpc::{self, Answer};
use crate::plugin::Asked;

/// What its devices are called in pods.
pub(crate) const CARD: &str = "devices.test/card";

/// A plugin at work.
#[derive(Clone)]
pub(crate) struct DevicePlugin {
    folder: PathBuf,
    pub(crate) asked: Asked,
}

impl DevicePlugin {
    /// Serves beside the kubelet's socket, and says so there.
    pub(crate) async fn start(data_dir: &Path, tasks: &Tasks) -> Self {
        let plugin = Self { folder: data_dir.join("device-plugins"), asked: Asked::default() };
        plugin.register(tasks).await;
        plugin
    }

    /// As all plugins do when the kubelet has begun anew, which took their sockets away.
    pub(crate) async fn register(&self, tasks: &Tasks) {
        std::fs::write(self.folder.join("../greeting"), "from the plugin").unwrap();
        let own = self.clone();
        let carry_out = move |call: &str, message: &[u8]| own.carry_out(call, message);
        grpc::serve(&self.folder.join("card.sock"), Arc::new(carry_out), tasks);
        let options = Options { pre_start_required: true, get_preferred_allocation_available: true };
        let register = |version: &str, resource: &str| Register {
            version: version.to_owned(),
            endpoint: "card.sock".to_owned(),
            resource_name: resource.to_owned(),
            options: Some(options),
        };
        let kubelet = self.folder.join("kubelet.sock");
        let ask = async |message: Register| {
            grpc::call(&kubelet, "/v1beta1.Registration/Register", &message.encode_to_vec()).await
        };
        assert_eq!(
            ask(register("v1alpha", CARD)).await.unwrap_err(),
            "requested API version \"v1alpha\" is not supported by kubelet. Supported versions are [\"v1beta1\"]"
        );
        assert_eq!(ask(register(VERSION, "cpu")).await.unwrap_err(), "the ResourceName \"cpu\" is invalid");
        assert_eq!(ask(register(VERSION, CARD)).await, Ok(Vec::new()));
    }

    fn carry_out(&self, call: &str, message: &[u8]) -> Answer {
        Answer::One(Ok(match call {
            "ListAndWatch" => {
                let device =
                    |(id, health): (&str, &str)| Device { id: id.to_owned(), health: health.to_owned() };
                let all = [("a", "Healthy"), ("b", "Unhealthy"), ("c", "Healthy")].map(device);
                let told = Devices { devices: all.to_vec() }.encode_to_vec();
                return Answer::Many(stream::iter([told]).chain(stream::pending()).boxed());
            }
            // The last in the alphabet.
            "GetPreferredAllocation" => {
                let mut asked = Preference::decode(message).unwrap().containers.remove(0);
                self.asked.note(&format!("prefer {} of {}", asked.size, asked.available.join("")));
                ForContainers { containers: vec![Ids { ids: asked.available.pop().into_iter().collect() }] }
                    .encode_to_vec()
            }
            "Allocate" => {
                let ids = ForContainers::decode(message).unwrap().containers.remove(0).ids.join("");
                self.asked.note(&format!("allocate {ids}"));
                let text = |text: &str| text.to_owned();
                let given = ContainerAllocated {
                    envs: [(text("CARD"), ids)].into(),
                    mounts: vec![Mount {
                        container_path: text("/greeting"),
                        host_path: self.folder.join("../greeting").display().to_string(),
                        read_only: true,
                    }],
                    devices: vec![Node {
                        container_path: text("/dev/card0"),
                        host_path: text("/dev/zero"),
                        permissions: text("r"),
                    }],
                    annotations: [(text("devices.test/note"), text("given"))].into(),
                    cdi_devices: Vec::new(),
                };
                Allocated { containers: vec![given] }.encode_to_vec()
            }
            "PreStartContainer" => {
                self.asked.note(&format!("begin {}", Ids::decode(message).unwrap().ids.join("")));
                Vec::new()
            }
            other => return Answer::One(Err(format!("{other} is not known"))),
        }))
    }
}
