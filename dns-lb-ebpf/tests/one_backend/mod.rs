//! A world for the program on the host: one service for UDP and TCP with one backend, and what must
//! hold there for any frame. The tests and the fuzzer share it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::LazyLock,
};

use dns_lb_common::{
    ABI_VERSION, Backend, Bank, COUNTS_QUERIES, Control, DerivedKey, Egress, FlowKey, FragmentKey,
    HAS_LOCAL, NO_BACKEND, Pinned, Policy, SteeringTable, TABLE_SLOTS, VipKey, VipSlot, vip_hash,
};
use dns_lb_ebpf::{
    frame::Frame,
    steer::{Kind, Maps, Steps, Verdict, steer},
    tcp::TCP,
    udp::UDP,
};

/// The service's addresses.
pub(crate) const VIP: [u8; 4] = [192, 168, 0, 200];
pub(crate) const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53];

const INGRESS: u32 = 7;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 201];
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VIP_SHIFT: u32 = 64 - 8;

static TABLE: SteeringTable = SteeringTable {
    slots: [1; TABLE_SLOTS],
};

/// A seed under which no two keys collide.
static SEED: LazyLock<u64> = LazyLock::new(|| {
    let mut seeds = (1_u64..1_000).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let places = |seed| keys().map(|key| place(seed, &key)).collect::<BTreeSet<_>>();
    let seed = seeds.find(|&seed| places(seed).len() == keys().count());
    seed.expect("a seed")
});

fn keys() -> impl Iterator<Item = VipKey> {
    [VipKey::map_ipv4(VIP), VIP6].into_iter().flat_map(|vip| {
        [
            VipKey::address(vip),
            VipKey::new(vip, 53, UDP),
            VipKey::new(vip, 53, TCP),
            VipKey::fragments(vip, UDP),
            VipKey::fragments(vip, TCP),
        ]
    })
}

fn place(seed: u64, key: &VipKey) -> usize {
    vip_hash(seed, VIP_SHIFT, key) as usize
}

/// Service and backend, and what is remembered of flows.
struct OneBackend {
    control: Control,
    slots: Vec<VipSlot>,
    backend: Backend,
    cursor: Cell<u64>,
    established: RefCell<BTreeMap<[u8; size_of::<FlowKey>()], Pinned>>,
    pending: RefCell<BTreeMap<[u8; size_of::<FlowKey>()], Pinned>>,
    fragments: RefCell<BTreeMap<[u8; size_of::<FragmentKey>()], Pinned>>,
    /// Octets of the frame.
    length: Cell<usize>,
    explains: Cell<bool>,
    /// What was counted or explained.
    verdict: Cell<Option<Verdict>>,
}

impl OneBackend {
    /// With the policy, the flags and the window that an octet says.
    fn new(choices: u8) -> Self {
        let slot = VipSlot {
            service: 1,
            policy: choices & 3,
            flags: (choices >> 2) & (COUNTS_QUERIES | HAS_LOCAL),
            window_shift: if choices & 0x10 == 0 { 0 } else { 4 },
            ..VipSlot::default()
        };
        let mut slots = vec![VipSlot::default(); 256];
        for key in keys() {
            slots[place(*SEED, &key)] = VipSlot { key, ..slot };
        }
        Self {
            control: Control {
                abi_version: ABI_VERSION,
                derived_key: DerivedKey {
                    name: [3, 5],
                    flow: [7, 11, 13, 17, 19, 23, 29, 31],
                },
                banks: [Bank {
                    vip_seed: *SEED,
                    vip_shift: VIP_SHIFT,
                    ..Bank::default()
                }; 2],
                ..Control::default()
            },
            slots,
            backend: Backend {
                destination_mac: MAC,
                source_mac: OWN_MAC,
                ifindex: INGRESS,
                egress: Egress::Forward as u8,
                keeps_flows: 1,
                service: 1,
                ..Backend::default()
            },
            cursor: Cell::new(0),
            established: RefCell::default(),
            pending: RefCell::default(),
            fragments: RefCell::default(),
            length: Cell::new(0),
            explains: Cell::new(false),
            verdict: Cell::new(None),
        }
    }

    /// What becomes of a frame, and what it is afterwards.
    fn run(&self, octets: &[u8], explains: bool) -> (Verdict, Vec<u8>) {
        self.length.set(octets.len());
        self.explains.set(explains);
        let mut frame = octets.to_vec();
        let action = steer(self, &mut Frame::from_slice(&mut frame));
        let verdict = self.verdict.take().expect("neither counted nor explained");
        assert_eq!(action, verdict.ending().action());
        (verdict, frame)
    }
}

