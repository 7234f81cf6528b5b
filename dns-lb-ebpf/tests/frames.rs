//! The pure half on the host: whatever octets arrive, a frame is steered or left as it was.

use std::cell::Cell;

use dns_lb_common::{
    ABI_VERSION, Backend, Bank, Control, Egress, Ending, HashKey, SteeringTable, TABLE_SLOTS,
    VipKey, VipSlot,
};
use dns_lb_ebpf::{
    frame::Frame,
    steer::{Maps, Verdict, is_steered, steer},
    udp::UDP,
};
use proptest::prelude::*;

const VIP: [u8; 4] = [192, 168, 0, 200];
const INGRESS: u32 = 7;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 201];
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// One service with one backend, in maps with one slot each.
struct OneBackend {
    control: Control,
    slots: [VipSlot; 2],
    table: Box<SteeringTable>,
    backend: Backend,
    cursor: Cell<u64>,
}

impl OneBackend {
    fn new() -> Self {
        let slot = VipSlot {
            service: 1,
            ..VipSlot::default()
        };
        Self {
            control: Control {
                abi_version: ABI_VERSION,
                hash_key: HashKey { words: [3, 5] },
                banks: [Bank {
                    vip_seed: 1,
                    vip_shift: 63,
                    ..Bank::default()
                }; 2],
                ..Control::default()
            },
            slots: [
                VipSlot {
                    key: VipKey::new(VipKey::map_ipv4(VIP), 53, UDP),
                    ..slot
                },
                VipSlot {
                    key: VipKey::new(VipKey::map_ipv4(VIP), 0, 0),
                    ..slot
                },
            ],
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

    fn redirect(&self, _: u16) -> bool {
        unreachable!("the backend is on the ingress interface")
    }
}

fn run(octets: &[u8]) -> (Verdict, Vec<u8>) {
    let mut maps = OneBackend::new();
    // A seed under which the two keys have a slot each.
    maps.control.banks[0].vip_seed = (1..)
        .step_by(2)
        .find(|&seed| {
            let place = |slot: &VipSlot| dns_lb_common::vip_hash(seed, 63, &slot.key);
            place(&maps.slots[0]) == 0 && place(&maps.slots[1]) == 1
        })
        .unwrap();
    let mut frame = octets.to_vec();
    let verdict = steer(&maps, &mut Frame::from_slice(&mut frame), INGRESS);
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
    if is_steered(verdict.ending) {
        prop_assert_eq!(&after[..6], &MAC);
        prop_assert_eq!(&after[6..12], &OWN_MAC);
        prop_assert_eq!(&after[12..], &before[12..]);
        prop_assert_eq!(verdict.backend, 1);
    } else {
        prop_assert_eq!(&after, before);
        prop_assert_eq!(verdict.backend, 0);
    }
    Ok(verdict)
}

#[test]
fn a_query_is_steered() {
    assert_eq!(holds(&query()).unwrap().ending, Ending::Transmitted);
}

proptest! {
    #[test]
    fn any_octets_are_steered_or_left_alone(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&octets)?;
    }

    #[test]
    fn an_altered_query_is_steered_or_left_alone(
        changes in prop::collection::vec((0..54_usize, any::<u8>()), 0..4),
        length in 0..=54_usize,
    ) {
        let mut frame = query();
        for (at, octet) in changes {
            frame[at] = octet;
        }
        frame.truncate(length);
        holds(&frame)?;
    }
}
