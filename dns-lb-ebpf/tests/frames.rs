//! The pure half on the host: whatever octets arrive, a frame is steered or left as it was.

mod one_backend;

use std::fs;

use dns_lb_common::Ending;
use dns_lb_ebpf::udp::UDP;
use proptest::prelude::*;

use self::one_backend::{BY_NAME, VIP, VIP6, holds};

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

#[test]
fn a_query_is_steered() {
    for query in [query(), query6()] {
        assert_eq!(holds(BY_NAME, &query).ending(), Ending::Transmitted);
    }
}

/// What the fuzzer has found, and what it begins with.
#[test]
fn fixtures_are_steered_or_left_alone() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fixtures/frame");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the fixtures") {
        let octets = fs::read(entry.expect("a fixture").path()).expect("a fixture");
        let (&choices, frame) = octets.split_first().expect("choices and a frame");
        holds(choices, frame);
        count += 1;
    }
    assert!(count > 0, "no fixture in {folder}");
}

proptest! {
    #[test]
    fn any_octets_are_steered_or_left_alone(
        choices in any::<u8>(),
        octets in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        holds(choices, &octets);
    }

    #[test]
    fn an_altered_query_is_steered_or_left_alone(
        choices in any::<u8>(),
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
        holds(choices, &frame);
    }
}
