//! The cluster's names: model → answers; pure.
//!
//! After the Kubernetes DNS specification 1.1.0. A name that exists but has nothing of the kind asked for is empty; a
//! name that does not exist is denied; resolvers treat the two very differently. Nothing is prepared ahead: an answer
//! is put together from the service it is about when somebody asks.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::model::{Endpoint, Key, Port, Reach};

/// Seconds an answer may be kept: short, since pods come and go.
pub(super) const TTL: u32 = 5;

/// What we know about a name.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// These, and what the asker will want next.
    Records(Vec<Record>, Vec<Record>),
    /// Another name, which is to be asked in turn.
    Alias(Box<Record>, Name),
    /// The name exists, but has nothing of this kind.
    Empty,
    /// There is no such name.
    NoName,
    /// Not for us to say.
    NotOurs,
}

/// The cluster's zone.
#[derive(Debug)]
pub(super) struct Zone {
    domain: Name,
    labels: Vec<String>,
    servers: Vec<IpAddr>,
    services: HashMap<Key, Reach>,
    namespaces: HashMap<Arc<str>, usize>,
    by_address: HashMap<IpAddr, BTreeSet<Key>>,
}

impl Zone {
    /// An empty zone; `servers` are our own addresses.
    pub(super) fn new(domain: &str, servers: Vec<IpAddr>) -> Self {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        Self {
            labels: domain.split('.').map(str::to_owned).collect(),
            domain: Name::from_ascii(format!("{domain}.")).unwrap_or_default(),
            servers,
            services: HashMap::new(),
            namespaces: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// From now on a service is like this, or gone.
    pub(super) fn set(&mut self, key: Key, reach: Option<Reach>) {
        if let Some(before) = self.services.remove(&key) {
            for address in addresses(&before) {
                if let Some(keys) = self.by_address.get_mut(&address) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.by_address.remove(&address);
                    }
                }
            }
            if let Some(count) = self.namespaces.get_mut(&before.service.namespace) {
                *count -= 1;
                if *count == 0 {
                    self.namespaces.remove(&before.service.namespace);
                }
            }
        }
        if let Some(reach) = reach {
            for address in addresses(&reach) {
                self.by_address.entry(address).or_default().insert(Arc::clone(&key));
            }
            *self.namespaces.entry(Arc::clone(&reach.service.namespace)).or_default() += 1;
            self.services.insert(key, reach);
        }
    }

    /// The record that goes with denials, so that they too are kept only briefly.
    pub(super) fn authority(&self) -> Record {
        let at = |prefix: &str| Name::from_ascii(format!("{prefix}.{}", self.domain)).unwrap_or_default();
        let soa = SOA::new(at("ns.dns"), at("hostmaster"), 1, 7200, 1800, 86_400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// Looks a name up.
    pub(super) fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        let labels: Vec<String> =
            name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
        let parts: Vec<&str> = labels.iter().map(String::as_str).collect();
        if let Some(address) = reverse(&parts) {
            return self.pointer(name, address, kind);
        }
        let Some(inner) = parts.len().checked_sub(self.labels.len()).map(|at| parts.split_at(at)) else {
            return Answer::NotOurs;
        };
        if inner.1 != self.labels {
            return Answer::NotOurs;
        }
        let ask = Ask { zone: self, name, kind };
        match inner.0 {
            [] => ask.apex(),
            ["dns-version"] => ask.only(RecordType::TXT, || RData::TXT(TXT::new(vec!["1.1.0".to_owned()]))),
            ["svc" | "pod" | "dns"] => Answer::Empty,
            ["ns", "dns"] => ask.addresses(self.servers.iter().copied()),
            [.., namespace, "pod"] => ask.pod(inner.0, namespace),
            [namespace, "svc"] if self.namespaces.contains_key(*namespace) => Answer::Empty,
            [rest @ .., service, namespace, "svc"] => {
                match self.services.get(format!("{namespace}/{service}").as_str()) {
                    Some(reach) => ask.service(reach, rest),
                    None => Answer::NoName,
                }
            }
            _ => Answer::NoName,
        }
    }

    fn pointer(&self, name: &Name, address: IpAddr, kind: RecordType) -> Answer {
        let Some(keys) = self.by_address.get(&address) else { return Answer::NotOurs };
        if kind != RecordType::PTR && kind != RecordType::ANY {
            return Answer::Empty;
        }
        let mut targets = BTreeSet::new();
        for reach in keys.iter().filter_map(|key| self.services.get(key)) {
            if reach.service.addresses.contains(&address) {
                targets.insert(self.name_of(reach, None));
            }
            for endpoint in reach.published().filter(|endpoint| endpoint.address == address) {
                targets.insert(self.name_of(reach, Some(endpoint)));
            }
        }
        let records =
            targets.into_iter().map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))));
        Answer::Records(records.collect(), Vec::new())
    }

    /// The name of a service, or of an endpoint under it.
    fn name_of(&self, reach: &Reach, endpoint: Option<&Endpoint>) -> Name {
        let service = &reach.service;
        let prefix = endpoint.map(|endpoint| format!("{}.", label(endpoint))).unwrap_or_default();
        let text = format!("{prefix}{}.{}.svc.{}", service.name, service.namespace, self.domain);
        Name::from_ascii(text).unwrap_or_default()
    }
}

