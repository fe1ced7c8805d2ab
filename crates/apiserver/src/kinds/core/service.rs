//! Service: one address for many pods.
//!
//! Addresses, their families and node ports are given out by the registry's allocators after defaulting, since those know
//! what the cluster has; what is unset here stays unset.

use k8s_openapi::api::core::v1::{
    ClientIPConfig, LoadBalancerStatus, Service, ServiceSpec, ServiceStatus, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

mod addresses;
mod update;
mod validate;

/// The row of Service.
pub(crate) const KIND: Row = Row {
    short: &["svc"],
    categories: &["all"],
    status: true,
    name_rule: names::dns1035_label,
    upsert: true,
    answer_deleted: true,
    ..row::<Service>()
};

/// The type, defaulted or not.
fn kind(spec: &ServiceSpec) -> &str {
    check::given(spec.type_.as_ref()).unwrap_or("ClusterIP")
}

fn is_headless(spec: &ServiceSpec) -> bool {
    let first = spec.cluster_ips.as_ref().and_then(|ips| ips.first()).or(spec.cluster_ip.as_ref());
    first.is_some_and(|ip| ip == "None")
}

fn needs_node_port(spec: &ServiceSpec) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

/// Whether clients from outside may reach it, so that `externalTrafficPolicy` means something.
fn is_external(spec: &ServiceSpec) -> bool {
    let by_address =
        kind(spec) == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    needs_node_port(spec) || by_address
}

fn external_ip(service: &Service) -> String {
    let Some(spec) = &service.spec else { return "<unknown>".to_owned() };
    let own = spec.external_ips.clone().unwrap_or_default();
    match kind(spec) {
        "ClusterIP" | "NodePort" => check::or_none(&own.join(",")),
        "LoadBalancer" => {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
            let given = ingress.filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()));
            let all: Vec<String> = given.chain(own).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => spec.external_name.clone().unwrap_or_default(),
        _ => "<unknown>".to_owned(),
    }
}

fn ports(service: &Service) -> String {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let shown = ports.map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        match port.node_port {
            Some(node) if node > 0 => format!("{}:{node}/{protocol}", port.port),
            _ => format!("{}/{protocol}", port.port),
        }
    });
    check::or_none(&shown.collect::<Vec<_>>().join(","))
}

fn text(service: &Service, pick: fn(&ServiceSpec) -> Option<&String>) -> String {
    service.spec.as_ref().and_then(pick).cloned().unwrap_or_default()
}

impl Kind for Service {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_with(ServiceSpec::default);
        check::default_text(&mut spec.session_affinity, "None");
        match spec.session_affinity.as_deref() {
            Some("None") => spec.session_affinity_config = None,
            Some("ClientIP") => {
                let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
                config
                    .client_ip
                    .get_or_insert_with(ClientIPConfig::default)
                    .timeout_seconds
                    .get_or_insert(10_800);
            }
            _ => {}
        }
        check::default_text(&mut spec.type_, "ClusterIP");
        for port in spec.ports.iter_mut().flatten() {
            check::default_text(&mut port.protocol, "TCP");
            let unset = match &port.target_port {
                None | Some(IntOrString::Int(0)) => true,
                Some(IntOrString::String(name)) => name.is_empty(),
                Some(IntOrString::Int(_)) => false,
            };
            if unset {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        if is_external(spec) {
            check::default_text(&mut spec.external_traffic_policy, "Cluster");
        }
        if kind(spec) != "ExternalName" {
            check::default_text(&mut spec.internal_traffic_policy, "Cluster");
        }
        if kind(spec) == "LoadBalancer" {
            spec.allocate_load_balancer_node_ports.get_or_insert(true);
            let balancer = self.status.as_mut().and_then(|status| status.load_balancer.as_mut());
            let ingress = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter_mut().flatten());
            for point in ingress.filter(|point| point.ip.as_ref().is_some_and(|ip| !ip.is_empty())) {
                check::default_text(&mut point.ip_mode, "VIP");
            }
        }
    }

    fn prepare_create(&mut self) {
        self.status =
            Some(ServiceStatus { conditions: None, load_balancer: Some(LoadBalancerStatus::default()) });
        let spec = self.spec.get_or_insert_with(ServiceSpec::default);
        update::normalize(spec, None);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        let before = old.spec.clone().unwrap_or_default();
        let spec = self.spec.get_or_insert_with(ServiceSpec::default);
        update::normalize(spec, Some(&before));
        update::drop_what_the_type_lost(spec, &before);
        update::keep_allocated(spec, &before);
        if kind(spec) != "LoadBalancer" {
            // Whoever kept it may be slower to forget it; nobody need wait for that.
            self.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus::default());
        }
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.at("spec", |errors| validate::spec(&spec, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (self.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        errors.at("spec", |errors| update::validate(&new, &old, errors));
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let balanced = self.spec.as_ref().is_some_and(|spec| kind(spec) == "LoadBalancer");
        let points = self.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
        errors.at("status.loadBalancer", |errors| validate::points(points, balanced, errors));
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let Some(spec) = self.spec.as_ref().filter(|spec| is_headless(spec)) else { return Vec::new() };
        let mut found = Vec::new();
        if spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
            found.push("spec.externalIPs is ignored when spec.clusterIP is \"None\"".to_owned());
        }
        if spec.session_affinity.as_deref().is_some_and(|affinity| affinity != "None") {
            found.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
        found
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Type", |service, _| text(service, |spec| spec.type_.as_ref()).into()),
            Column::<Self>::text("Cluster-IP", |service, _| {
                check::or_none(&text(service, |spec| spec.cluster_ip.as_ref())).into()
            }),
            Column::<Self>::text("External-IP", |service, _| external_ip(service).into()),
            Column::<Self>::text("Port(s)", |service, _| ports(service).into()),
            Column::age(),
            Column::<Self>::text("Selector", |service, _| {
                check::shown_labels(service.spec.as_ref().and_then(|spec| spec.selector.as_ref())).into()
            })
            .wide(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", text(self, |spec| spec.cluster_ip.as_ref())),
            ("spec.type", text(self, |spec| spec.type_.as_ref())),
        ]
    }
}

#[cfg(test)]
mod tests;
