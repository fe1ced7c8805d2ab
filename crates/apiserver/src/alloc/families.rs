//! Which address families a service has: what its writer said, completed by what the cluster has. Pure.
//!
//! Follows upstream's `initIPFamilyFields`: a policy says how many families are wanted, families and addresses name them
//! in order, and each may be left out. What a service was given stays as it is, however the cluster's families change,
//! until somebody asks for more or less.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;
use skiff_api::Errors;

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Four,
    Six,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Four } else { Self::Six }
    }

    /// As services write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Four => "IPv4",
            Self::Six => "IPv6",
        }
    }

    pub(super) fn read(word: &str) -> Option<Self> {
        [Self::Four, Self::Six].into_iter().find(|family| family.word() == word)
    }

    fn other(self) -> Self {
        match self {
            Self::Four => Self::Six,
            Self::Six => Self::Four,
        }
    }
}

/// Completes policy and families of a service that is no `ExternalName`. `cluster` are the families that services have
/// here, the first by default.
pub(super) fn settle(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    cluster: &[Family],
    errors: &mut Errors,
) {
    if old.is_some_and(|old| still_prefers(spec, old)) {
        return;
    }
    let free = spec.cluster_ip.as_deref() == Some("None") && spec.selector.iter().flatten().next().is_none();
    let default = if free { REQUIRE } else { SINGLE };
    let before = || old.and_then(|old| old.ip_family_policy.clone());
    let policy = spec.ip_family_policy.clone().or_else(before).unwrap_or_else(|| default.to_owned());
    spec.ip_family_policy = Some(policy.clone());
    errors.at("spec", |errors| {
        if let Some(old) = old {
            reduce(spec, old, &policy, errors);
        }
        count(spec, &policy, errors);
        infer(spec, cluster, errors);
    });
    if !errors.is_empty() {
        return;
    }
    // Who brings its own endpoints may have families that the cluster does not.
    if !free {
        errors.at("spec", |errors| fit(spec, &policy, cluster, errors));
    }
    if errors.is_empty() {
        complete(spec, &policy, cluster, free);
    }
}

fn len<T>(list: Option<&Vec<T>>) -> usize {
    list.map_or(0, Vec::len)
}

/// True if the service was and is content with what there was: then it is left alone.
fn still_prefers(spec: &ServiceSpec, old: &ServiceSpec) -> bool {
    let prefers = |spec: &ServiceSpec| spec.ip_family_policy.as_deref() == Some(PREFER);
    prefers(spec)
        && prefers(old)
        && spec.type_ == old.type_
        && spec.cluster_ips == old.cluster_ips
        && spec.ip_families == old.ip_families
}

/// One family instead of two: said by the policy alone, or by everything.
fn reduce(spec: &mut ServiceSpec, old: &ServiceSpec, policy: &str, errors: &mut Errors) {
    if policy == SINGLE {
        if spec.cluster_ips == old.cluster_ips
            && let Some(ips) = &mut spec.cluster_ips
        {
            ips.truncate(1);
        }
        if spec.ip_families == old.ip_families
            && let Some(families) = &mut spec.ip_families
        {
            families.truncate(1);
        }
        return;
    }
    for (before, now, what) in [
        (len(old.cluster_ips.as_ref()), len(spec.cluster_ips.as_ref()), "cluster IP"),
        (len(old.ip_families.as_ref()), len(spec.ip_families.as_ref()), "IP family"),
    ] {
        if now != 0 && now < before {
            errors.invalid(
                "ipFamilyPolicy",
                policy,
                format!("must be 'SingleStack' to release the secondary {what}"),
            );
        }
    }
}

fn count(spec: &ServiceSpec, policy: &str, errors: &mut Errors) {
    let several =
        [(len(spec.cluster_ips.as_ref()), "cluster IPs"), (len(spec.ip_families.as_ref()), "IP families")];
    for (_, what) in several.into_iter().filter(|(count, _)| policy == SINGLE && *count == 2) {
        let why =
            format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
        errors.invalid("ipFamilyPolicy", policy, why);
    }
}

/// The families of addresses that are named without theirs.
fn infer(spec: &mut ServiceSpec, cluster: &[Family], errors: &mut Errors) {
    let ips = spec.cluster_ips.clone().unwrap_or_default();
    let families = spec.ip_families.get_or_insert_default();
    for (index, ip) in ips.iter().enumerate().skip(families.len()) {
        let Some(family) = ip.parse().ok().map(Family::of) else { break };
        if cluster.contains(&family) {
            families.push(family.word().to_owned());
        } else {
            let shown = serde_json::to_value(&ips).unwrap_or_default();
            let why = format!("{} is not configured on this cluster", family.word());
            errors.invalid(&format!("clusterIPs[{index}]"), &shown, why);
        }
    }
}

/// Whether the cluster has what is asked for.
fn fit(spec: &ServiceSpec, policy: &str, cluster: &[Family], errors: &mut Errors) {
    if policy == REQUIRE && cluster.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        errors.invalid("ipFamilyPolicy", policy, why);
    }
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        if !Family::read(family).is_some_and(|family| cluster.contains(&family)) {
            errors.invalid(&format!("ipFamilies[{index}]"), family, "not configured on this cluster");
        }
    }
}

