//! How evenly the hashes spread what networks really look like: chi-squared over the slots, in 256
//! groups.

use dns_lb_common::DerivedKey;
use dns_lb_ebpf::{hash, network::Address as _};

/// Groups of slots that are counted.
const GROUPS: usize = 256;
/// Keys that each population is tried under.
const KEYS: u64 = 200;
/// Members of a population.
const COUNT: u32 = 65_536;

/// A key from a number, by SplitMix64.
fn key(number: u64) -> DerivedKey {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    DerivedKey {
        name: [next(), next() | 1],
        flow: std::array::from_fn(|_| next() as u32),
    }
}

/// Chi-squared of how a population falls into the groups: 255 for pure chance, give or take 23.
fn chi_squared(slots: impl Iterator<Item = u16>) -> f64 {
    let mut counts = [0_u32; GROUPS];
    let mut total = 0;
    for slot in slots {
        counts[usize::from(slot) * GROUPS / 65_536] += 1;
        total += 1;
    }
    let expected = f64::from(total) / GROUPS as f64;
    counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum()
}

/// The worst over all keys, of a population with these members.
fn worst_of(is_member: impl Fn(u32) -> bool, slot: impl Fn(&DerivedKey, u32) -> u16) -> f64 {
    (0..KEYS)
        .map(|number| {
            let key = key(number);
            let members = (0..COUNT).filter(|&member| is_member(member));
            chi_squared(members.map(|member| slot(&key, member)))
        })
        .fold(0.0, f64::max)
}

fn worst(slot: impl Fn(&DerivedKey, u32) -> u16) -> f64 {
    worst_of(|_| true, slot)
}

/// A number that looks random, the same each time.
fn scattered(member: u32) -> u32 {
    let word = u64::from(member).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
}

/// The word of a client's port and port 53, as it lies in memory.
fn ports(port: u32) -> u32 {
    let [a, b] = (port as u16).to_be_bytes();
    u32::from_ne_bytes([a, b, 0, 53])
}

#[test]
fn realistic_clients_spread_evenly() {
    let v4 = |key: &DerivedKey, address: u32, port: u32| {
        hash::slot(address.to_be_bytes().flow_sum(key, ports(port)))
    };
    let v6 = |key: &DerivedKey, low: u64, port: u32| {
        let mut address = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        address[8..].copy_from_slice(&low.to_be_bytes());
        hash::slot(address.flow_sum(key, ports(port)))
    };
    let populations: [(&str, f64); 8] = [
        (
            "sequential addresses, one port",
            worst(|key, member| v4(key, 0x0a00_0000 + member, 53)),
        ),
        (
            "sequential addresses, random ports",
            worst(|key, member| v4(key, 0x0a00_0000 + member, scattered(member))),
        ),
        (
            "one /24, random ports",
            worst(|key, member| v4(key, 0xc633_6400 | member & 0xff, scattered(member))),
        ),
        (
            "one resolver, random ports",
            worst_of(
                |member| scattered(member).is_multiple_of(3),
                |key, member| v4(key, 0xc633_6407, member),
            ),
        ),
        (
            "one resolver, every port",
            worst(|key, member| v4(key, 0xc633_6407, member)),
        ),
        (
            "one /64, sequential addresses",
            worst(|key, member| v6(key, member.into(), 53)),
        ),
        (
            "one /64, random addresses and ports",
            worst(|key, member| v6(key, u64::from(scattered(member)) << 20, scattered(member))),
        ),
        (
            "one IPv6 resolver, every port",
            worst(|key, member| v6(key, 7, member)),
        ),
    ];
    for (what, chi_squared) in populations {
        // Six standard deviations, which chance exceeds once in a million runs.
        assert!(chi_squared < 255.0 + 6.0 * 22.6, "{what}: {chi_squared}");
    }
}
