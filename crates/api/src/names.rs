//! Well-known names (labels, annotations, finalizers) and the rules that names must keep.
//!
//! Rules and messages follow upstream's `k8s.io/apimachinery/pkg/util/validation`; each check returns every reason why
//! the text is refused, so that a caller can report them all.

/// Label: the node's host name.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Label: the node's operating system.
pub const OS: &str = "kubernetes.io/os";
/// Label: the node's processor architecture.
pub const ARCH: &str = "kubernetes.io/arch";
/// Label: the service that an EndpointSlice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Keeps a ServiceCIDR that is to go until no address lies in it alone.
pub const SERVICE_CIDR_FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// What the condition `Ready` of a ServiceCIDR says.
pub const SERVICE_CIDR_READY: &str = "Kubernetes Service CIDR is ready";
/// Label: who manages an EndpointSlice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Label on every namespace: its own name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Taint key: the node is cordoned.
pub const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taint key: the node is not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint key: the node does not report.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Namespace of node leases.
pub const NODE_LEASE_NAMESPACE: &str = "kube-node-lease";
/// Label: which component a lease of this kind is the identity of.
pub const IDENTITY: &str = "apiserver.kubernetes.io/identity";
/// The component that API servers are.
pub const API_SERVER: &str = "kube-apiserver";

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const DNS1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

fn regex_hint(rule: &str, examples: &[&str], regex: &str) -> String {
    let shown: Vec<String> = examples.iter().map(|e| format!("'{e}'")).collect();
    let mut text = format!("{rule} (");
    for (index, example) in shown.iter().enumerate() {
        text.push_str(if index == 0 { "e.g. " } else { " or " });
        text.push_str(example);
        text.push_str(", ");
    }
    text.push_str(&format!("regex used for validation is '{regex}')"));
    text
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if lower_alnum(*a) && lower_alnum(*z))
        && bytes.iter().all(|b| lower_alnum(*b) || *b == b'-')
}

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} bytes"))
}

/// RFC 1123 label: at most 63 of `[a-z0-9-]`, alphanumeric at both ends.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut why: Vec<String> = too_long(text, 63).into_iter().collect();
    if !is_label(text) {
        why.push(regex_hint(LABEL, &["my-name", "123-abc"], "[a-z0-9]([-a-z0-9]*[a-z0-9])?"));
    }
    why
}

/// RFC 1123 subdomain: labels joined by dots, at most 253 in all.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut why: Vec<String> = too_long(text, 253).into_iter().collect();
    if !text.split('.').all(is_label) {
        why.push(regex_hint(
            SUBDOMAIN,
            &["example.com"],
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        ));
    }
    why
}

/// RFC 1035 label: as [`dns1123_label`] but starting with a letter; services are named so.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut why: Vec<String> = too_long(text, 63).into_iter().collect();
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        why.push(regex_hint(DNS1035, &["my-name", "abc-123"], "[a-z]([-a-z0-9]*[a-z0-9])?"));
    }
    why
}

/// A subdomain below a `*.`, as hosts of ingresses may be.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut why: Vec<String> = too_long(text, 253).into_iter().collect();
    if !text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        why.push(regex_hint(
            WILDCARD,
            &["*.example.com"],
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        ));
    }
    why
}

/// A name that can stand in a path: neither `.` nor `..`, without `/` and `%`.
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `[prefix/]name`: label keys, annotation keys, resource names, finalizers.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let hint = |rule: &str| {
        regex_hint(rule, &["MyName", "my.name", "123-abc"], "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
    };
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                why.push("prefix part must be non-empty".to_owned());
            } else {
                why.extend(dns1123_subdomain(prefix).into_iter().map(|w| format!("prefix part {w}")));
            }
            *name
        }
        _ => {
            why.push(String::from(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return why;
        }
    };
    if name.is_empty() {
        why.push("name part must be non-empty".to_owned());
    } else {
        why.extend(too_long(name, 63).map(|w| format!("name part {w}")));
    }
    if !is_qualified_part(name) {
        why.push(hint(QUALIFIED));
    }
    why
}

/// A label's value: empty, or at most 63 alphanumerics, dashes, underscores and dots.
pub fn label_value(text: &str) -> Vec<String> {
    let mut why: Vec<String> = too_long(text, 63).into_iter().collect();
    if !text.is_empty() && !is_qualified_part(text) {
        why.push(regex_hint(
            VALUE,
            &["MyValue", "my_value", "12345"],
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
        ));
    }
    why
}
