//! What the program must do with a frame, said a second time: on a library that parses packets and
//! one that parses DNS, from the contract and the RFCs, and with nothing of the program's code.
//!
//! It knows the plan that the maps were written from, and keeps in its own maps what the program
//! keeps in its.

mod choice;
mod parse;

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv6Addr,
};

use dns_lb::steer::{Plan, PlannedService, build_table};
use dns_lb_common::{
    Backend, COUNTS_QUERIES, DerivedKey, Egress, Ending, HAS_LOCAL, HashKey, OnNoBackend, Policy,
    QueryType, SteeringTable,
};

use self::parse::{Arrived, Carried, Network, Shape};
use crate::fixture::INGRESS;

/// The model, with what it remembers.
pub(crate) struct Model {
    key: DerivedKey,
    services: Vec<Service>,
    backends: BTreeMap<u16, Backend>,
    cursors: HashMap<u16, u64>,
    /// Window and turns taken in it, by backend.
    windows: HashMap<u16, (u64, u64)>,
    established: HashMap<Flow, Owner>,
    pending: HashMap<Flow, Owner>,
    fragments: HashMap<Datagram, Owner>,
    pub(crate) counted: Counted,
}

struct Service {
    planned: PlannedService,
    table: Box<SteeringTable>,
}

/// Client, VIP and both ports.
type Flow = ([u8; 16], [u8; 16], u16, u16);
/// Sender, receiver, identification, protocol.
type Datagram = ([u8; 16], [u8; 16], u32, u8);
/// Service and backend.
type Owner = (u16, u16);

/// What has been counted, in the program's terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// Packets by service and ending.
    pub(crate) endings: BTreeMap<(u16, &'static str), u64>,
    /// Octets that were steered, by service.
    pub(crate) bytes: BTreeMap<u16, u64>,
    /// Packets and octets by backend.
    pub(crate) backends: BTreeMap<u16, (u64, u64)>,
    /// TCP segments that were steered, and those that open a connection, by service.
    pub(crate) tcp: BTreeMap<u16, (u64, u64)>,
    /// Queries by service and type, and as "edns" those that have it.
    pub(crate) queries: BTreeMap<(u16, &'static str), u64>,
}

/// A judgement: what became of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) ending: Ending,
    pub(crate) frame: Vec<u8>,
}

/// What is decided of a packet before it is sent on.
enum Decision {
    /// It ends like this, on this service's account; 0 for none.
    Ends(Ending, u16),
    /// It goes to this backend, on this service's account, and counts as this.
    Goes {
        service: u16,
        backend: u16,
        kind: Kind,
    },
}

/// What a packet counts as beside its ending.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nothing,
    Segment { opens: bool },
    Query { query_type: QueryType, edns: bool },
}

impl Model {
    pub(crate) fn new(plan: &Plan, key: &HashKey) -> Self {
        let services = plan.services.iter().map(|planned| Service {
            table: build_table(planned.policy, key, &planned.members),
            planned: planned.clone(),
        });
        let backends = plan.services.iter().flat_map(|service| &service.backends);
        Self {
            key: choice::derive(key),
            services: services.collect(),
            backends: backends.copied().collect(),
            cursors: HashMap::new(),
            windows: HashMap::new(),
            established: HashMap::new(),
            pending: HashMap::new(),
            fragments: HashMap::new(),
            counted: Counted::default(),
        }
    }

    /// What becomes of a frame that comes in by the loopback interface.
    pub(crate) fn judge(&mut self, frame: &[u8]) -> Judgement {
        let decision = match parse::arrived(frame) {
            Some(arrived) => self.decide(frame, &arrived),
            None => Decision::Ends(Ending::NotIp, 0),
        };
        let mut after = frame.to_vec();
        let (ending, service) = match decision {
            Decision::Ends(ending, service) => (ending, service),
            Decision::Goes {
                service,
                backend,
                kind,
            } => {
                self.count_kind(service, kind);
                let ending = self.send(&mut after, service, backend);
                if ending != Ending::HopLimit {
                    self.count(frame, service, backend);
                }
                (ending, service)
            }
        };
        *self
            .counted
            .endings
            .entry((service, ending.name()))
            .or_default() += 1;
        Judgement {
            ending,
            frame: after,
        }
    }

