//! The pure half on the host: whatever octets arrive, a frame is steered or left as it was.

use std::{cell::Cell, collections::BTreeSet};

use dns_lb_common::{
    ABI_VERSION, Backend, Bank, COUNTS_QUERIES, Control, Egress, Ending, FlowKey, FragmentKey,
    HashKey, Pinned, Policy, SteeringTable, TABLE_SLOTS, VipKey, VipSlot, vip_hash,
};
use dns_lb_ebpf::{
    frame::Frame,
    steer::{Kind, Maps, Steps, Verdict, steer},
    tcp::TCP,
    udp::UDP,
};
use proptest::prelude::*;

const VIP: [u8; 4] = [192, 168, 0, 200];
const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53];
const INGRESS: u32 = 7;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 201];
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// One service for UDP and TCP with one backend, and nothing remembered.
struct OneBackend {
    control: Control,
    slots: Vec<VipSlot>,
    table: Box<SteeringTable>,
    backend: Backend,
    cursor: Cell<u64>,
    /// Octets of the frame.
    length: Cell<usize>,
    /// What was counted.
    verdict: Cell<Option<Verdict>>,
}

impl OneBackend {
    fn new() -> Self {
        let mut keys = Vec::new();
        for vip in [VipKey::map_ipv4(VIP), VIP6] {
            keys.extend([(53, UDP), (53, TCP), (0, UDP), (0, TCP), (0, 0)].map(
                |(port, protocol)| VipSlot {
                    key: match (port, protocol) {
                        (0, 0) => VipKey::address(vip),
                        (0, _) => VipKey::fragments(vip, protocol),
                        _ => VipKey::new(vip, port, protocol),
                    },
                    service: 1,
                    policy: Policy::Qname as u8,
                    flags: COUNTS_QUERIES,
                    ..VipSlot::default()
                },
            ));
        }
        let place = |seed, slot: &VipSlot| vip_hash(seed, 64 - 8, &slot.key) as usize;
        let seed = (1_u64..)
            .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
            .take(1_000)
            .find(|&seed| {
                let places: BTreeSet<usize> = keys.iter().map(|slot| place(seed, slot)).collect();
                places.len() == keys.len()
            })
            .unwrap();
        let mut slots = vec![VipSlot::default(); 256];
        for slot in keys {
            slots[place(seed, &slot)] = slot;
        }
        Self {
            control: Control {
                abi_version: ABI_VERSION,
                hash_key: HashKey { words: [3, 5] },
                banks: [Bank {
                    vip_seed: seed,
                    vip_shift: 64 - 8,
                    ..Bank::default()
                }; 2],
                ..Control::default()
            },
            slots,
            table: Box::new(SteeringTable {
                slots: [1; TABLE_SLOTS],
            }),
            backend: Backend {
                destination_mac: MAC,
                source_mac: OWN_MAC,
                ifindex: INGRESS,
                egress: Egress::Forward as u8,
                ..Backend::default()
            },
            cursor: Cell::new(0),
            length: Cell::new(0),
            verdict: Cell::new(None),
        }
    }
}

impl Maps for OneBackend {
    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }

    fn vip(&self, index: u32) -> Option<&VipSlot> {
        self.slots.get(index as usize)
    }

    fn table(&self, _: u32) -> Option<&SteeringTable> {
        Some(&self.table)
    }

    fn backend(&self, index: u32) -> Option<&Backend> {
        (index == 1).then_some(&self.backend)
    }

    fn advance_cursor(&self, _: u16) -> u64 {
        self.cursor.replace(self.cursor.get() + 1)
    }

    fn has_turn(&self, _: u16, _: u64, _: u32) -> bool {
        true
    }

    fn established(&self, _: &FlowKey) -> Pinned {
        Pinned::default()
    }

    fn establish(&self, _: &FlowKey, _: Pinned) {}

    fn pending(&self, _: &FlowKey) -> Pinned {
        Pinned::default()
    }

    fn await_more(&self, _: &FlowKey, _: Pinned) {}

    fn fragments(&self, _: &FragmentKey) -> Pinned {
        Pinned::default()
    }

    fn collect(&self, _: &FragmentKey, _: Pinned) {}

    fn frame_length(&self) -> usize {
        self.length.get()
    }

    fn ingress(&self) -> u32 {
        INGRESS
    }

    fn explains(&self) -> bool {
        false
    }

    fn count_kind(&self, service: u16, _: Kind) {
        assert_eq!(service, 1);
    }

    fn count(&self, verdict: Verdict, first_buffer: usize) {
        assert_eq!(first_buffer, self.length.get());
        assert_eq!(self.verdict.replace(Some(verdict)), None, "counted twice");
    }

    fn explain(&self, _: Verdict) {
        unreachable!("nobody has asked");
    }

    fn redirect(&self, _: u16) -> bool {
        unreachable!("the backend is on the ingress interface")
    }
}

impl Steps for OneBackend {}

fn run(octets: &[u8]) -> (Verdict, Vec<u8>) {
    let maps = OneBackend::new();
    maps.length.set(octets.len());
    let mut frame = octets.to_vec();
    let action = steer(&maps, &mut Frame::from_slice(&mut frame));
    let verdict = maps.verdict.get().expect("not counted");
    assert_eq!(action, verdict.ending().action());
    (verdict, frame)
}

fn query() -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xfe, 0x08, 0x00]);
    frame.extend([
        0x45,
        0,
        0,
        28 + 12,
        0,
        1,
        0,
        0,
        63,
        UDP,
        0,
        0,
        198,
        51,
        100,
        7,
    ]);
    frame.extend(VIP);
    frame.extend([0x10, 0x92, 0, 53, 0, 8 + 12, 0, 0]);
    frame.extend([0; 12]);
    frame
}

/// What must hold for any frame.
fn holds(before: &[u8]) -> Result<Verdict, TestCaseError> {
    let (verdict, after) = run(before);
    if verdict.is_steered() {
        prop_assert_eq!(&after[..6], &MAC);
        prop_assert_eq!(&after[6..12], &OWN_MAC);
        prop_assert_eq!(&after[12..], &before[12..]);
        prop_assert_eq!(verdict.backend(), 1);
    } else {
        prop_assert_eq!(&after, before);
        prop_assert_eq!(verdict.backend(), 0);
    }
    Ok(verdict)
}

#[test]
fn a_query_is_steered() {
    for query in [query(), query6()] {
        assert_eq!(holds(&query).unwrap().ending(), Ending::Transmitted);
    }
}

/// A fragment of IPv6 with extension headers, of a kind that the changes below turn into others.
fn query6() -> Vec<u8> {
    let mut frame = vec![
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xfe, 0x81, 0, 0, 7, 0x86, 0xdd,
    ];
    frame.extend([0x60, 0, 0, 0, 0, 16 + 20 + 16, 0, 63]);
    frame.extend([0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    frame.extend(VIP6);
    frame.extend([60, 0, 0, 0, 0, 0, 0, 0, UDP, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend([0x10, 0x92, 0, 53, 0, 8 + 28, 0, 0]);
    frame.extend(*b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x04test\0\0\x01\0\x01\0\0");
    frame
}

proptest! {
    #[test]
    fn any_octets_are_steered_or_left_alone(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&octets)?;
    }

    #[test]
    fn an_altered_query_is_steered_or_left_alone(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        of_ipv6 in any::<bool>(),
    ) {
        let mut frame = if of_ipv6 { query6() } else { query() };
        for (at, octet) in changes {
            let at = at.index(frame.len());
            frame[at] = octet;
        }
        frame.truncate(length.index(frame.len() + 1));
        holds(&frame)?;
    }
}
