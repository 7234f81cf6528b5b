//! Rows of the packet contract: each with a sentence, a frame, and the one way that it must end, in
//! both families, with and without tags.

mod errors;
mod fragments;
mod malformed;
mod names;
mod steered;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dns_lb::config::{OnNoBackend, Policy, Protocol, Service};
use dns_lb_common::Ending;

use crate::{
    fixture::{
        BALANCER_MAC, CLIENT, ELSEWHERE, Fixture, HERE, NOWHERE, VIP, service, with_program,
    },
    frames::{self, Extra},
};

/// A family, and the addresses that rows use in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Services, in the order of [`services`].
const RESOLVERS: usize = 0;
const DROPS: usize = 1;
const PASSES: usize = 2;
const REMOTE: usize = 3;
const FARM: usize = 4;
const NAMES: usize = 5;

impl Family {
    pub(crate) fn client(self) -> IpAddr {
        match self {
            Self::V4 => CLIENT.into(),
            Self::V6 => "2001:db8:100::7".parse().unwrap(),
        }
    }

    /// The VIP of a service, by its place in the configuration.
    pub(crate) fn vip(self, service: usize) -> IpAddr {
        let last = VIP.octets()[3] + service as u8;
        match self {
            Self::V4 => Ipv4Addr::new(192, 168, 0, last).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }

    /// A host that is no VIP.
    fn other(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 168, 0, 7).into(),
            Self::V6 => "2001:db8::7".parse().unwrap(),
        }
    }

    fn icmp(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }

    /// Octets of the fixed IP header.
    fn header(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// One row.
pub(crate) struct Row {
    what: String,
    /// What follows the Ethernet header and its tags.
    datagram: Vec<u8>,
    ending: Ending,
    /// Place of the service that the packet is counted for; `None`: for no service.
    service: Option<usize>,
}

impl Row {
    fn new(what: &str, datagram: Vec<u8>, ending: Ending, service: Option<usize>) -> Self {
        Self {
            what: what.to_owned(),
            datagram,
            ending,
            service,
        }
    }

    fn steered(what: &str, datagram: Vec<u8>) -> Self {
        Self::new(what, datagram, Ending::Transmitted, Some(RESOLVERS))
    }
}

/// A datagram from the client to a service.
fn to(family: Family, service: usize, protocol: u8, body: &[u8]) -> Vec<u8> {
    let (client, vip) = (family.client(), family.vip(service));
    frames::datagram(client, vip, protocol, &Extra::default(), body)
}

/// The usual query, from the client to a service.
fn query_to(family: Family, service: usize) -> Vec<u8> {
    let body = frames::udp(4242, 53, &frames::example());
    to(family, service, frames::UDP, &body)
}

/// A datagram with some octets replaced.
fn altered(mut datagram: Vec<u8>, octets: &[(usize, &[u8])]) -> Vec<u8> {
    for &(at, with) in octets {
        datagram[at..at + with.len()].copy_from_slice(with);
    }
    datagram
}

pub(crate) fn services() -> Vec<Service> {
    let named = |name: &str, place: usize, backends: &[(u8, u16)]| {
        let mut service = service(name, Family::V4.vip(place), backends);
        service.vips.push(Family::V6.vip(place));
        service.protocols = vec![Protocol::Udp, Protocol::Tcp];
        service
    };
    let mut drops = named("drops", DROPS, &[(NOWHERE, 1)]);
    drops.on_no_backend = OnNoBackend::Drop;
    let mut passes = named("passes", PASSES, &[(NOWHERE, 1)]);
    passes.on_no_backend = OnNoBackend::Pass;
    let mut names = named("names", NAMES, &[(201, 1), (202, 1), (203, 1)]);
    names.policy = Policy::Qname;
    names.count_queries = true;
    vec![
        named("resolvers", RESOLVERS, &[(201, 1), (202, 1), (203, 1)]),
        drops,
        passes,
        named("remote", REMOTE, &[(ELSEWHERE, 1)]),
        named("farm", FARM, &[(HERE, 1), (204, 1)]),
        names,
    ]
}

/// Loads the program with all [`services`].
pub(crate) fn with_services(test: impl FnOnce(Fixture) + Send + 'static) {
    with_program(services(), test);
}

/// Runs every row with no tag, one and two, and reports those that fail.
fn hold(fixture: &mut Fixture, rows: impl IntoIterator<Item = Row>) {
    let mut faults = Vec::new();
    let mut count = 0;
    for row in rows {
        for tags in 0..=2 {
            count += 1;
            let frame = frames::frame(tags, &row.datagram);
            if let Some(fault) = fault(fixture, &row, &frame) {
                faults.push(format!("{} ({tags} tags): {fault}", row.what));
            }
        }
    }
    assert!(count > 0, "no row");
    let faults = faults.join("\n");
    assert!(faults.is_empty(), "of {count} rows these failed:\n{faults}");
}

/// What is wrong with a row on this frame, if anything.
fn fault(fixture: &mut Fixture, row: &Row, frame: &[u8]) -> Option<String> {
    let run = fixture.run(frame);
    let ending = row.ending;
    let service = row
        .service
        .map_or(0, |place| fixture.assignment.services[place]);
    if run.counted != [(service, ending, 1)] {
        return Some(format!(
            "counted {:?}, not one {ending:?} of service {service}",
            run.counted
        ));
    }
    if !run.is(ending.action()) {
        return Some(format!("action {}, not {:?}", run.action, ending.action()));
    }
    let forwarded = matches!(ending, Ending::Transmitted | Ending::Redirected);
    if !forwarded && run.frame != frame {
        return Some("the frame was changed".to_owned());
    }
    if !forwarded && ending != Ending::Delivered {
        return (!run.backends.is_empty()).then(|| format!("backends counted: {:?}", run.backends));
    }
    let [(backend, bytes)] = run.backends[..] else {
        return Some(format!("backends counted: {:?}, not one", run.backends));
    };
    if bytes != frame.len() as u64 {
        return Some(format!("{bytes} octets counted of {}", frame.len()));
    }
    let place = row.service?;
    let ids = &fixture.assignment.backends[place];
    let Some(member) = ids.iter().position(|&id| id == backend) else {
        return Some(format!("backend {backend} is of another service"));
    };
    if !forwarded {
        return None;
    }
    let IpAddr::V4(address) = fixture.config.services[place].backends[member].address else {
        unreachable!("backends have IPv4 addresses here");
    };
    let mac = [2, 0, 0, 0, 0, address.octets()[3]];
    if run.addresses() != (mac, BALANCER_MAC) {
        let (to, from) = run.addresses();
        return Some(format!("to {to:02x?} from {from:02x?}, not to {mac:02x?}"));
    }
    let mut expected = frame[12..].to_vec();
    if place == FARM {
        spend_hop(&mut expected);
    }
    (run.frame[12..] != expected).then(|| "more than the addresses was changed".to_owned())
}

/// Takes a hop off the packet behind an EtherType, as a router would.
fn spend_hop(octets: &mut [u8]) {
    let mut at = 2;
    while matches!(octets[at - 2..at], [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
    }
    if octets[at] >> 4 == 6 {
        octets[at + 7] -= 1;
        return;
    }
    octets[at + 8] -= 1;
    octets[at + 10..at + 12].fill(0);
    let length = usize::from(octets[at] & 0xf) * 4;
    let sum = frames::checksum(&octets[at..at + length]);
    octets[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
}
