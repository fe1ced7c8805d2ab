//! Service: one port and the pods behind it. Later v1beta1 had several ports; v1 has nothing else.

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::container::protocol;
use super::kind::{Kind, Row, row};
use super::meta::{TypeMeta, keep_text};
use super::validate;
use super::value::{self, Map, Port};
use crate::errors::FieldError;

static ROW: Row = Row {
    segment: "services",
    kind: "Service",
    list_kind: "ServiceList",
    plural: "services",
    word: "service",
    paths: &[
        ("spec.ports[0].port", "port"),
        ("spec.ports[0].targetPort", "containerPort"),
        ("spec.ports[0].protocol", "protocol"),
        ("spec.ports[0].name", "portName"),
        ("spec.ports", "ports"),
        ("spec.clusterIPs[0]", "portalIP"),
        ("spec.clusterIPs", "portalIP"),
        ("spec.clusterIP", "portalIP"),
        ("spec.externalIPs", "publicIPs"),
        ("spec.type", "createExternalLoadBalancer"),
        ("spec", ""),
    ],
    ..row::<Service>()
};

/// One port and the pods behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// The port offered.
    pub port: i64,
    /// `TCP` or `UDP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Its labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
    /// Which pods; `null` for endpoints made by hand.
    pub selector: Option<Map>,
    /// Whether the world outside may reach it through a balancer of the cloud's.
    #[serde(skip_serializing_if = "value::is_false")]
    pub create_external_load_balancer: bool,
    /// Addresses that lead here as well (B).
    #[serde(rename = "publicIPs", skip_serializing_if = "Vec::is_empty")]
    pub public_ips: Vec<String>,
    /// The pods' port by number or name; 0 means the first port of the first container.
    pub container_port: Port,
    /// The virtual address (B).
    #[serde(rename = "portalIP", skip_serializing_if = "String::is_empty")]
    pub portal_ip: String,
    /// Whether a client keeps its pod (L); `None` is not shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_affinity: String,
    /// The name of the port (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// All ports, shown when there are several; if given, the flat members are ignored (L).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// v1's type where the flag above does not say it (L).
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind_of: String,
}

/// One of several ports (L).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Unique in the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `TCP` or `UDP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The port offered.
    pub port: i64,
    /// The pods' port.
    pub container_port: Port,
    /// The port of every minion that leads here.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub node_port: i64,
}

impl ServicePort {
    fn from_v1(port: &v1::ServicePort) -> Self {
        Self {
            name: value::text(port.name.as_ref()),
            protocol: protocol(port.protocol.as_deref().unwrap_or_default()),
            port: port.port.into(),
            container_port: port.target_port.as_ref().map(Port::from_v1).unwrap_or_default(),
            node_port: port.node_port.unwrap_or(0).into(),
        }
    }

    fn to_v1(&self) -> v1::ServicePort {
        v1::ServicePort {
            name: value::some(&self.name),
            protocol: Some(protocol(&self.protocol)),
            port: value::clamp(self.port),
            target_port: (!self.container_port.is_unset()).then(|| self.container_port.to_v1()),
            node_port: (self.node_port != 0).then(|| value::clamp(self.node_port)),
            app_protocol: None,
        }
    }
}

impl Service {
    fn flat(&self) -> ServicePort {
        ServicePort {
            name: self.port_name.clone(),
            protocol: self.protocol.clone(),
            port: self.port,
            container_port: self.container_port.clone(),
            node_port: 0,
        }
    }

    fn type_to_v1(&self) -> Option<String> {
        if self.create_external_load_balancer {
            return Some("LoadBalancer".to_owned());
        }
        value::some(&self.kind_of)
    }
}

impl Kind for Service {
    type V1 = v1::Service;
    const ROW: &'static Row = &ROW;

    fn meta(&self) -> &TypeMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        &mut self.meta
    }
    fn labels(&self) -> Map {
        self.labels.clone()
    }

    fn from_v1(service: &v1::Service) -> Self {
        let empty = v1::ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&empty);
        let ports: Vec<ServicePort> = spec.ports.iter().flatten().map(ServicePort::from_v1).collect();
        let first = ports.first().cloned().unwrap_or_default();
        let balanced = spec.type_.as_deref() == Some("LoadBalancer");
        let said = |word: &String| balanced || word == "ClusterIP";
        Self {
            meta: TypeMeta::from_v1(&service.metadata),
            port: first.port,
            protocol: first.protocol,
            labels: service.metadata.labels.clone().unwrap_or_default(),
            selector: spec.selector.clone().filter(|selector| !selector.is_empty()),
            create_external_load_balancer: balanced,
            public_ips: spec.external_ips.clone().unwrap_or_default(),
            container_port: first.container_port,
            portal_ip: value::text(spec.cluster_ip.as_ref()),
            session_affinity: spec.session_affinity.clone().filter(|word| word != "None").unwrap_or_default(),
            port_name: first.name,
            ports: if ports.len() > 1 { ports } else { Vec::new() },
            kind_of: spec.type_.clone().filter(|word| !said(word)).unwrap_or_default(),
        }
    }

    fn to_v1(&self) -> v1::Service {
        let ports = if self.ports.is_empty() {
            vec![self.flat().to_v1()]
        } else {
            self.ports.iter().map(ServicePort::to_v1).collect()
        };
        v1::Service {
            metadata: self.meta.to_v1(&self.labels),
            spec: Some(v1::ServiceSpec {
                ports: Some(ports),
                selector: self.selector.clone().filter(|selector| !selector.is_empty()),
                cluster_ip: value::some(&self.portal_ip),
                external_ips: value::some_list(self.public_ips.clone()),
                session_affinity: value::some(&self.session_affinity),
                type_: self.type_to_v1(),
                ..v1::ServiceSpec::default()
            }),
            status: None,
        }
    }

    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        keep_text(&mut self.portal_ip, &shown.portal_ip);
        keep_text(&mut self.session_affinity, &shown.session_affinity);
        keep_text(&mut self.port_name, &shown.port_name);
        keep_text(&mut self.kind_of, &shown.kind_of);
        if self.public_ips.is_empty() {
            self.public_ips.clone_from(&shown.public_ips);
        }
        if self.container_port.is_unset() && self.selector == shown.selector {
            self.container_port = shown.container_port.clone();
        }
        if self.ports.is_empty() && !shown.ports.is_empty() {
            // The client does not know of the other ports; what it says is about the first.
            self.ports.clone_from(&shown.ports);
            let first = &mut self.ports[0];
            let node_port = first.node_port;
            *first = ServicePort {
                name: self.port_name.clone(),
                protocol: self.protocol.clone(),
                port: self.port,
                container_port: self.container_port.clone(),
                node_port,
            };
        }
    }

    fn validate(&self, faults: &mut Vec<FieldError>) {
        validate::service_name(&self.meta, faults);
        if self.selector.as_ref().is_some_and(Map::is_empty) {
            faults.push(validate::required("selector"));
        }
    }
}
