//! Checks that many kinds share: ports, addresses, paths, keys, labels. Upstream's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::errors::Fault;
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

pub(crate) const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(crate) const POSITIVE: &str = "must be greater than 0";
pub(crate) const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
pub(crate) const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// The protocols a port may have, as error messages list them.
pub(crate) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Records each reason why `value` is refused.
pub(crate) fn named(errors: &mut Errors, field: &str, value: &str, why: Vec<String>) {
    for reason in why {
        errors.invalid(field, value, reason);
    }
}

/// A value that must be one of `supported` (sorted).
pub(crate) fn one_of(errors: &mut Errors, field: &str, value: &str, supported: &[&str]) {
    if !supported.contains(&value) {
        errors.not_supported(field, value, supported);
    }
}

/// A port number.
pub(crate) fn port(errors: &mut Errors, field: &str, port: i32) {
    if !(1..=65535).contains(&port) {
        errors.invalid(field, &port, PORT_RANGE);
    }
}

/// Why a port's name is refused (IANA service name).
pub(crate) fn port_name(name: &str) -> Vec<String> {
    let mut why = Vec::new();
    if name.len() > 15 {
        why.push("must be no more than 15 characters".to_owned());
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        why.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        why.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        why.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        why.push("must not begin or end with a hyphen".to_owned());
    }
    why
}

/// A port number or name.
pub(crate) fn port_or_name(errors: &mut Errors, field: &str, value: &IntOrString) {
    match value {
        IntOrString::Int(number) => port(errors, field, *number),
        IntOrString::String(name) => named(errors, field, name, port_name(name)),
    }
}

/// An address; yes if it is one.
pub(crate) fn ip(errors: &mut Errors, field: &str, text: &str) -> Option<IpAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        errors.invalid(field, text, NO_IP);
    }
    parsed
}

/// Where a balancer can be reached, in fields `ip` and `hostname`.
pub(crate) fn balancer(errors: &mut Errors, address: Option<&String>, hostname: Option<&String>) {
    if let Some(address) = given(address) {
        ip(errors, "ip", address);
    }
    if let Some(name) = given(hostname) {
        named(errors, "hostname", name, names::dns1123_subdomain(name));
        if name.parse::<IpAddr>().is_ok() {
            errors.invalid("hostname", name, "must be a DNS name, not an IP address");
        }
    }
}

/// A network; yes if it is one. Upstream's strict rule for fields that once took anything.
pub(crate) fn cidr(errors: &mut Errors, field: &str, text: &str) -> Option<IpNet> {
    let Ok(net) = text.parse::<IpNet>() else {
        errors.invalid(field, text, NO_CIDR);
        return None;
    };
    match net {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            errors.invalid(field, text, "must not have an IPv4-mapped IPv6 address");
        }
        net if net.addr() != net.network() => {
            errors.invalid(field, text, "must not have bits set beyond the prefix length");
        }
        _ => {}
    }
    Some(net)
}

/// A network written in the one way that every tool writes it.
pub(crate) fn canonical_cidr(errors: &mut Errors, field: &str, text: &str) -> Option<IpNet> {
    let before = errors.len();
    let net = cidr(errors, field, text)?;
    if errors.len() == before && net.to_string() != text {
        errors.invalid(field, text, format!("must be in canonical form ({:?})", net.to_string()));
    }
    Some(net)
}

/// Why a text is refused as an address written in the one way that every tool writes it.
pub(crate) fn canonical_ip(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Err(_) => vec![NO_IP.to_owned()],
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(ip) if ip.to_string() != text => {
            vec![format!("must be in canonical form ({:?})", ip.to_string())]
        }
        Ok(_) => Vec::new(),
    }
}

/// `acme.io/foo`: who invents a name puts a domain of theirs before it.
pub(crate) fn domain_prefixed_path(errors: &mut Errors, field: &str, text: &str) {
    const PATH: &str = "A-Za-z0-9/\\-._~%!$&'()*+,;=:";
    let Some((host, path)) = text.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        errors.invalid(field, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    named(errors, field, host, names::dns1123_subdomain(host));
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        errors.invalid(field, path, format!("Invalid path (regex used for validation is '[{PATH}]+')"));
    }
}

/// A text that must be there and can stand in a path.
pub(crate) fn required_segment(errors: &mut Errors, field: &str, text: &str) {
    match text {
        "" => errors.required(field, ""),
        text => named(errors, field, text, names::path_segment(text)),
    }
}

