//! A pod's addresses, in the order that its node's have: a runtime has an order of its own. Pure.

use std::net::IpAddr;

/// One address of each family, that of the node's main one first.
pub(crate) fn ordered(pod: &[IpAddr], node: &[IpAddr]) -> Vec<IpAddr> {
    let leads = |address: &IpAddr| node.first().is_none_or(|main| main.is_ipv4() == address.is_ipv4());
    let first = pod.iter().copied().find(leads).or_else(|| pod.first().copied());
    let second = first.and_then(|first| pod.iter().copied().find(|other| other.is_ipv4() != first.is_ipv4()));
    first.into_iter().chain(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_of_the_nodes_main_address_leads() {
        let read = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace().map(|address| address.parse().unwrap()).collect()
        };
        for (pod, node, expected) in [
            ("10.0.0.2", "192.0.2.1", "10.0.0.2"),
            ("10.0.0.2 fd00::2", "192.0.2.1 fd01::1", "10.0.0.2 fd00::2"),
            ("10.0.0.2 fd00::2", "fd01::1 192.0.2.1", "fd00::2 10.0.0.2"),
            ("10.0.0.2", "fd01::1", "10.0.0.2"),
            ("fd00::2 fd00::3 10.0.0.2", "", "fd00::2 10.0.0.2"),
            ("", "192.0.2.1", ""),
        ] {
            assert_eq!(ordered(&read(pod), &read(node)), read(expected), "{pod} on {node}");
        }
    }
}
