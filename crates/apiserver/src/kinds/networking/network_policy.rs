//! NetworkPolicy: who may talk to some pods, and to whom they may talk.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of NetworkPolicy.
pub(crate) const KIND: Row = Row { short: &["netpol"], ..row::<NetworkPolicy>() };

fn port(port: &NetworkPolicyPort, errors: &mut Errors) {
    if let Some(protocol) = &port.protocol
        && !check::PROTOCOLS.contains(&protocol.as_str())
    {
        errors.not_supported("protocol", protocol, &["TCP", "UDP", "SCTP"]);
    }
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(first)), last) => {
            check::port(errors, "port", *first);
            if let Some(last) = last {
                if last < *first {
                    errors.invalid("endPort", &last, "must be greater than or equal to `port`");
                }
                check::port(errors, "endPort", last);
            }
        }
        (Some(IntOrString::String(name)), last) => {
            if let Some(last) = last {
                errors.invalid("endPort", &last, "may not be specified when `port` is non-numeric");
            }
            check::named(errors, "port", name, check::port_name(name));
        }
        (None, Some(last)) => {
            errors.invalid("endPort", &last, "may not be specified when `port` is not specified");
        }
        (None, None) => {}
    }
}

fn block(block: &IPBlock, errors: &mut Errors) {
    if block.cidr.is_empty() {
        errors.required("cidr", "");
        return;
    }
    let Some(net) = check::cidr(errors, "cidr", &block.cidr) else { return };
    for (index, text) in block.except.iter().flatten().enumerate() {
        let field = format!("except[{index}]");
        let Some(except) = check::cidr(errors, &field, text) else { continue };
        let inside = |net: &IpNet| net.contains(&except.network()) && net.prefix_len() < except.prefix_len();
        if !inside(&net) {
            errors.invalid(&field, text, "must be a strict subset of `cidr`");
        }
    }
}

fn peer(peer: &NetworkPolicyPeer, errors: &mut Errors) {
    if let Some(selector) = &peer.pod_selector {
        check::label_selector(errors, "podSelector", selector);
    }
    if let Some(selector) = &peer.namespace_selector {
        check::label_selector(errors, "namespaceSelector", selector);
    }
    if let Some(given) = &peer.ip_block {
        errors.at("ipBlock", |errors| block(given, errors));
    }
    let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
    match (selects, peer.ip_block.is_some()) {
        (false, false) => errors.required("", "must specify a peer"),
        (true, true) => errors.forbidden("", "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

/// One direction: the ports and peers of each rule.
fn rules<'a>(
    errors: &mut Errors,
    direction: &str,
    peers: &str,
    rules: impl Iterator<Item = (&'a Option<Vec<NetworkPolicyPort>>, &'a Option<Vec<NetworkPolicyPeer>>)>,
) {
    for (index, (ports, others)) in rules.enumerate() {
        errors.item(direction, index, |errors| {
            for (index, one) in ports.iter().flatten().enumerate() {
                errors.item("ports", index, |errors| port(one, errors));
            }
            for (index, one) in others.iter().flatten().enumerate() {
                errors.item(peers, index, |errors| peer(one, errors));
            }
        });
    }
}

impl Kind for NetworkPolicy {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        let ingress = spec.ingress.iter_mut().flatten().map(|rule| &mut rule.ports);
        let egress = spec.egress.iter_mut().flatten().map(|rule| &mut rule.ports);
        for port in ingress.chain(egress).flatten().flatten() {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let mut types = vec!["Ingress".to_owned()];
            if spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()) {
                types.push("Egress".to_owned());
            }
            spec.policy_types = Some(types);
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            if let Some(selector) = &spec.pod_selector {
                check::label_selector(errors, "podSelector", selector);
            }
            let ingress = spec.ingress.iter().flatten().map(|rule| (&rule.ports, &rule.from));
            rules(errors, "ingress", "from", ingress);
            let egress = spec.egress.iter().flatten().map(|rule| (&rule.ports, &rule.to));
            rules(errors, "egress", "to", egress);
            let types = spec.policy_types.as_deref().unwrap_or_default();
            if types.len() > 2 {
                let shown = skiff_api::decode::tree(types).unwrap_or_default();
                errors.invalid("policyTypes", &shown, "may not specify more than two policyTypes");
                return;
            }
            for (index, name) in types.iter().enumerate() {
                check::one_of(errors, &format!("policyTypes[{index}]"), name, &["Ingress", "Egress"]);
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Pod-Selector", |policy, _| {
                workload::selects(policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref()))
            }),
            Column::age(),
        ]
    }
}