fn flow(key: &FlowKey) -> [u8; size_of::<FlowKey>()] {
    // SAFETY: no padding, as its layout asserts, and any octets are a value.
    unsafe { mem::transmute(*key) }
}

fn datagram(key: &FragmentKey) -> [u8; size_of::<FragmentKey>()] {
    // SAFETY: as in `flow`.
    unsafe { mem::transmute(*key) }
}

impl Maps for OneBackend {
    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }

    fn vip(&self, index: u32) -> Option<&VipSlot> {
        self.slots.get(index as usize)
    }

    fn table(&self, _: u32) -> Option<&SteeringTable> {
        Some(&TABLE)
    }

    fn backend(&self, index: u32) -> Option<&Backend> {
        (index == 1).then_some(&self.backend)
    }

    fn advance_cursor(&self, _: u16) -> u64 {
        let step = u64::from(!self.explains.get());
        self.cursor.replace(self.cursor.get() + step)
    }

    fn has_turn(&self, _: u16, _: u64, _: u32) -> bool {
        true
    }

    fn established(&self, key: &FlowKey) -> Pinned {
        let found = self.established.borrow().get(&flow(key)).copied();
        found.unwrap_or_default()
    }

    fn establish(&self, key: &FlowKey, pinned: Pinned) {
        if !self.explains.get() {
            self.established.borrow_mut().insert(flow(key), pinned);
        }
    }

    fn pending(&self, key: &FlowKey) -> Pinned {
        let found = self.pending.borrow().get(&flow(key)).copied();
        found.unwrap_or_default()
    }

    fn await_more(&self, key: &FlowKey, pinned: Pinned) {
        if !self.explains.get() {
            self.pending.borrow_mut().insert(flow(key), pinned);
        }
    }

    fn fragments(&self, key: &FragmentKey) -> Pinned {
        let found = self.fragments.borrow().get(&datagram(key)).copied();
        found.unwrap_or_default()
    }

    fn collect(&self, key: &FragmentKey, pinned: Pinned) {
        if !self.explains.get() {
            self.fragments.borrow_mut().insert(datagram(key), pinned);
        }
    }

    fn frame_length(&self) -> usize {
        self.length.get()
    }

    fn ingress(&self) -> u32 {
        INGRESS
    }

    fn explains(&self) -> bool {
        self.explains.get()
    }

    fn count_kind(&self, service: u16, _: Kind) {
        assert_eq!(service, 1);
    }

    fn count(&self, verdict: Verdict, first_buffer: usize) {
        assert!(!self.explains.get(), "counted what is to be explained");
        assert_eq!(first_buffer, self.length.get());
        assert_eq!(self.verdict.replace(Some(verdict)), None, "counted twice");
    }

    fn explain(&self, verdict: Verdict) {
        assert!(self.explains.get(), "explained what nobody asks about");
        assert_eq!(self.verdict.replace(Some(verdict)), None, "explained twice");
    }

    fn redirect(&self, _: u16) -> bool {
        unreachable!("the backend is on the ingress interface")
    }
}

impl Steps for OneBackend {}

/// Asserts what must hold for any frame: it goes to the backend or stays as it was, the way of plain
/// packets and the way of all others agree, and so does what comes after it in the same flow. `choices`
/// says how the service chooses. The verdict.
pub(crate) fn holds(choices: u8, before: &[u8]) -> Verdict {
    let maps = OneBackend::new(choices);
    let (explained, _) = maps.run(before, true);
    let (verdict, after) = maps.run(before, false);
    assert_eq!(explained, verdict, "the two ways through");
    if verdict.is_steered() {
        assert_eq!(after[..6], MAC);
        assert_eq!(after[6..12], OWN_MAC);
        assert_eq!(verdict.backend(), 1);
        if choices >> 2 & HAS_LOCAL == 0 {
            assert_eq!(after[12..], before[12..]);
        }
    } else {
        assert_eq!(after, before);
        assert_eq!(verdict.backend(), NO_BACKEND);
    }
    for _ in 0..2 {
        let (again, _) = maps.run(before, false);
        assert_eq!(again.ending(), verdict.ending());
        assert_eq!(again.backend(), verdict.backend());
    }
    verdict
}

/// The choices of a service that goes by name and counts queries.
pub(crate) const BY_NAME: u8 = Policy::Qname as u8 | COUNTS_QUERIES << 2;
