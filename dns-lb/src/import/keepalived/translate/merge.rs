//! Services that keepalived has to state twice, for UDP and for TCP, become one; then all get names.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::service::Draft;
use crate::{
    config::{MAX_BACKENDS, MAX_SERVICES, Policy, Protocol, Transport},
    import::{
        model::{Backend, Service},
        problem::{Place, Problems},
        remark::Kind,
    },
};

/// Merges what differs in its protocol alone, and reports what two claim.
pub(super) fn merge(drafts: Vec<Draft>, problems: &mut Problems) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::new();
    let mut by_endpoint: HashMap<(Vec<IpAddr>, u16), usize> = HashMap::new();
    let mut claimed: HashMap<(IpAddr, u16, Protocol), Place> = HashMap::new();
    for draft in drafts {
        let Service {
            vips,
            port,
            protocols,
            ..
        } = &draft.service;
        for (vip, protocol) in vips.iter().zip(protocols.iter().cycle()) {
            let endpoint = (*vip, *port, *protocol);
            if let Some(before) = claimed.get(&endpoint) {
                let what = format!("{vip} with port {port} and {protocol} is on {before} already");
                problems.add(&draft.place, what, "leave one of the two");
            } else {
                claimed.insert(endpoint, draft.place.clone());
            }
        }
        let mut sorted = vips.clone();
        sorted.sort_unstable();
        let key = (sorted, *port);
        match by_endpoint.get(&key).map(|&index| &mut merged[index]) {
            Some(before) if belong_together(before, &draft) => absorb(before, draft),
            _ => {
                by_endpoint.entry(key).or_insert(merged.len());
                merged.push(draft);
            }
        }
    }
    let backends: usize = merged
        .iter()
        .map(|draft| draft.service.backends.len())
        .sum();
    if let Some(last) = merged.last()
        && (merged.len() > MAX_SERVICES || backends > MAX_BACKENDS)
    {
        let what = format!("{} services with {backends} backends in all", merged.len());
        let remedy = format!("split it: at most {MAX_SERVICES} and {MAX_BACKENDS} fit");
        problems.add(&last.place, what, remedy);
    }
    merged
}

fn belong_together(one: &Draft, other: &Draft) -> bool {
    let (a, b) = (&one.service, &other.service);
    let servers = |service: &Service| {
        let mut servers: Vec<(IpAddr, u16)> = service
            .backends
            .iter()
            .map(|backend| (backend.address, backend.weight))
            .collect();
        servers.sort_unstable();
        servers
    };
    a.protocols != b.protocols
        && a.protocols.len() == 1
        && policies_agree(a, b)
        && a.health.timing == b.health.timing
        && (one.is_bare || other.is_bare || a.health.queries == b.health.queries)
        && servers(a) == servers(b)
}

/// TCP goes by its flow under every policy but `source`.
fn policies_agree(a: &Service, b: &Service) -> bool {
    a.policy == b.policy || (a.policy != Policy::Source && b.policy != Policy::Source)
}

fn absorb(one: &mut Draft, other: Draft) {
    let tcp_first = one.service.protocols == [Protocol::Tcp];
    if one.service.policy == other.service.policy {
        one.policy_remarks.extend(other.policy_remarks);
    } else {
        let scheduler = match tcp_first {
            true => {
                one.policy_remarks = other.policy_remarks;
                std::mem::replace(&mut one.scheduler, other.scheduler)
            }
            false => other.scheduler,
        };
        let why = "TCP connections go by the client's address and port, evenly by weight, and stay; the \
                   service's policy is for UDP.";
        let place = &scheduler.place;
        one.policy_remarks
            .add(Kind::Approximated, place, scheduler.value, why);
    }
    let (a, b) = (&mut one.service, other.service);
    let differ = a.health.transport != b.health.transport;
    a.protocols = vec![Protocol::Udp, Protocol::Tcp];
    if tcp_first {
        a.policy = b.policy;
    }
    if one.is_bare && !other.is_bare {
        a.health.queries = b.health.queries;
        one.is_bare = false;
    }
    a.health.transport = match (a.health.transport, b.health.transport) {
        (Some(a), Some(b)) if a != b => Some(Transport::Both),
        (a, b) => a.or(b),
    };
    a.remarks.extend(b.remarks);
    a.health.remarks.extend(b.health.remarks);
    a.remarks.add(
        Kind::Translated,
        &other.place,
        "virtual_server with the same VIP, port and servers",
        "One service for UDP and TCP.",
    );
    if differ {
        let why = "keepalived could take a server out of one protocol alone. Here it is out of both as soon \
                   as a check fails by either.";
        a.health.remarks.add(
            Kind::Tightened,
            &other.place,
            "checks that differ by protocol",
            why,
        );
    }
    for (known, new) in a.backends.iter_mut().zip(b.backends) {
        known.remarks.extend(new.remarks);
    }
}

