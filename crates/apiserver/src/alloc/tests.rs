//! Tables of what is given out: addresses, ports, and what a change of type does to them.

use std::collections::BTreeSet;

use super::*;

fn owner(name: &str) -> Arc<str> {
    name.into()
}

#[test]
fn every_usable_address_is_given_once_except_those_kept_for_asking() {
    let ranges = [Range::new("10.1.0.0/24".parse().unwrap())];
    let mut addresses = Addresses::default();
    let given: BTreeSet<IpAddr> = std::iter::from_fn(|| addresses.any(&ranges, &owner("a"))).collect();
    assert_eq!(given.len(), 252);
    for kept in ["10.1.0.1", "10.1.0.10"] {
        assert!(!given.contains(&kept.parse().unwrap()));
        addresses.take(kept.parse().unwrap(), &ranges, &owner("b")).unwrap();
    }
    for wrong in ["10.1.0.0", "10.1.0.255", "10.2.0.1", "::1"] {
        let refused = addresses.take(wrong.parse().unwrap(), &ranges, &owner("b"));
        assert_eq!(refused, Err(ip::Unavailable::OutOfRange), "{wrong}");
    }
    addresses.release("10.1.0.77".parse().unwrap(), "somebody else");
    assert_eq!(addresses.any(&ranges, &owner("c")), None);
    addresses.release("10.1.0.77".parse().unwrap(), "a");
    assert_eq!(addresses.any(&ranges, &owner("c")), Some("10.1.0.77".parse().unwrap()));
}

#[test]
fn small_and_six_byte_ranges_work_too() {
    let mut addresses = Addresses::default();
    let one = Range::new("10.1.0.4/30".parse().unwrap());
    assert_eq!(one.first(), Some("10.1.0.5".parse().unwrap()));
    assert_eq!(addresses.any(&[one], &owner("a")), Some("10.1.0.6".parse().unwrap()));
    let six = Range::new("fd00::/108".parse().unwrap());
    assert!(addresses.any(&[six], &owner("a")).is_some_and(|address| address.is_ipv6()));
}

#[test]
fn a_full_range_leads_to_the_next_and_what_overlaps_is_given_once() {
    let ranges = ["10.1.0.4/30", "10.1.0.4/30", "10.2.0.0/30"].map(|net| Range::new(net.parse().unwrap()));
    let mut addresses = Addresses::default();
    let given: Vec<String> = std::iter::from_fn(|| addresses.any(&ranges, &owner("a")))
        .map(|address| address.to_string())
        .collect();
    assert_eq!(given, ["10.1.0.6", "10.2.0.2"]);
    addresses.hold("192.0.2.1".parse().unwrap(), &owner("b")).unwrap();
    assert_eq!(addresses.hold("192.0.2.1".parse().unwrap(), &owner("c")), Err(ip::Unavailable::Taken));
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