fn complete(spec: &mut ServiceSpec, policy: &str, cluster: &[Family], free: bool) {
    let families = spec.ip_families.get_or_insert_default();
    if families.is_empty() {
        families.extend(cluster.first().map(|family| family.word().to_owned()));
    }
    if policy != SINGLE
        && (free || cluster.len() == 2)
        && let [first] = families.as_slice()
        && let Some(first) = Family::read(first)
    {
        families.push(first.other().word().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUAL: &[Family] = &[Family::Six, Family::Four];

    fn settled(yaml: &str, old: Option<&str>, cluster: &[Family]) -> Result<String, Vec<String>> {
        let read = |yaml: &str| -> ServiceSpec { serde_saphyr::from_str(yaml).unwrap() };
        let (mut spec, old, mut errors) = (read(yaml), old.map(read), Errors::new());
        settle(&mut spec, old.as_ref(), cluster, &mut errors);
        let told: Vec<String> = errors.list().iter().map(ToString::to_string).collect();
        let families = spec.ip_families.unwrap_or_default().join(",");
        let ips = spec.cluster_ips.unwrap_or_default().join(",");
        let shown = format!("{} {families} {ips}", spec.ip_family_policy.unwrap_or_default());
        if told.is_empty() { Ok(shown.trim_end().to_owned()) } else { Err(told) }
    }

    #[test]
    fn what_is_left_out_follows_from_what_is_said_and_what_the_cluster_has() {
        for (yaml, cluster, expected) in [
            ("{}", &[Family::Four][..], "SingleStack IPv4"),
            ("{}", DUAL, "SingleStack IPv6"),
            ("{ipFamilyPolicy: PreferDualStack}", &[Family::Six], "PreferDualStack IPv6"),
            ("{ipFamilyPolicy: PreferDualStack}", DUAL, "PreferDualStack IPv6,IPv4"),
            ("{ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4]}", DUAL, "RequireDualStack IPv4,IPv6"),
            ("{clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7]}", DUAL, "SingleStack IPv4 10.0.0.7"),
            // Who brings its own endpoints has both families anywhere.
            ("{clusterIP: None, clusterIPs: [None]}", &[Family::Four], "RequireDualStack IPv4,IPv6 None"),
            (
                "{clusterIP: None, clusterIPs: [None], selector: {a: b}}",
                &[Family::Four],
                "SingleStack IPv4 None",
            ),
        ] {
            assert_eq!(settled(yaml, None, cluster).as_deref(), Ok(expected), "{yaml}");
        }
    }

    #[test]
    fn a_second_family_comes_and_goes_as_the_policy_says() {
        let single = "{clusterIP: fd00::7, clusterIPs: [\"fd00::7\"], ipFamilies: [IPv6], ipFamilyPolicy: SingleStack}";
        let both = "{clusterIP: fd00::7, clusterIPs: [\"fd00::7\", 10.0.0.7], ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack}";
        let asked = single.replace("SingleStack", "RequireDualStack");
        assert_eq!(settled(&asked, Some(single), DUAL).as_deref(), Ok("RequireDualStack IPv6,IPv4 fd00::7"));
        let asked = both.replace("RequireDualStack", "SingleStack");
        assert_eq!(settled(&asked, Some(both), DUAL).as_deref(), Ok("SingleStack IPv6 fd00::7"));
        // A client that sends what it wrote at first keeps both.
        let first = "{clusterIP: fd00::7, clusterIPs: [\"fd00::7\", 10.0.0.7]}";
        assert_eq!(
            settled(first, Some(both), DUAL).as_deref(),
            Ok("RequireDualStack IPv6,IPv4 fd00::7,10.0.0.7")
        );
        // Who only prefers both is not given more, nor less, because the cluster has changed.
        let content = single.replace("SingleStack", "PreferDualStack");
        assert_eq!(settled(&content, Some(&content), DUAL).as_deref(), Ok("PreferDualStack IPv6 fd00::7"));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (yaml, old, expected) in [
            (
                "{ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]}",
                None,
                vec![
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
                    "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
                ],
            ),
            (
                "{clusterIP: fd00::7, clusterIPs: [\"fd00::7\"]}",
                None,
                vec![
                    "spec.clusterIPs[0]: Invalid value: [\"fd00::7\"]: IPv6 is not configured on this cluster",
                ],
            ),
            (
                "{ipFamilies: [IPv4, IPv6]}",
                None,
                vec![
                    "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
                ],
            ),
            (
                "{clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7], ipFamilies: [IPv4], ipFamilyPolicy: RequireDualStack}",
                Some(
                    "{clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7, \"fd00::7\"], ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack}",
                ),
                vec![
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary cluster IP",
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP family",
                ],
            ),
        ] {
            assert_eq!(
                settled(yaml, old, &[Family::Four]),
                Err(expected.into_iter().map(str::to_owned).collect())
            );
        }
    }
}