/// A question, with what is needed to answer it.
struct Ask<'a> {
    zone: &'a Zone,
    name: &'a Name,
    kind: RecordType,
}

impl Ask<'_> {
    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), TTL, data)
    }

    fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }

    fn only(&self, kind: RecordType, data: impl FnOnce() -> RData) -> Answer {
        if self.wants(kind) { self.records(vec![data()]) } else { Answer::Empty }
    }

    /// Those of the addresses that are of the kind asked for.
    fn addresses(&self, all: impl IntoIterator<Item = IpAddr>) -> Answer {
        let data = all.into_iter().map(of_address);
        self.records(data.filter(|data| self.wants(data.record_type())).collect())
    }

    fn records(&self, data: Vec<RData>) -> Answer {
        if data.is_empty() {
            return Answer::Empty;
        }
        Answer::Records(data.into_iter().map(|data| self.record(data)).collect(), Vec::new())
    }

    fn apex(&self) -> Answer {
        match self.kind {
            RecordType::SOA => Answer::Records(vec![self.zone.authority()], Vec::new()),
            RecordType::NS => {
                let server = Name::from_ascii(format!("ns.dns.{}", self.zone.domain)).unwrap_or_default();
                let own = self.zone.servers.iter();
                let own = own.map(|address| Record::from_rdata(server.clone(), TTL, of_address(*address)));
                let own = own.collect();
                Answer::Records(vec![self.record(RData::NS(NS(server)))], own)
            }
            _ => Answer::Empty,
        }
    }

    /// `1-2-3-4.namespace.pod`, or `fd00--5` for IPv6: says back what was asked, without looking (upstream's default).
    fn pod(&self, parts: &[&str], namespace: &str) -> Answer {
        match parts {
            [dashed, _, _] => {
                let read = |separator| dashed.replace('-', separator).parse::<IpAddr>().ok();
                match read(".").or_else(|| read(":")) {
                    Some(address) => self.addresses([address]),
                    None => Answer::NoName,
                }
            }
            [_, _] if self.zone.namespaces.contains_key(namespace) => Answer::Empty,
            _ => Answer::NoName,
        }
    }

    fn service(&self, reach: &Reach, rest: &[&str]) -> Answer {
        let service = &reach.service;
        if let Some(other) = &service.external_name {
            return self.alias(other, rest);
        }
        match rest {
            [] => {
                if self.kind == RecordType::SRV {
                    return self.ports(reach, service.ports.iter().collect());
                }
                if service.headless {
                    return self.addresses(published(reach));
                }
                self.addresses(service.addresses.iter().copied().collect::<BTreeSet<_>>())
            }
            [port, protocol] if port.starts_with('_') && protocol.starts_with('_') => {
                let wanted = |known: &&Port| {
                    !known.name.is_empty()
                        && *known.name == port[1..]
                        && known.protocol.label() == &protocol[1..]
                };
                let ports: Vec<&Port> = service.ports.iter().filter(wanted).collect();
                match ports.is_empty() {
                    true => Answer::NoName,
                    false if self.wants(RecordType::SRV) => self.ports(reach, ports),
                    false => Answer::Empty,
                }
            }
            [protocol] if protocol.starts_with('_') => {
                let any = service.ports.iter().any(|port| port.protocol.label() == &protocol[1..]);
                if any { Answer::Empty } else { Answer::NoName }
            }
            [host] => {
                let addresses: BTreeSet<IpAddr> = reach
                    .published()
                    .filter(|endpoint| label(endpoint) == *host)
                    .map(|e| e.address)
                    .collect();
                if addresses.is_empty() { Answer::NoName } else { self.addresses(addresses) }
            }
            _ => Answer::NoName,
        }
    }

    fn alias(&self, other: &str, rest: &[&str]) -> Answer {
        let target = Name::from_ascii(format!("{}.", other.trim_end_matches('.')));
        match (rest, target) {
            ([], Ok(target)) => {
                Answer::Alias(Box::new(self.record(RData::CNAME(CNAME(target.clone())))), target)
            }
            _ => Answer::NoName,
        }
    }

    /// SRV: where each port is, and the addresses of those places.
    fn ports(&self, reach: &Reach, ports: Vec<&Port>) -> Answer {
        let mut places: Vec<(Name, IpAddr, u16)> = Vec::new();
        for port in ports {
            if reach.service.headless {
                for (endpoint, number) in reach.published_on(&port.name, port.protocol) {
                    places.push((self.zone.name_of(reach, Some(endpoint)), endpoint.address, number));
                }
            } else {
                let name = self.zone.name_of(reach, None);
                places.extend(reach.service.addresses.iter().map(|ip| (name.clone(), *ip, port.port)));
            }
        }
        // A place may have an address of each family.
        let named: BTreeSet<(&Name, u16)> = places.iter().map(|(name, _, port)| (name, *port)).collect();
        let weight = 100 / u16::try_from(named.len().clamp(1, 100)).unwrap_or(100);
        let answers = named
            .into_iter()
            .map(|(name, port)| self.record(RData::SRV(SRV::new(0, weight, port, name.clone()))));
        let answers: Vec<Record> = answers.collect();
        let hosts: BTreeSet<(Name, IpAddr)> =
            places.into_iter().map(|(name, address, _)| (name, address)).collect();
        let extra =
            hosts.into_iter().map(|(name, address)| Record::from_rdata(name, TTL, of_address(address)));
        if answers.is_empty() { Answer::Empty } else { Answer::Records(answers, extra.collect()) }
    }
}

fn of_address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn published(reach: &Reach) -> BTreeSet<IpAddr> {
    reach.published().map(|endpoint| endpoint.address).collect()
}

/// The label of an endpoint under its service: its own name, or its address with dashes.
fn label(endpoint: &Endpoint) -> String {
    match &endpoint.hostname {
        Some(name) => name.to_ascii_lowercase(),
        None => endpoint.address.to_string().replace(['.', ':'], "-"),
    }
}

/// The addresses whose pointers a service answers for.
fn addresses(reach: &Reach) -> BTreeSet<IpAddr> {
    let service = &reach.service;
    let mut all: BTreeSet<IpAddr> = service.addresses.iter().copied().collect();
    if service.headless {
        all.extend(published(reach));
    }
    all
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for.
fn reverse(parts: &[&str]) -> Option<IpAddr> {
    match parts {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse().ok(),
        [digits @ .., "ip6", "arpa"] if digits.len() == 32 => {
            let digit = |text: &&str| u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 1);
            let all = digits.iter().rev().try_fold(0, |sum, text| Some(sum << 4 | digit(text)?))?;
            Some(Ipv6Addr::from(all).into())
        }
        _ => None,
    }
}
