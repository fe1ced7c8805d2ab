//! Hosts made of namespaces: a machine (itself a namespace here) with two minions.

use skiff_net::hosts::{Hosts, Spec};
use skiff_net::netlink::route::Routing;
use skiff_net::{CleanupOptions, cleanup, netns};

use crate::given::{Node, Space};

struct Made<'a> {
    machine: &'a Space,
    spec: Spec,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _already_gone = self.machine.within(|| Hosts::remove(&self.spec));
    }
}

#[test]
fn hosts_reach_each_other_and_making_them_twice_is_making_them_once() {
    let machine = Space::new();
    let prefix = format!("sn{}", std::process::id());
    let made = Made { machine: &machine, spec: Spec { prefix, count: 3, ..Spec::default() } };
    let hosts = machine.within(|| Hosts::create(&made.spec).unwrap());
    assert_eq!(machine.within(|| Hosts::create(&made.spec).unwrap()), hosts);
    assert_eq!(
        hosts.iter().map(|h| h.addresses[0].to_string()).collect::<Vec<_>>(),
        ["10.89.0.11", "10.89.0.12", "10.89.0.13"]
    );
    let listener =
        netns::within_path(&hosts[0].path, || std::net::TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
    std::thread::spawn(move || {
        let _accepted: Vec<_> = listener.incoming().collect();
    });
    let to = (hosts[0].addresses[0], 80);
    netns::within_path(&hosts[1].path, || std::net::TcpStream::connect(to).unwrap()).unwrap();
    machine.within(|| std::net::TcpStream::connect(to).unwrap());
    let fewer = Spec { count: 2, ..made.spec.clone() };
    machine.within(|| Hosts::create(&fewer).unwrap());
    assert!(!hosts[2].path.exists());
    machine.within(|| Hosts::remove(&made.spec).unwrap());
    machine.within(|| Hosts::remove(&made.spec).unwrap());
    assert!(!hosts[0].path.exists());
    let left = machine.within(|| Routing::open().unwrap().links().unwrap());
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn cleanup_leaves_a_node_as_it_was() {
    let node = Node::new("10.244.7.0/24");
    let _pod = node.pod("one");
    let options = CleanupOptions { pods: node.config(), ..CleanupOptions::default() };
    node.space.within(|| cleanup(&options).unwrap());
    node.space.within(|| cleanup(&options).unwrap());
    let left = node.space.within(|| Routing::open().unwrap().links().unwrap());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!node.folder.join("skiff").exists());
}
