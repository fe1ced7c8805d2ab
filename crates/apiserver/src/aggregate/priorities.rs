//! Which groups and versions clients prefer, among those that this server answers itself; upstream's figures, from its
//! `cmd/kube-apiserver/app/aggregator.go` and `pkg/controlplane/apiserver/aggregator.go`.

use crate::resource_metrics;

/// How much clients prefer a group, and a version within it: the higher, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority {
    pub(crate) group: i32,
    pub(crate) version: i32,
}

/// What definitions of custom resources have.
pub(crate) const DEFINED: Priority = Priority { group: 1000, version: 100 };

/// Groups, versions, and their priorities.
const TABLE: &[(&str, &str, i32, i32)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v2", 17500, 30),
    ("autoscaling", "v1", 17500, 15),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("certificates.k8s.io", "v1beta1", 17300, 9),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("scheduling.k8s.io", "v1beta1", 16600, 12),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("internal.apiserver.k8s.io", "v1alpha1", 16000, 9),
    ("resource.k8s.io", "v1", 15900, 15),
    ("storagemigration.k8s.io", "v1", 15800, 15),
    // What the manifests of the metrics server say, in whose place we answer.
    (resource_metrics::GROUP, resource_metrics::VERSION, 100, 100),
];

/// The priority of a group and version that this server answers without being told to; nothing if it does not.
pub(crate) fn of(group: &str, version: &str) -> Option<Priority> {
    let known = TABLE.iter().find(|(own, number, ..)| *own == group && *number == version);
    known.map(|&(_, _, group, version)| Priority { group, version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kinds, reviews};

    #[test]
    fn every_built_in_group_and_version_has_a_place() {
        // Its own group needs none: it comes first of all.
        let rows = kinds::ALL.iter().filter(|row| row.group != "apiregistration.k8s.io");
        let all = rows.map(|row| (row.group, row.version));
        let all = all.chain(reviews::ALL.iter().map(|review| (review.group, review.version)));
        let missing: Vec<_> = all.filter(|(group, version)| of(group, version).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
