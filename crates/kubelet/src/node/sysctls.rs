//! Which kernel parameters a pod may set: those that stay inside its own namespaces.
//!
//! Follows upstream's `pkg/kubelet/sysctl/safe_sysctls.go` and `allowlist.go`.

use k8s_openapi::api::core::v1::PodSpec;

/// Safe parameters, all of a namespace that a pod has of its own unless it asks for the host's.
const SAFE: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Why the pod may not set one of its parameters, if so; the first one counts.
pub(super) fn forbidden(spec: &PodSpec) -> Option<String> {
    let (ipc, net) = (spec.host_ipc.unwrap_or(false), spec.host_network.unwrap_or(false));
    let wanted = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    wanted.into_iter().find_map(|sysctl| {
        // Both forms of a name are legal: dots between its parts, or slashes.
        let name = sysctl.name.replace('/', ".");
        if !SAFE.contains(&name.as_str()) {
            return Some(format!("{name:?} not allowlisted"));
        }
        let (of_net, host) = (name.starts_with("net."), if name.starts_with("net.") { net } else { ipc });
        let namespace = if of_net { "net" } else { "ipc" };
        host.then(|| format!("{name:?} not allowed with host {namespace} enabled"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(extra: &str) -> Option<String> {
        let text = format!(r#"{{"containers":[],{extra}}}"#);
        forbidden(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn only_safe_parameters_of_own_namespaces_may_be_set() {
        let one =
            |name: &str| format!(r#""securityContext":{{"sysctls":[{{"name":"{name}","value":"1"}}]}}"#);
        assert_eq!(why(&one("kernel.shm_rmid_forced")), None);
        assert_eq!(why(&one("net/ipv4/tcp_rmem")), None);
        assert_eq!(why(&one("kernel.msgmax")).unwrap(), "\"kernel.msgmax\" not allowlisted");
        let host = format!(r#""hostNetwork":true,{}"#, one("net.ipv4.tcp_syncookies"));
        assert_eq!(why(&host).unwrap(), "\"net.ipv4.tcp_syncookies\" not allowed with host net enabled");
    }
}
