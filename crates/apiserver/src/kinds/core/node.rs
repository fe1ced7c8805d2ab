//! Node: a machine that runs pods; a minion in 2014.

use std::collections::{BTreeSet, HashSet};

use k8s_openapi::api::core::v1::Node;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Node.
pub(crate) const KIND: Row = Row { short: &["no"], status: true, ..row::<Node>() };

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";

fn status(node: &Node) -> String {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().rev().find(|condition| condition.type_ == "Ready");
    let mut text = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Node) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in node.metadata.labels.iter().flatten() {
        if let Some(role) = key.strip_prefix(ROLE_PREFIX) {
            roles.insert(role);
        } else if key == ROLE && !value.is_empty() {
            roles.insert(value);
        }
    }
    check::or_none(&roles.into_iter().filter(|role| !role.is_empty()).collect::<Vec<_>>().join(","))
}

fn address(node: &Node, kind: &str) -> String {
    let mut addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.find(|address| address.type_ == kind).map_or_else(|| "<none>".to_owned(), |a| a.address.clone())
}

fn info(node: &Node, pick: fn(&k8s_openapi::api::core::v1::NodeSystemInfo) -> &String) -> String {
    node.status.as_ref().and_then(|status| status.node_info.as_ref()).map(pick).cloned().unwrap_or_default()
}

impl Kind for Node {
    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let mut seen = HashSet::new();
        for (index, taint) in spec.taints.iter().flatten().enumerate() {
            errors.item("spec.taints", index, |errors| {
                check::named(errors, "key", &taint.key, names::qualified_name(&taint.key));
                let value = taint.value.as_deref().unwrap_or_default();
                check::named(errors, "value", value, names::label_value(value));
                taint_effect(errors, "effect", &taint.effect);
                if !seen.insert((&taint.key, &taint.effect)) {
                    let shown = serde_json::to_value(taint).unwrap_or_default();
                    errors.push(skiff_api::errors::Fault::Duplicate, "", shown.to_string(), "");
                }
            });
        }
        for (index, cidr) in spec.pod_cidrs.iter().flatten().enumerate() {
            if cidr.parse::<ipnet::IpNet>().is_err() {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.invalid(&format!("spec.podCIDRs[{index}]"), cidr, why);
            }
        }
        let nets = spec.pod_cidrs.iter().flatten().filter_map(|text| text.parse::<ipnet::IpNet>().ok());
        let (four, six): (Vec<_>, Vec<_>) = nets.partition(|net| net.addr().is_ipv4());
        if four.len() > 1 || six.len() > 1 {
            let shown = serde_json::to_value(&spec.pod_cidrs).unwrap_or_default();
            errors.invalid("spec.podCIDRs", &shown, "may specify no more than one CIDR for each IP family");
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let given = |text: Option<&String>| check::given(text).map(ToOwned::to_owned);
        let before = old.spec.clone().unwrap_or_default();
        let after = self.spec.clone().unwrap_or_default();
        let cidr = given(before.pod_cidr.as_ref());
        if cidr.is_some() && (cidr != given(after.pod_cidr.as_ref()) || before.pod_cidrs != after.pod_cidrs) {
            let why = "node updates may not change podCIDR except from \"\" to valid";
            errors.forbidden("spec.podCIDRs", why);
        }
        let provider = given(before.provider_id.as_ref());
        if provider.is_some() && provider != given(after.provider_id.as_ref()) {
            let why = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden("spec.providerID", why);
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Status", |node, _| status(node).into()),
            Column::<Self>::text("Roles", |node, _| roles(node).into()),
            Column::age(),
            Column::<Self>::text("Version", |node, _| info(node, |info| &info.kubelet_version).into()),
            Column::<Self>::text("Internal-IP", |node, _| address(node, "InternalIP").into()).wide(),
            Column::<Self>::text("External-IP", |node, _| address(node, "ExternalIP").into()).wide(),
            Column::<Self>::text("OS-Image", |node, _| {
                check::or_unknown(&info(node, |info| &info.os_image)).into()
            })
            .wide(),
            Column::<Self>::text("Kernel-Version", |node, _| {
                check::or_unknown(&info(node, |info| &info.kernel_version)).into()
            })
            .wide(),
            Column::<Self>::text("Container-Runtime", |node, _| {
                check::or_unknown(&info(node, |info| &info.container_runtime_version)).into()
            })
            .wide(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let unschedulable = self.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        vec![("spec.unschedulable", unschedulable.to_string())]
    }
}

/// What a taint does; also what a toleration names.
pub(crate) fn taint_effect(errors: &mut Errors, field: &str, effect: &str) {
    if effect.is_empty() {
        errors.required(field, "");
    } else {
        check::one_of(errors, field, effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}
