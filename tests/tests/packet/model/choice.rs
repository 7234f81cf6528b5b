//! How a backend is chosen: the hashes octet by octet, and what is remembered.

use std::hash::Hasher as _;

use dns_lb_common::{DerivedKey, HashKey, Policy};
use siphasher::sip::SipHasher13;

use super::{Datagram, Decision, Flow, Kind, Model, parse, parse::Network};

/// The program's key from the secret: SipHash-1-3 of a counter.
pub(super) fn derive(key: &HashKey) -> DerivedKey {
    let words: Vec<u64> = (0..6_u32)
        .map(|counter| {
            let mut hasher = SipHasher13::new_with_keys(key.words[0], key.words[1]);
            hasher.write(&counter.to_le_bytes());
            hasher.finish()
        })
        .collect();
    let halves = words[2..]
        .iter()
        .flat_map(|word| [*word as u32, (word >> 32) as u32]);
    DerivedKey {
        name: [words[0], words[1] | 1],
        flow: halves.collect::<Vec<_>>().try_into().unwrap(),
    }
}

/// Which of 65,536 slots a 64-bit sum is for.
fn slot(sum: u64) -> u16 {
    let folded = sum ^ (sum >> 32);
    (folded.wrapping_mul(sum ^ 0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// A word of an address, as it lies in memory.
fn word(address: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(address[at..at + 4].try_into().unwrap())
}

/// A name's hash: its octets on the wire without the root label, letters in lower case, eight at a
/// time, and first those that are left over at its end.
fn name_hash(key: &DerivedKey, name: &[u8]) -> u64 {
    let mut hash = key.name[0];
    let whole = name.chunks_exact(8);
    let left_over = Some(whole.remainder()).filter(|octets| !octets.is_empty());
    for chunk in left_over.into_iter().chain(whole) {
        let mut octets = [0; 8];
        octets[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(octets.map(|octet| octet | 0x20));
        hash = (hash ^ word).wrapping_mul(key.name[1]);
        hash ^= hash >> 32;
    }
    // The program keeps something else in the lowest octet.
    hash & !0xff
}

impl Model {
    fn sum(&self, network: &Network, word_of_ports: u32) -> u64 {
        let key = &self.key.flow;
        let pair = |at: usize, first: u32, second: u32| {
            let first = u64::from(first) + u64::from(key[at]);
            first.wrapping_mul(u64::from(second) + u64::from(key[at + 1]))
        };
        let client = &network.source;
        let mut sum = pair(0, word(client, 12), word_of_ports);
        if network.icmp == parse::ICMPV6 {
            sum = sum.wrapping_add(pair(2, word(client, 0), word(client, 4)));
            sum = sum.wrapping_add(pair(4, word(client, 8), 0));
        }
        sum
    }

    /// The slot of a flow, or of its client where the policy asks for that.
    pub(super) fn flow_slot(&self, network: &Network, service: u16, from: u16, to: u16) -> u16 {
        let [a, b] = from.to_be_bytes();
        let [c, d] = to.to_be_bytes();
        let ports = match self.policy(service) {
            Policy::Source => 0,
            _ => u32::from_le_bytes([a, b, c, d]),
        };
        slot(self.sum(network, ports))
    }

    fn turn(&mut self, service: u16) -> u64 {
        let cursor = self.cursors.entry(service).or_default();
        *cursor += 1;
        *cursor - 1
    }

    /// A whole UDP datagram.
    pub(super) fn query(
        &mut self,
        network: &Network,
        (_, _, from, to): Flow,
        service: u16,
        message: &[u8],
    ) -> Decision {
        let question = parse::question(message);
        let kind = match &question {
            Some(question) if self.counts_queries(service) => Kind::Query {
                query_type: question.query_type,
                edns: question.edns,
            },
            _ => Kind::Nothing,
        };
        let slot = match (self.policy(service), question) {
            (Policy::RoundRobin, _) => self.turn(service) as u16,
            (Policy::Qname, Some(question)) => {
                let hash = name_hash(&self.key, &question.name);
                if self.service(service).planned.window_shift != 0 {
                    return self.bounded(service, hash, kind);
                }
                slot(hash)
            }
            _ => self.flow_slot(network, service, from, to),
        };
        self.by_slot(service, slot, kind)
    }

    /// A query by name where no backend takes more than its limit of a window.
    fn bounded(&mut self, service: u16, hash: u64, kind: Kind) -> Decision {
        let shift = self.service(service).planned.window_shift;
        let window = self.turn(service) >> shift;
        for attempt in 0..32 {
            let tried = hash.wrapping_add(u64::wrapping_mul(attempt, self.key.name[1]));
            let decision = self.by_slot(service, slot(tried), kind);
            let Decision::Goes { backend, .. } = decision else {
                return decision;
            };
            let limit = u64::from(self.backends[&backend].window_limit);
            let turns = self.windows.entry(backend).or_default();
            if turns.0 != window {
                *turns = (window, 0);
            }
            if turns.1 < limit {
                turns.1 += 1;
                return decision;
            }
        }
        self.by_slot(service, slot(hash), kind)
    }

    /// A segment of a connection; one that `counts` is a client's own.
    pub(super) fn connection(
        &mut self,
        network: &Network,
        flow: Flow,
        service: u16,
        opens: bool,
        counts: bool,
    ) -> Decision {
        let kind = match counts {
            true => Kind::Segment { opens },
            false => Kind::Nothing,
        };
        let goes = |backend| Decision::Goes {
            service,
            backend,
            kind,
        };
        let of_service = |owner: &&(u16, u16)| owner.0 == service;
        if let Some(&(_, backend)) = self.established.get(&flow).filter(of_service) {
            return goes(backend);
        }
        if let Some(&owner) = self.pending.get(&flow).filter(of_service) {
            if counts && !opens {
                self.established.insert(flow, owner);
            }
            return goes(owner.1);
        }
        let slot = self.flow_slot(network, service, flow.2, flow.3);
        let decision = self.by_slot(service, slot, kind);
        if let (Decision::Goes { backend, .. }, true) = (&decision, counts) {
            self.pending.insert(flow, (service, *backend));
        }
        decision
    }

    /// A fragment, of which the backend may be known by its connection.
    pub(super) fn fragment(
        &mut self,
        network: &Network,
        service: u16,
        chosen: Option<(u16, Kind)>,
    ) -> Decision {
        let datagram: Datagram = (
            network.source,
            network.destination,
            network.identification,
            match network.icmp {
                parse::ICMPV6 => 0,
                _ => network.protocol,
            },
        );
        let goes = |(service, backend), kind| Decision::Goes {
            service,
            backend,
            kind,
        };
        let owner = match (chosen, self.fragments.get(&datagram)) {
            (Some((backend, _)), _) => (service, backend),
            (None, Some(&owner)) => return goes(owner, Kind::Nothing),
            (None, None) => {
                let identification = match self.policy(service) {
                    Policy::Source => 0,
                    _ => network.identification,
                };
                let slot = slot(self.sum(network, identification));
                match self.by_slot(service, slot, Kind::Nothing) {
                    Decision::Goes { backend, .. } => (service, backend),
                    ends => return ends,
                }
            }
        };
        self.fragments.insert(datagram, owner);
        goes(owner, chosen.map_or(Kind::Nothing, |(_, kind)| kind))
    }
}