    /// Rewrites the frame for its backend.
    fn send(&self, frame: &mut [u8], service: u16, backend: u16) -> Ending {
        let entry = &self.backends[&backend];
        if entry.egress == Egress::Local as u8 {
            return Ending::Delivered;
        }
        if self.service(service).planned.flags & HAS_LOCAL != 0 && !parse::spend_hop(frame) {
            return Ending::HopLimit;
        }
        frame[..6].copy_from_slice(&entry.destination_mac);
        frame[6..12].copy_from_slice(&entry.source_mac);
        match entry.ifindex == INGRESS {
            true => Ending::Transmitted,
            false => Ending::Redirected,
        }
    }

    fn count(&mut self, frame: &[u8], service: u16, backend: u16) {
        let octets = frame.len() as u64;
        *self.counted.bytes.entry(service).or_default() += octets;
        let of_backend = self.counted.backends.entry(backend).or_default();
        of_backend.0 += 1;
        of_backend.1 += octets;
    }

    fn count_kind(&mut self, service: u16, kind: Kind) {
        match kind {
            Kind::Nothing => {}
            Kind::Segment { opens } => {
                let tcp = self.counted.tcp.entry(service).or_default();
                tcp.0 += 1;
                tcp.1 += u64::from(opens);
            }
            Kind::Query { query_type, edns } => {
                let queries = &mut self.counted.queries;
                *queries.entry((service, query_type.name())).or_default() += 1;
                if edns {
                    *queries.entry((service, "edns")).or_default() += 1;
                }
            }
        }
    }

    fn service(&self, id: u16) -> &Service {
        let found = self
            .services
            .iter()
            .find(|service| service.planned.id == id);
        found.expect("the model's own id")
    }

    /// The service that answers to this; with `None` for the port that which takes fragments, with
    /// `None` for both that which the VIP as an address counts for: each the first.
    fn find(&self, vip: [u8; 16], protocol: Option<u8>, port: Option<u16>) -> Option<u16> {
        let answers = |service: &&Service| {
            service.planned.keys.iter().any(|key| {
                key.address == vip
                    && protocol.is_none_or(|protocol| protocol == key.protocol)
                    && port.is_none_or(|port| port == key.port)
            })
        };
        self.services
            .iter()
            .find(answers)
            .map(|service| service.planned.id)
    }

    fn decide(&mut self, frame: &[u8], arrived: &Arrived<'_>) -> Decision {
        let network = &arrived.network;
        if network.icmp == parse::ICMPV6
            && Ipv6Addr::from(network.destination)
                .to_ipv4_mapped()
                .is_some()
        {
            return Decision::Ends(Ending::NotService, 0);
        }
        let Some(address) = self.find(network.destination, None, None) else {
            return Decision::Ends(Ending::NotService, 0);
        };
        match network.shape {
            Shape::Malformed | Shape::CutShort => {
                return Decision::Ends(Ending::MalformedIp, address);
            }
            Shape::TooLong => return Decision::Ends(Ending::ExtensionHeaders, address),
            Shape::Whole | Shape::First | Shape::Later => {}
        }
        match (network.protocol, network.shape) {
            (parse::UDP | parse::TCP, Shape::Later) => {
                let Some(service) = self.find(network.destination, Some(network.protocol), None)
                else {
                    return Decision::Ends(Ending::NotService, 0);
                };
                if let Some(ending) = self.refusal(frame, arrived, service) {
                    return Decision::Ends(ending, service);
                }
                self.fragment(network, service, None)
            }
            (parse::UDP | parse::TCP, _) => self.transport(frame, arrived, address),
            (protocol, Shape::Whole) if protocol == network.icmp => {
                self.error(frame, arrived, address)
            }
            _ => Decision::Ends(Ending::NotService, 0),
        }
    }

