//! Ingress: which service answers which host and path; somebody else's controller listens.
//!
//! Follows upstream's `pkg/apis/networking/validation`.

use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressStatus,
    IngressTLS,
};
use serde_json::Value;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Ingress.
pub(crate) const KIND: Row = Row { short: &["ing"], status: true, ..row::<Ingress>() };

/// The annotation that named the class before there was a field for it.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";
/// How many hosts a table shows.
const SHOWN: usize = 3;

fn host(errors: &mut Errors, field: &str, host: &str) {
    let why =
        if host.contains('*') { names::wildcard_subdomain(host) } else { names::dns1123_subdomain(host) };
    check::named(errors, field, host, why);
}

/// What another object is referred to by within its namespace.
fn resource(resource: &TypedLocalObjectReference, errors: &mut Errors) {
    if let Some(group) = &resource.api_group {
        check::named(errors, "apiGroup", group, names::dns1123_subdomain(group));
    }
    check::required_segment(errors, "kind", &resource.kind);
    check::required_segment(errors, "name", &resource.name);
}

fn service(service: &IngressServiceBackend, errors: &mut Errors) {
    match service.name.as_str() {
        "" => errors.required("service.name", ""),
        name => check::named(errors, "service.name", name, names::dns1123_label(name)),
    }
    let port = service.port.clone().unwrap_or_default();
    match (check::given(port.name.as_ref()), port.number.unwrap_or(0)) {
        (None, 0) => errors.required("", "port name or number is required"),
        (None, number) => check::port(errors, "service.port.number", number),
        (Some(name), 0) => check::named(errors, "service.port.name", name, check::port_name(name)),
        (Some(_), _) => errors.invalid("", "", "cannot set both port name & port number"),
    }
}

fn backend(backend: &IngressBackend, errors: &mut Errors) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => errors.invalid("", "", "cannot set both resource and service backends"),
        (Some(other), None) => errors.at("resource", |errors| resource(other, errors)),
        (None, Some(own)) => service(own, errors),
        (None, None) => errors.invalid("", "", "resource or service backend is required"),
    }
}

fn path(path: &HTTPIngressPath, errors: &mut Errors) {
    let text = path.path.as_deref().unwrap_or_default();
    let relative = "must be an absolute path";
    match path.path_type.as_str() {
        "" => {
            errors.required("pathType", "pathType must be specified");
            return;
        }
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid("path", text, relative);
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| text.contains(**part)) {
                errors.invalid("path", text, format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|end| text.ends_with(**end)) {
                errors.invalid("path", text, format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid("path", text, relative);
            }
        }
        other => errors.not_supported("pathType", other, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    errors.at("backend", |errors| backend(&path.backend, errors));
}

fn rule(rule: &IngressRule, errors: &mut Errors) {
    if let Some(name) = check::given(rule.host.as_ref()) {
        if name.parse::<std::net::IpAddr>().is_ok() {
            errors.invalid("host", name, "must be a DNS name, not an IP address");
        }
        host(errors, "host", name);
    }
    let Some(http) = &rule.http else { return };
    errors.at("http", |errors| {
        if http.paths.is_empty() {
            errors.required("paths", "");
        }
        for (index, one) in http.paths.iter().enumerate() {
            errors.item("paths", index, |errors| path(one, errors));
        }
    });
}

fn tls(tls: &IngressTLS, errors: &mut Errors) {
    for (index, name) in tls.hosts.iter().flatten().enumerate() {
        host(errors, &format!("hosts[{index}]"), name);
    }
    if let Some(secret) = check::given(tls.secret_name.as_ref()) {
        check::named(errors, "secretName", secret, names::dns1123_subdomain(secret));
    }
}

fn hosts(spec: &IngressSpec) -> String {
    let rules = spec.rules.as_deref().unwrap_or_default();
    let named: Vec<&str> =
        rules.iter().filter_map(|rule| check::given(rule.host.as_ref())).take(SHOWN).collect();
    if named.is_empty() {
        return "*".to_owned();
    }
    let shown = named.join(",");
    let rest = rules.len().saturating_sub(SHOWN);
    if rest > 0 && named.len() == SHOWN { format!("{shown} + {rest} more...") } else { shown }
}

fn addresses(ingress: &Ingress) -> String {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let mut list: Vec<&str> = points
        .filter_map(|point| check::given(point.ip.as_ref()).or(check::given(point.hostname.as_ref())))
        .collect();
    list.sort_unstable();
    list.dedup();
    list.join(",")
}

fn spec(ingress: &Ingress) -> IngressSpec {
    ingress.spec.clone().unwrap_or_default()
}

impl Kind for Ingress {
    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(IngressStatus { load_balancer: Some(Default::default()) });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = spec(self);
        let rules = spec.rules.as_deref().unwrap_or_default();
        errors.at("spec", |errors| {
            if rules.is_empty() && spec.default_backend.is_none() {
                errors.invalid("", &Value::Null, "either `defaultBackend` or `rules` must be specified");
            }
            if let Some(default) = &spec.default_backend {
                errors.at("defaultBackend", |errors| backend(default, errors));
            }
            for (index, one) in rules.iter().enumerate() {
                errors.item("rules", index, |errors| rule(one, errors));
            }
            for (index, one) in spec.tls.iter().flatten().enumerate() {
                errors.item("tls", index, |errors| tls(one, errors));
            }
            if let Some(class) = &spec.ingress_class_name {
                check::named(errors, "ingressClassName", class, names::dns1123_subdomain(class));
            }
        });
    }

    fn validate_create(&self, errors: &mut Errors) {
        let old = self.metadata.annotations.as_ref().and_then(|annotations| annotations.get(OLD_CLASS));
        let new = self.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            let why = "must match `ingressClassName` when both are specified";
            errors.invalid(&format!("annotations.{OLD_CLASS}"), old, why);
        }
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = self.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let points = status.and_then(|balancer| balancer.ingress.as_ref());
        for (index, point) in points.into_iter().flatten().enumerate() {
            errors.item("status.loadBalancer.ingress", index, |errors| {
                check::balancer(errors, point.ip.as_ref(), point.hostname.as_ref());
            });
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Class", |it, _| {
                spec(it).ingress_class_name.unwrap_or_else(|| check::or_none("")).into()
            }),
            Column::<Self>::text("Hosts", |it, _| hosts(&spec(it)).into()),
            Column::<Self>::text("Address", |it, _| addresses(it).into()),
            Column::<Self>::text("Ports", |it, _| {
                if spec(it).tls.is_some_and(|tls| !tls.is_empty()) { "80, 443" } else { "80" }.into()
            }),
            Column::age(),
        ]
    }
}
