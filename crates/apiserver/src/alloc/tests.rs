//! Tables of what is given out: addresses, ports, and what a change of type does to them.

use std::collections::BTreeSet;

use super::*;

fn owner(name: &str) -> Arc<str> {
    name.into()
}

#[test]
fn every_usable_address_is_given_once_except_those_kept_for_asking() {
    let mut addresses = Addresses::new("10.1.0.0/24".parse().unwrap());
    let given: BTreeSet<IpAddr> = std::iter::from_fn(|| addresses.any(&owner("a"))).collect();
    assert_eq!(given.len(), 252);
    for kept in ["10.1.0.1", "10.1.0.10"] {
        assert!(!given.contains(&kept.parse().unwrap()));
        addresses.take(kept.parse().unwrap(), &owner("b")).unwrap();
    }
    for wrong in ["10.1.0.0", "10.1.0.255", "10.2.0.1", "::1"] {
        let refused = addresses.take(wrong.parse().unwrap(), &owner("b"));
        assert!(matches!(refused, Err(ip::Unavailable::OutOfRange(..))), "{wrong}");
    }
    addresses.release("10.1.0.77".parse().unwrap(), "somebody else");
    assert_eq!(addresses.any(&owner("c")), None);
    addresses.release("10.1.0.77".parse().unwrap(), "a");
    assert_eq!(addresses.any(&owner("c")), Some("10.1.0.77".parse().unwrap()));
}

#[test]
fn small_and_six_byte_ranges_work_too() {
    let mut one = Addresses::new("10.1.0.4/30".parse().unwrap());
    assert_eq!(one.first(), Some("10.1.0.5".parse().unwrap()));
    assert_eq!(one.any(&owner("a")), Some("10.1.0.6".parse().unwrap()));
    let mut six = Addresses::new("fd00::/108".parse().unwrap());
    assert!(six.any(&owner("a")).is_some_and(|address| address.is_ipv6()));
}

#[test]
fn every_port_is_given_once() {
    let mut ports = Ports::new(30000..=30009);
    let given: BTreeSet<i32> = std::iter::from_fn(|| ports.any(&owner("a"))).collect();
    assert_eq!(given.len(), 10);
    assert_eq!(ports.take(30003, &owner("b")), Err(port::Unavailable::Taken));
    assert_eq!(ports.take(80, &owner("b")), Err(port::Unavailable::OutOfRange(30000, 30009)));
    ports.release(30003, "a");
    ports.take(30003, &owner("b")).unwrap();
}
