//! The variables by which a container finds services without DNS, as in 2014 and ever since.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT` and the links of old for every service with an address. Without
/// `links` only the API server's own.
pub(crate) fn variables(services: &[Service], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let is_master = |service: &Service| {
        service.metadata.namespace.as_deref() == Some("default")
            && service.metadata.name.as_deref() == Some("kubernetes")
    };
    // The master's first: a service of the same name in the pod's own namespace wins.
    let masters = services.iter().filter(|service| is_master(service));
    let own = services.iter().filter(|service| {
        links && !is_master(service) && service.metadata.namespace.as_deref() == Some(namespace)
    });
    for service in masters.chain(own) {
        add(service, &mut all);
    }
    all
}

fn add(service: &Service, all: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let protocol = |text: &Option<String>| text.clone().unwrap_or_else(|| "TCP".to_owned());
    let url = |port: i32, protocol: &str| format!("{}://{host}:{port}", protocol.to_lowercase());

    all.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
    all.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    all.insert(format!("{name}_PORT"), url(first.port, &protocol(&first.protocol)));
    for port in ports {
        let protocol = protocol(&port.protocol);
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all.insert(format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string());
        }
        let link = format!("{name}_PORT_{}_{protocol}", port.port);
        all.insert(format!("{link}_PROTO"), protocol.to_lowercase());
        all.insert(format!("{link}_PORT"), port.port.to_string());
        all.insert(format!("{link}_ADDR"), ip.to_owned());
        all.insert(link, url(port.port, &protocol));
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}
