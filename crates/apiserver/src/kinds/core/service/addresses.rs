//! What the addresses and families of a service must look like, whatever the cluster has; and together with the cluster's
//! families, the allocator judges them again.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;
use skiff_api::Errors;

use super::{is_headless, kind};
use crate::kinds::check;

const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];

pub(super) fn spec(spec: &ServiceSpec, errors: &mut Errors) {
    if kind(spec) == "ExternalName" {
        return;
    }
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    let shown = || serde_json::to_value(ips).unwrap_or_default();
    if ips.first().is_some_and(|leading| Some(leading) != spec.cluster_ip.as_ref()) {
        errors.invalid("clusterIPs", &shown(), "first value must match `clusterIP`");
    }
    families(spec, errors);
    let Some(parsed) = parsed(ips, errors) else { return };
    if ips.len() > 2 {
        errors.invalid("clusterIPs", &shown(), "may only hold up to 2 values");
    }
    if let [a, b, ..] = parsed.as_slice()
        && a.is_ipv4() == b.is_ipv4()
    {
        errors.invalid("clusterIPs", &shown(), "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        return;
    }
    let named = ips.iter().zip(&parsed).zip(spec.ip_families.iter().flatten());
    for (index, ((text, ip), family)) in named.enumerate() {
        if FAMILIES.contains(&family.as_str()) && ip.is_ipv4() != (family == "IPv4") {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.invalid(&format!("clusterIPs[{index}]"), text, why);
        }
    }
}

fn families(spec: &ServiceSpec, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        let field = format!("ipFamilies[{index}]");
        check::one_of(errors, &field, family, FAMILIES);
        if !seen.insert(family) {
            errors.duplicate(&field, family);
        }
    }
    if let Some(policy) = &spec.ip_family_policy {
        check::one_of(errors, "ipFamilyPolicy", policy, POLICIES);
    }
}

/// The addresses, none of a headless service; nothing if any is none.
fn parsed(ips: &[String], errors: &mut Errors) -> Option<Vec<IpAddr>> {
    let mut parsed = Vec::new();
    let mut sound = true;
    for (index, ip) in ips.iter().enumerate() {
        let field = format!("clusterIPs[{index}]");
        match ip.as_str() {
            "None" if ips.len() == 1 => {}
            "None" if index == 0 => {
                let shown = serde_json::to_value(ips).unwrap_or_default();
                errors.invalid("clusterIPs", &shown, "'None' must be the first and only value");
                sound = false;
            }
            text => match check::ip(errors, &field, text) {
                Some(ip) => parsed.push(ip),
                None => sound = false,
            },
        }
    }
    sound.then_some(parsed)
}
