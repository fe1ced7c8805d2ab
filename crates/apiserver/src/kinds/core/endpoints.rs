//! Endpoints: the backends of a service in the form that EndpointSlices replace.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Endpoints.
pub(crate) const KIND: Row = Row { short: &["ep"], upsert: true, ..row::<Endpoints>() };

fn validate_address(address: &EndpointAddress, errors: &mut Errors) {
    check::reachable_ip(errors, "ip", &address.ip);
    if let Some(host) = check::given(address.hostname.as_ref()) {
        check::named(errors, "hostname", host, names::dns1123_label(host));
    }
    if let Some(node) = &address.node_name {
        check::named(errors, "nodeName", node, names::dns1123_subdomain(node));
    }
}

fn validate_subset(subset: &EndpointSubset, errors: &mut Errors) {
    let (ready, unready) = (subset.addresses.as_deref(), subset.not_ready_addresses.as_deref());
    if ready.unwrap_or_default().is_empty() && unready.unwrap_or_default().is_empty() {
        errors.required("", "must specify `addresses` or `notReadyAddresses`");
    }
    for (field, list) in [("addresses", ready), ("notReadyAddresses", unready)] {
        for (index, address) in list.unwrap_or_default().iter().enumerate() {
            errors.item(field, index, |errors| validate_address(address, errors));
        }
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        errors.item("ports", index, |errors| {
            match check::given(port.name.as_ref()) {
                None if ports.len() > 1 => errors.required("name", ""),
                None => {}
                Some(name) => check::named(errors, "name", name, names::dns1123_label(name)),
            }
            check::port(errors, "port", port.port);
            match port.protocol.as_deref() {
                None | Some("") => errors.required("protocol", ""),
                Some(protocol) => check::one_of(errors, "protocol", protocol, check::PROTOCOLS),
            }
            if let Some(app) = &port.app_protocol {
                check::named(errors, "appProtocol", app, names::qualified_name(app));
            }
        });
    }
}

/// `10.0.0.1:80,10.0.0.2:80 + 4 more...`
fn shown(endpoints: &Endpoints) -> String {
    let mut list = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let addresses = subset.addresses.as_deref().unwrap_or_default();
        let ports = subset.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            list.extend(addresses.iter().map(|address| address.ip.clone()));
        }
        for port in ports {
            list.extend(addresses.iter().map(|address| {
                let ip = &address.ip;
                if ip.contains(':') { format!("[{ip}]:{}", port.port) } else { format!("{ip}:{}", port.port) }
            }));
        }
    }
    check::few(&list, "<none>")
}

impl Kind for Endpoints {
    fn set_defaults(&mut self) {
        for subset in self.subsets.iter_mut().flatten() {
            for port in subset.ports.iter_mut().flatten() {
                check::default_text(&mut port.protocol, "TCP");
            }
        }
    }

    fn validate(&self, errors: &mut Errors) {
        for (index, subset) in self.subsets.iter().flatten().enumerate() {
            errors.item("subsets", index, |errors| validate_subset(subset, errors));
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("Endpoints", |endpoints, _| shown(endpoints).into()), Column::age()]
    }
}
