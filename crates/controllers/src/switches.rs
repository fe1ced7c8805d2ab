//! Which controllers run: `--controllers=*,-deployment-controller`, in the names and old names that
//! kube-controller-manager knows them by, or in ours.

use crate::garbage;
use crate::table;

/// Our name, kube-controller-manager's, and the one it had before; `""` where there is none.
const NAMES: &[(&str, &str, &str)] = &[
    ("certificate-approver", "certificatesigningrequest-approving-controller", "csrapproving"),
    ("certificate-cleaner", "certificatesigningrequest-cleaner-controller", "csrcleaner"),
    ("certificate-signer", "certificatesigningrequest-signing-controller", "csrsigning"),
    ("horizontal-pod-autoscaler", "horizontal-pod-autoscaler-controller", "horizontalpodautoscaling"),
    ("podcertificaterequest-cleaner", "podcertificaterequest-cleaner-controller", ""),
    ("bootstrap-signer", "bootstrap-signer-controller", "bootstrapsigner"),
    ("cronjob-controller", "", "cronjob"),
    ("daemon-set-controller", "daemonset-controller", "daemonset"),
    ("deployment-controller", "", "deployment"),
    ("disruption-controller", "", "disruption"),
    ("endpointslice-controller", "", "endpointslice"),
    ("endpoint-controller", "endpoints-controller", "endpoint"),
    ("apiserver-lease-cleaner", "", ""),
    ("job-controller", "", "job"),
    ("service-controller", "service-lb-controller", "service"),
    ("namespace-controller", "", "namespace"),
    ("node-ipam-controller", "", "nodeipam"),
    ("node-lifecycle-controller", "", "nodelifecycle"),
    ("ttl-controller", "", "ttl"),
    ("pod-garbage-collector", "pod-garbage-collector-controller", "podgc"),
    ("replicaset-controller", "", "replicaset"),
    ("replication-controller", "replicationcontroller-controller", "replicationcontroller"),
    ("resource-claim-controller", "resourceclaim-controller", ""),
    ("clusterrole-aggregation-controller", "", "clusterrole-aggregation"),
    ("root-ca-certificate-publisher", "root-ca-certificate-publisher-controller", "root-ca-cert-publisher"),
    ("service-cidrs-controller", "service-cidr-controller", ""),
    ("service-account-controller", "serviceaccount-controller", "serviceaccount"),
    ("endpointslicemirroring-controller", "endpointslice-mirroring-controller", "endpointslicemirroring"),
    ("statefulset-controller", "", "statefulset"),
    ("storage-version-migrator-controller", "", ""),
    (
        "storage-version-garbage-collector",
        "storageversion-garbage-collector-controller",
        "storage-version-gc",
    ),
    ("taint-eviction-controller", "", ""),
    ("validatingadmissionpolicy-status-controller", "", "validatingadmissionpolicy-status"),
    ("token-cleaner", "token-cleaner-controller", "tokencleaner"),
    ("tokens-controller", "serviceaccount-token-controller", "serviceaccount-token"),
    ("ttl-after-finished-controller", "", "ttl-after-finished"),
    ("persistent-volume-binder", "persistentvolume-binder-controller", "persistentvolume-binder"),
    ("attachdetach-controller", "persistentvolume-attach-detach-controller", "attachdetach"),
    ("volumeattributesclass-protection-controller", "", ""),
    ("ephemeral-volume-controller", "", "ephemeral-volume"),
    ("expand-controller", "persistentvolume-expander-controller", "persistentvolume-expander"),
    ("local-path-provisioner", "", ""),
    ("pvc-protection-controller", "persistentvolumeclaim-protection-controller", "pvc-protection"),
    ("pv-protection-controller", "persistentvolume-protection-controller", "pv-protection"),
    (garbage::NAME, "garbage-collector-controller", "garbagecollector"),
];

/// Which controllers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Those that are not named.
    others: bool,
    on: Vec<&'static str>,
    off: Vec<&'static str>,
}

impl Default for Switches {
    fn default() -> Self {
        Self { others: true, on: Vec::new(), off: Vec::new() }
    }
}

/// A name that no controller has.
#[derive(Debug, thiserror::Error)]
#[error("{name:?} is not in the list of known controllers: {}", known())]
pub struct Unknown {
    name: String,
}

fn known() -> String {
    let all: Vec<&str> =
        NAMES.iter().map(|(own, theirs, _)| if theirs.is_empty() { *own } else { *theirs }).collect();
    all.join(", ")
}

fn own(name: &str) -> Option<&'static str> {
    let named = |row: &&(&'static str, &'static str, &'static str)| [row.0, row.1, row.2].contains(&name);
    NAMES.iter().filter(|_| !name.is_empty()).find(named).map(|row| row.0)
}

impl Switches {
    /// Reads a list such as `*,-deployment`: `*` stands for all that are on by default, `name` switches one on, `-name`
    /// one off. Without `*` only those named run.
    ///
    /// # Errors
    /// If a name is unknown.
    pub fn parse<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, Unknown> {
        let mut switches = Self { others: false, ..Self::default() };
        for item in list {
            let name = item.strip_prefix('-').unwrap_or(item);
            if item == "*" {
                switches.others = true;
                continue;
            }
            let own = own(name).ok_or_else(|| Unknown { name: name.to_owned() })?;
            if item.starts_with('-') { &mut switches.off } else { &mut switches.on }.push(own);
        }
        Ok(switches)
    }

    /// Whether the controller of this name (ours) runs.
    pub fn runs(&self, name: &str) -> bool {
        if self.off.contains(&name) {
            return false;
        }
        self.on.contains(&name) || self.others
    }

    /// The rows that run.
    pub(crate) fn rows(&self) -> Vec<&'static table::Row> {
        table::ALL.iter().copied().filter(|row| self.runs(row.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_can_be_named() {
        for (name, _) in crate::names() {
            assert_eq!(own(name), Some(name));
        }
        assert_eq!(NAMES.len(), crate::names().count());
    }

    #[test]
    fn a_list_says_who_runs() {
        for (list, runs, rests) in [
            ("*", "deployment-controller", ""),
            ("*,-deployment", "job-controller", "deployment-controller"),
            ("*,-deployment-controller,-daemonset", "job-controller", "daemon-set-controller"),
            ("deployment,replicaset", "replicaset-controller", "job-controller"),
        ] {
            let switches = Switches::parse(list.split(',')).unwrap();
            assert!(switches.runs(runs) && (rests.is_empty() || !switches.runs(rests)), "{list}");
        }
        let refused = Switches::parse(["*", "-nobody"]).unwrap_err().to_string();
        assert!(
            refused.starts_with("\"nobody\" is not in the list of known controllers: certificatesigning")
        );
    }
}
