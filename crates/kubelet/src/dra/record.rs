//! Which claims are prepared on this node and for whom, on disk: a driver is told of the end of each, whatever happened in
//! between.
//!
//! A claim is written before its driver is asked, so that a node that dies in between undoes it. Whether the driver had
//! answered is not kept: after a restart it is asked again where a pod begins anew, as upstream does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skiff_api::pod::claims::base_request;

/// Upstream's name.
const FILE: &str = "dra_manager_state";

/// A device that a driver made ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Device {
    pub(super) pool_name: String,
    pub(super) device_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share_id: Option<String>,
    /// For all of the claim's requests if empty.
    pub(super) request_names: Vec<String>,
    #[serde(rename = "cdiDeviceIDs")]
    pub(super) cdi: Vec<String>,
}

/// A claim that pods of this node use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Held {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Uids of the pods.
    pub(super) pods: BTreeSet<String>,
    /// What each driver made ready.
    pub(super) drivers: BTreeMap<String, Vec<Device>>,
    /// Every driver has answered, since this kubelet began.
    #[serde(skip)]
    pub(super) prepared: bool,
}

impl Held {
    /// What a container gets that uses this request of the claim, or all of it.
    pub(super) fn cdi(&self, request: Option<&str>) -> impl Iterator<Item = &String> {
        let base = request.map(base_request);
        let meant = move |device: &&Device| {
            let mut names = device.request_names.iter().map(|name| base_request(name));
            base.is_none_or(|base| device.request_names.is_empty() || names.any(|name| name == base))
        };
        self.drivers.values().flatten().filter(meant).flat_map(|device| &device.cdi)
    }
}

/// All of them, by `namespace/name`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    file: PathBuf,
    pub(super) claims: BTreeMap<String, Held>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: String,
    claims: Vec<Held>,
}

impl Table {
    /// What was written last. Waits for the disk.
    pub(super) fn read(data_dir: &Path) -> io::Result<Self> {
        let file = data_dir.join(FILE);
        let claims = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice::<Content>(&text)?.claims,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let keyed = claims.into_iter().map(|held| (format!("{}/{}", held.namespace, held.name), held));
        Ok(Self { file, claims: keyed.collect() })
    }

    /// An empty one that would be written to the same place.
    pub(super) fn empty(data_dir: &Path) -> Self {
        Self { file: data_dir.join(FILE), claims: BTreeMap::new() }
    }

    /// What to write where.
    pub(super) fn content(&self) -> io::Result<(PathBuf, Vec<u8>)> {
        let claims = self.claims.values().cloned().collect();
        let text = serde_json::to_vec(&Content { version: "v1".to_owned(), claims })?;
        Ok((self.file.clone(), text))
    }

    /// The claims that a pod uses.
    pub(super) fn of_pod(&self, uid: &str) -> Vec<String> {
        let of = self.claims.iter().filter(|(_, held)| held.pods.contains(uid));
        of.map(|(key, _)| key.clone()).collect()
    }

    /// The pods that use any.
    pub(super) fn pods(&self) -> BTreeSet<String> {
        self.claims.values().flat_map(|held| held.pods.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_but_for_what_drivers_must_be_asked_anew() {
        let home = tempfile::tempdir().unwrap();
        let device = Device {
            request_names: vec!["r/small".to_owned()],
            cdi: vec!["x.test/card=a".to_owned()],
            ..Device::default()
        };
        let everywhere = Device { cdi: vec!["x.test/card=b".to_owned()], ..Device::default() };
        let held = Held {
            namespace: "n".to_owned(),
            name: "c".to_owned(),
            uid: "u".to_owned(),
            pods: ["p".to_owned()].into(),
            drivers: [("x.test".to_owned(), vec![device, everywhere])].into(),
            prepared: true,
        };
        let mut table = Table::empty(home.path());
        table.claims.insert("n/c".to_owned(), held.clone());
        let (file, text) = table.content().unwrap();
        std::fs::write(file, text).unwrap();
        let read = Table::read(home.path()).unwrap();
        assert_eq!(read.claims["n/c"], Held { prepared: false, ..held });
        assert_eq!((read.of_pod("p"), read.of_pod("q").len()), (vec!["n/c".to_owned()], 0));
        let given = |request| read.claims["n/c"].cdi(request).map(String::as_str).collect::<Vec<_>>();
        assert_eq!(given(None), ["x.test/card=a", "x.test/card=b"]);
        assert_eq!(given(Some("r")), ["x.test/card=a", "x.test/card=b"]);
        assert_eq!(given(Some("r/small")), ["x.test/card=a", "x.test/card=b"]);
        assert_eq!(given(Some("other")), ["x.test/card=b"]);
        assert_eq!(Table::read(tempfile::tempdir().unwrap().path()).unwrap().claims.len(), 0);
    }
}
