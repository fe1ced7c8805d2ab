//! Every check, in upstream's words.

use super::*;
use crate::admission::pod_security::{Told, violations};
use crate::kinds::testing::given;

const SAFE: &str = "allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}";

#[track_caller]
fn check(level: Level, version: Version, spec: &str, expected: &str) {
    let pod: k8s_openapi::api::core::v1::Pod = given(&format!("{{metadata: {{name: a}}, spec: {spec}}}"));
    let standard = Standard { level, version };
    let found = violations(standard, &pod.metadata, pod.spec.as_ref().unwrap(), Told::Detail);
    assert_eq!(found.unwrap_or_default(), expected, "{spec}");
}

#[test]
fn the_baseline_keeps_pods_off_their_node() {
    for (spec, expected) in [
        ("{containers: [{name: c}]}", ""),
        (
            "{hostNetwork: true, hostPID: true, containers: [{name: c}]}",
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (
            "{containers: [{name: c, securityContext: {privileged: true}}]}",
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            "{containers: [{name: c, securityContext: {capabilities: {add: [NET_ADMIN, CHOWN]}}}]}",
            "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            "{containers: [{name: c}], volumes: [{name: v, hostPath: {path: /}}]}",
            "hostPath volumes (volume \"v\")",
        ),
        (
            "{containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}, {name: d, ports: [{containerPort: 81, hostPort: 81}]}]}",
            "hostPort (containers \"c\", \"d\" use hostPorts 80, 81)",
        ),
        (
            "{containers: [{name: c, livenessProbe: {httpGet: {port: 80, host: 10.0.0.1}}}]}",
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
        (
            "{containers: [{name: c, securityContext: {procMount: Unmasked}}]}",
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        ("{hostUsers: false, containers: [{name: c, securityContext: {procMount: Unmasked}}]}", ""),
        (
            "{securityContext: {seLinuxOptions: {type: foo_t, user: u}}, containers: [{name: c}]}",
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"foo_t\"; user may not be set)",
        ),
        (
            "{securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: c}]}",
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            "{securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}, containers: [{name: c}]}",
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            "{securityContext: {appArmorProfile: {type: Unconfined}}, containers: [{name: c}]}",
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            "{securityContext: {windowsOptions: {hostProcess: true}}, containers: [{name: c}]}",
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        check(Level::Baseline, Version::LATEST, spec, expected);
        check(Level::Privileged, Version::LATEST, spec, "");
    }
}

#[test]
fn the_restricted_level_wants_everything_said() {
    check(
        Level::Restricted,
        Version::LATEST,
        "{containers: [{name: c}]}",
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    check(
        Level::Restricted,
        Version::LATEST,
        &format!("{{containers: [{{name: c, securityContext: {{{SAFE}}}}}]}}"),
        "",
    );
    check(
        Level::Restricted,
        Version::LATEST,
        &format!(
            "{{securityContext: {{runAsUser: 0}}, containers: [{{name: c, securityContext: {{{SAFE}}}}}], volumes: [{{name: v, nfs: {{path: /, server: a}}}}]}}"
        ),
        "restricted volume types (volume \"v\" uses restricted volume type \"nfs\"), runAsUser=0 (pod must not set runAsUser=0)",
    );
}

#[test]
fn older_versions_ask_for_less() {
    let bare = "{containers: [{name: c}]}";
    check(
        Level::Restricted,
        Version::minor(7),
        bare,
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
    );
    let probe = "{containers: [{name: c, livenessProbe: {tcpSocket: {port: 80, host: a}}}]}";
    check(Level::Baseline, Version::minor(33), probe, "");
    let sysctl =
        "{securityContext: {sysctls: [{name: net.ipv4.tcp_rmem, value: '1'}]}, containers: [{name: c}]}";
    check(Level::Baseline, Version::minor(31), sysctl, "forbidden sysctls (net.ipv4.tcp_rmem)");
    check(Level::Baseline, Version::minor(32), sysctl, "");
}
