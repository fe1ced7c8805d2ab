//! EndpointSlice: up to a thousand backends of a service.

use std::collections::HashSet;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of EndpointSlice.
pub(crate) const KIND: Row = Row { ..row::<EndpointSlice>() };

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;

fn validate_endpoint(endpoint: &Endpoint, kind: &str, errors: &mut Errors) {
    let count = endpoint.addresses.len();
    if count == 0 {
        errors.required("addresses", "must contain at least 1 address");
    } else if count > MAX_ADDRESSES {
        errors.too_many("addresses", count, MAX_ADDRESSES);
    }
    for (index, address) in endpoint.addresses.iter().enumerate() {
        let field = format!("addresses[{index}]");
        match kind {
            "IPv4" | "IPv6" => {
                if let Ok(ip) = address.parse::<std::net::IpAddr>()
                    && ip.is_ipv4() != (kind == "IPv4")
                {
                    errors.invalid(&field, address, format!("must be an {kind} address"));
                } else {
                    check::reachable_ip(errors, &field, address);
                }
            }
            "FQDN" => {
                let name = address.strip_suffix('.').unwrap_or(address);
                check::named(errors, &field, address, names::dns1123_subdomain(name));
            }
            _ => {}
        }
    }
    if let Some(node) = &endpoint.node_name {
        check::named(errors, "nodeName", node, names::dns1123_subdomain(node));
    }
    if let Some(host) = check::given(endpoint.hostname.as_ref()) {
        check::named(errors, "hostname", host, names::dns1123_label(host));
    }
}

/// Ports, here and in Endpoints' sense: named apart, with a known protocol.
fn validate_ports(ports: &[EndpointPort], errors: &mut Errors) {
    if ports.len() > MAX_PORTS {
        errors.too_many("ports", ports.len(), MAX_PORTS);
        return;
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        errors.item("ports", index, |errors| {
            let name = port.name.as_deref().unwrap_or_default();
            if !name.is_empty() {
                check::named(errors, "name", name, names::dns1123_label(name));
            }
            if !seen.insert(name) {
                errors.duplicate("name", name);
            }
            match port.protocol.as_deref() {
                None | Some("") => errors.required("protocol", ""),
                Some(protocol) => check::one_of(errors, "protocol", protocol, check::PROTOCOLS),
            }
            if let Some(number) = port.port {
                check::port(errors, "port", number);
            }
            if let Some(app) = &port.app_protocol {
                check::named(errors, "appProtocol", app, names::qualified_name(app));
            }
        });
    }
}

impl Kind for EndpointSlice {
    fn set_defaults(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.endpoints != old.endpoints
            || self.ports != old.ports
            || self.address_type != old.address_type
            || self.metadata.labels != old.metadata.labels
    }

    fn validate(&self, errors: &mut Errors) {
        if self.address_type.is_empty() {
            errors.required("addressType", "");
        } else {
            check::one_of(errors, "addressType", &self.address_type, &["FQDN", "IPv4", "IPv6"]);
        }
        let endpoints = self.endpoints.as_deref().unwrap_or_default();
        if endpoints.len() > MAX_ENDPOINTS {
            errors.too_many("endpoints", endpoints.len(), MAX_ENDPOINTS);
        } else {
            for (index, endpoint) in endpoints.iter().enumerate() {
                errors.item("endpoints", index, |errors| {
                    validate_endpoint(endpoint, &self.address_type, errors)
                });
            }
        }
        validate_ports(self.ports.as_deref().unwrap_or_default(), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("addressType", &self.address_type, &old.address_type);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("AddressType", |slice, _| slice.address_type.clone().into()),
            Column::<Self>::text("Ports", |slice, _| {
                let port = |port: &EndpointPort| match (port.port, check::given(port.name.as_ref())) {
                    (Some(number), _) => number.to_string(),
                    (None, Some(name)) => name.to_owned(),
                    (None, None) => "*".to_owned(),
                };
                check::few(&slice.ports.iter().flatten().map(port).collect::<Vec<_>>(), "<unset>").into()
            }),
            Column::<Self>::text("Endpoints", |slice, _| {
                let addresses =
                    slice.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.clone());
                check::few(&addresses.collect::<Vec<_>>(), "<unset>").into()
            }),
            Column::age(),
        ]
    }
}