    fn transport(&mut self, frame: &[u8], arrived: &Arrived<'_>, address: u16) -> Decision {
        let network = &arrived.network;
        let malformed = match network.protocol {
            parse::TCP => Ending::MalformedTcp,
            _ => Ending::MalformedUdp,
        };
        let Some((source, destination)) = parse::ports(arrived.behind(network)) else {
            return Decision::Ends(malformed, address);
        };
        let service = self.find(
            network.destination,
            Some(network.protocol),
            Some(destination),
        );
        let Some(service) = service else {
            return Decision::Ends(Ending::NotService, 0);
        };
        if !arrived.is_as_long_as_it_says(network) {
            return Decision::Ends(Ending::MalformedIp, service);
        }
        let Some(carried) = arrived.carried() else {
            return Decision::Ends(malformed, service);
        };
        if let Some(ending) = self.refusal(frame, arrived, service) {
            return Decision::Ends(ending, service);
        }
        let flow = (network.source, network.destination, source, destination);
        match (carried, network.shape) {
            (Carried::Tcp { opens }, shape) => {
                let decision = self.connection(network, flow, service, opens, true);
                match (decision, shape) {
                    (Decision::Goes { backend, kind, .. }, Shape::First) => {
                        self.fragment(network, service, Some((backend, kind)))
                    }
                    (Decision::Ends(..), Shape::First) => self.fragment(network, service, None),
                    (decision, _) => decision,
                }
            }
            (Carried::Udp, Shape::First) => self.fragment(network, service, None),
            (Carried::Udp, _) => {
                let message = arrived.message();
                self.query(network, flow, service, message)
            }
        }
    }

    /// An ICMP error, by the packet of ours that it quotes.
    fn error(&mut self, frame: &[u8], arrived: &Arrived<'_>, address: u16) -> Decision {
        let host = Decision::Ends(Ending::Icmp, address);
        let malformed = Decision::Ends(Ending::MalformedIcmp, address);
        let Some((is_error, behind)) = arrived.icmp() else {
            return malformed;
        };
        if !is_error {
            return host;
        }
        let Some(quoted) = parse::network(behind, arrived.network.icmp) else {
            return malformed;
        };
        let is_known = matches!(quoted.protocol, parse::UDP | parse::TCP);
        match quoted.shape {
            Shape::CutShort => return malformed,
            Shape::Whole | Shape::First if is_known => {}
            _ => return host,
        }
        if quoted.source != arrived.network.destination {
            return host;
        }
        // As far as the quoted packet's ports, the message must be there by its own words.
        let offset = frame.len() - behind.len() - arrived.at;
        if arrived.network.total_length < offset + quoted.length + 4 {
            return malformed;
        }
        let Some((from, to)) = parse::ports(behind.get(quoted.length..).unwrap_or_default()) else {
            return malformed;
        };
        let Some(service) = self.find(quoted.source, Some(quoted.protocol), Some(from)) else {
            return host;
        };
        if arrived.network.total_length > frame.len() - arrived.at {
            return Decision::Ends(Ending::MalformedIp, service);
        }
        if let Some(ending) = self.refusal(frame, arrived, service) {
            return Decision::Ends(ending, service);
        }
        let client = Network {
            source: quoted.destination,
            destination: quoted.source,
            ..quoted
        };
        let flow = (client.source, client.destination, to, from);
        match quoted.protocol {
            parse::TCP => self.connection(&client, flow, service, false, false),
            _ => {
                let slot = self.flow_slot(&client, service, to, from);
                self.by_slot(service, slot, Kind::Nothing)
            }
        }
    }

    /// Why a packet that is well formed is not steered, or why a later fragment is not.
    fn refusal(&self, frame: &[u8], arrived: &Arrived<'_>, service: u16) -> Option<Ending> {
        let network = &arrived.network;
        if !arrived.is_as_long_as_it_says(network) {
            return Some(Ending::MalformedIp);
        }
        if network.source == network.destination || parse::is_group(&network.source) {
            return Some(Ending::BadSource);
        }
        let service = self.service(service);
        let from: [u8; 6] = frame[6..12].try_into().unwrap();
        let has_local = service.planned.flags & HAS_LOCAL != 0;
        let is_peer = service.planned.peers.contains(&from);
        (has_local && is_peer).then_some(Ending::AlreadySteered)
    }

    /// What the service's table has in a slot.
    fn by_slot(&self, service: u16, slot: u16, kind: Kind) -> Decision {
        let entry = self.service(service);
        match entry.table.slots[usize::from(slot)] {
            0 if entry.planned.on_no_backend == OnNoBackend::Drop => {
                Decision::Ends(Ending::NoBackendDropped, service)
            }
            0 => Decision::Ends(Ending::NoBackendPassed, service),
            backend => Decision::Goes {
                service,
                backend,
                kind,
            },
        }
    }

    fn policy(&self, service: u16) -> Policy {
        self.service(service).planned.policy
    }

    fn counts_queries(&self, service: u16) -> bool {
        self.service(service).planned.flags & COUNTS_QUERIES != 0
    }
}