/// Longest label that leaves room for what makes it unique; names end at 63 characters.
const LONGEST_LABEL: usize = 40;

/// Gives names to services and backends.
pub(super) fn name(drafts: Vec<Draft>) -> Vec<Service> {
    let labels: Vec<String> = drafts.iter().map(|draft| as_name(&draft.label)).collect();
    // Ports under a label, and how many services have one of them.
    let mut ports: HashMap<&str, HashMap<u16, usize>> = HashMap::new();
    for (label, draft) in labels.iter().zip(&drafts) {
        let count = ports.entry(label).or_default();
        *count.entry(draft.service.port).or_default() += 1;
    }
    let mut taken = Names::default();
    let mut servers = ServerNames::default();
    let mut services = Vec::new();
    for (label, draft) in labels.iter().zip(drafts) {
        let Draft {
            mut service,
            mut policy_remarks,
            ..
        } = draft;
        policy_remarks.extend(std::mem::take(&mut service.remarks));
        service.remarks = policy_remarks;
        if service.protocols == [Protocol::Udp] && siblings(&ports, label, service.port) == 1 {
            let why = "As it was. DNS needs TCP too, for answers that are too long for UDP: add \"tcp\" if the \
                       servers take it.";
            let about = "protocols = [\"udp\"]";
            service.remarks.add(Kind::Translated, None, about, why);
        }
        let mut name = label.clone();
        if ports[label.as_str()].len() > 1 {
            name += &format!("-{}", service.port);
        }
        if let ([protocol], 2..) = (
            &service.protocols[..],
            siblings(&ports, label, service.port),
        ) {
            name += &format!("-{protocol}");
        }
        service.name = taken.unique(name);
        servers.name(&mut service.backends);
        services.push(service);
    }
    services
}

/// How many services have this label and port.
fn siblings(ports: &HashMap<&str, HashMap<u16, usize>>, label: &str, port: u16) -> usize {
    let of_label = ports.get(label);
    of_label
        .and_then(|of_label| of_label.get(&port))
        .copied()
        .unwrap_or(0)
}

/// Names that are given out.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The number that was last tried for a name.
    numbers: HashMap<String, usize>,
}

impl Names {
    /// The name, or with a number after it.
    fn unique(&mut self, name: String) -> String {
        if self.taken.insert(name.clone()) {
            return name;
        }
        let number = self.numbers.entry(name.clone()).or_insert(1);
        loop {
            *number += 1;
            let numbered = format!("{name}-{number}");
            if self.taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}

/// Names of servers: the same address has the same name in every service.
#[derive(Default)]
struct ServerNames {
    by_address: HashMap<IpAddr, String>,
}

impl ServerNames {
    fn name(&mut self, backends: &mut [Backend]) {
        let mut taken = Names::default();
        for backend in backends {
            let name = match backend.name.is_empty() {
                false => as_name(&backend.name),
                true => {
                    let next = self.by_address.len() + 1;
                    let known = self.by_address.entry(backend.address);
                    known.or_insert_with(|| format!("dns{next}")).clone()
                }
            };
            backend.name = taken.unique(name);
        }
    }
}

/// What may be a name: letters, digits, `.`, `_` and `-`.
fn as_name(label: &str) -> String {
    let name: String = label
        .chars()
        .take(LONGEST_LABEL)
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => character,
            _ => '-',
        })
        .collect();
    if name.is_empty() {
        "dns".to_owned()
    } else {
        name
    }
}