/// An address that traffic may be sent to by others: no loopback, link-local, unspecified or multicast one.
pub(crate) fn reachable_ip(errors: &mut Errors, field: &str, text: &str) {
    let Some(address) = ip(errors, field, text) else { return };
    let mut refuse = |why: &str| errors.invalid(field, text, why);
    if address.is_unspecified() {
        refuse(&format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (local_unicast, local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if local_unicast {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// A number that may not be negative.
pub(crate) fn not_negative(errors: &mut Errors, field: &str, value: impl Into<i64>) {
    let value = value.into();
    if value < 0 {
        errors.invalid(field, &value, NOT_NEGATIVE);
    }
}

/// A number that must be positive.
pub(crate) fn positive(errors: &mut Errors, field: &str, value: impl Into<i64>) {
    let value = value.into();
    if value <= 0 {
        errors.invalid(field, &value, POSITIVE);
    }
}

/// Why a key of a ConfigMap or Secret is refused.
pub(crate) fn config_key(key: &str) -> Vec<String> {
    let mut why = Vec::new();
    if key.len() > 253 {
        why.push("must be no more than 253 bytes".to_owned());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(plain) {
        why.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match key {
        "." => why.push("must not be '.'".to_owned()),
        ".." => why.push("must not be '..'".to_owned()),
        key if key.starts_with("..") => why.push("must not start with '..'".to_owned()),
        _ => {}
    }
    why
}

/// Why the name of an environment variable is refused.
pub(crate) fn env_name(name: &str) -> Vec<String> {
    let mut why = Vec::new();
    if name.is_empty() || !name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        why.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    why
}

/// A path that stays below where it is put.
pub(crate) fn local_descending_path(errors: &mut Errors, field: &str, path: &str) {
    if path.starts_with('/') {
        errors.invalid(field, path, "must be a relative path");
    }
    no_backsteps(errors, field, path);
}

/// A path without `..`.
pub(crate) fn no_backsteps(errors: &mut Errors, field: &str, path: &str) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(field, path, "must not contain '..'");
    }
}

/// A local path that may not start with `..`, as files of projected volumes have.
pub(crate) fn local_file_path(errors: &mut Errors, field: &str, path: &str) {
    local_descending_path(errors, field, path);
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        errors.invalid(field, path, "must not start with '..'");
    }
}

/// Labels within an object (a template's, a selector's).
pub(crate) fn labels(errors: &mut Errors, field: &str, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        named(errors, field, key, names::qualified_name(key));
        named(errors, field, value, names::label_value(value));
    }
}

/// Annotations within an object (a template's).
pub(crate) fn annotations(errors: &mut Errors, field: &str, annotations: &BTreeMap<String, String>) {
    for key in annotations.keys() {
        named(errors, field, key, names::qualified_name(&key.to_lowercase()));
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_ANNOTATIONS {
        errors.too_long(field, MAX_ANNOTATIONS);
    }
}

/// A v1 label selector.
pub(crate) fn label_selector(errors: &mut Errors, field: &str, selector: &LabelSelector) {
    errors.at(field, |errors| {
        labels(errors, "matchLabels", selector.match_labels.as_ref().unwrap_or(&BTreeMap::new()));
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            errors.item("matchExpressions", index, |errors| {
                let count = expression.values.as_ref().map_or(0, Vec::len);
                match expression.operator.as_str() {
                    "In" | "NotIn" if count == 0 => {
                        errors.required("values", "must be specified when `operator` is 'In' or 'NotIn'");
                    }
                    "Exists" | "DoesNotExist" if count > 0 => {
                        errors.forbidden(
                            "values",
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                        );
                    }
                    "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                    other => errors.invalid("operator", other, "not a valid selector operator"),
                }
                named(errors, "key", &expression.key, names::qualified_name(&expression.key));
                for (index, value) in expression.values.iter().flatten().enumerate() {
                    named(errors, &format!("values[{index}]"), value, names::label_value(value));
                }
            });
        }
    });
}

/// An immutable field whose change is answered with another text than `field is immutable`.
pub(crate) fn unchanged<T: PartialEq>(errors: &mut Errors, field: &str, new: &T, old: &T, why: &str) {
    if new != old {
        errors.push(Fault::Forbidden, field, String::new(), why);
    }
}

/// Labels as tables show them: `a=b,c=d`, or `<none>`.
pub(crate) fn shown_labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let shown: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&shown.join(","))
}

/// `text`, or `<none>` if it is empty.
pub(crate) fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text.to_owned() }
}

/// `text`, or `<unknown>` if it is empty.
pub(crate) fn or_unknown(text: &str) -> String {
    if text.is_empty() { "<unknown>".to_owned() } else { text.to_owned() }
}

/// An empty text counts as absent, as in upstream's types.
pub(crate) fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Sets a text that is absent or empty.
pub(crate) fn default_text(slot: &mut Option<String>, value: &str) {
    if slot.as_deref().is_none_or(str::is_empty) {
        *slot = Some(value.to_owned());
    }
}

/// The types a host path may name.
const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// A path on the node, of a pod's volume or of a persistent one.
pub(crate) fn host_path(errors: &mut Errors, path: &HostPathVolumeSource) {
    errors.at("hostPath", |errors| {
        if path.path.is_empty() {
            errors.required("path", "");
        }
        no_backsteps(errors, "path", &path.path);
        one_of(errors, "type", path.type_.as_deref().unwrap_or_default(), HOST_PATHS);
    });
}

/// The first three of a list, and how many more there are; `none` if there are none.
pub(crate) fn few(list: &[String], none: &str) -> String {
    const SHOWN: usize = 3;
    match list {
        [] => none.to_owned(),
        few if few.len() <= SHOWN => few.join(","),
        many => format!("{} + {} more...", many[..SHOWN].join(","), many.len() - SHOWN),
    }
}

/// Quantities are kept in canonical form; what is none stays for validation to refuse.
pub(crate) fn canonical(amounts: Option<&mut BTreeMap<String, Text>>) {
    for amount in amounts.into_iter().flat_map(BTreeMap::values_mut) {
        if let Ok(quantity) = Quantity::parse(&amount.0) {
            *amount = quantity.to_text();
        }
    }
}

/// The fields in which two objects differ, a line each for what was and what is wanted.
pub(crate) fn difference(old: &impl serde::Serialize, new: &impl serde::Serialize) -> String {
    let tree = |value: Result<serde_json::Value, _>| match value {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (tree(skiff_api::decode::tree(old)), tree(skiff_api::decode::tree(new)));
    let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut lines = String::new();
    for field in fields.into_iter().filter(|field| old.get(*field) != new.get(*field)) {
        for (sign, value) in [('-', old.get(field)), ('+', new.get(field))] {
            if let Some(value) = value {
                lines.push_str(&format!("{sign} {field}: {value}\n"));
            }
        }
    }
    lines
}
