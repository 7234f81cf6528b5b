//! The keyed hashes: which slot of the steering table a flow, a datagram or a name belongs to.
//!
//! Addresses and ports are summed up as in NH (Black et al., CRYPTO 1999; RFC 4418, section 5.2.2):
//! 32-bit words in pairs, a word of the key added to each, the two multiplied to 64 bits, the
//! products added. Whatever two flows are, at most one key in 2^32 gives them one sum; the products
//! do not wait for each other, and one is all that IPv4 takes. Unlike in NH, a word and its key keep
//! their carry, which costs less than to drop it. The proof stays: words that differ, by less than
//! 2^32, times 2^32 keys for the other word give as many products modulo 2^64.
//!
//! Without the key nobody can compute which flows share a slot. Whoever sees which backend answers
//! can find out flow by flow, as under any hash that keeps flows together.
//!
//! The VIP is left out. It is the same for all flows of most services, and where it is not, flows
//! that differ in it alone do no harm in sharing a slot.

use dns_lb_common::DerivedKey;

/// 2^64 divided by the golden ratio: no sum is near it.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sum of an IPv4 address and a word of ports, or of anything that stands for the two.
#[inline(always)]
#[must_use]
pub const fn flow_sum_of_word(key: &DerivedKey, address: u32, ports: u32) -> u64 {
    product(key, 0, address, ports)
}

/// The sum of an IPv6 address and a word of ports.
#[inline(always)]
#[must_use]
pub const fn flow_sum_of_words(key: &DerivedKey, address: [u32; 4], ports: u32) -> u64 {
    let [a, b, c, d] = address;
    product(key, 0, d, ports)
        .wrapping_add(product(key, 2, a, b))
        .wrapping_add(product(key, 4, c, 0))
}

/// One pair of NH, under the key's words at `at` and after it.
#[inline(always)]
const fn product(key: &DerivedKey, at: usize, first: u32, second: u32) -> u64 {
    let first = first as u64 + key.flow[at] as u64;
    let second = second as u64 + key.flow[at + 1] as u64;
    first.wrapping_mul(second)
}

/// The slot, 0 to 65,535, that a sum stands for.
///
/// The sums of a client's ports, or of a network's clients, are at equal distances. Multiplied by a
/// constant they would still be, and some distances leave many slots out; multiplied by themselves
/// they are not.
#[inline(always)]
#[must_use]
pub const fn slot(sum: u64) -> u16 {
    ((sum ^ (sum >> 32)).wrapping_mul(sum ^ GOLDEN) >> 48) as u16
}

/// What a name's hash begins with.
#[inline(always)]
#[must_use]
pub const fn name_start(key: &DerivedKey) -> u64 {
    key.name[0]
}

/// Takes the next eight octets of a name in, the first in the lowest bits; at the end of a name
/// fewer, with zeros above.
///
/// Setting bit 0x20 of each octet lower-cases its letter (RFC 4343). It makes a few other octets
/// alike as well, such as `@` and a grave accent: names that differ in those alone share a slot.
#[inline(always)]
#[must_use]
pub const fn name_step(key: &DerivedKey, hash: u64, octets: u64) -> u64 {
    let lower_cased = octets | 0x2020_2020_2020_2020;
    let hash = (hash ^ lower_cased).wrapping_mul(key.name[1]);
    hash ^ (hash >> 32)
}

/// Where a name goes that its first backends have no room for: the hash for an attempt, of which the
/// first, the name's own, is 0.
#[inline(always)]
#[must_use]
pub const fn name_attempt(key: &DerivedKey, hash: u64, attempt: u64) -> u64 {
    hash.wrapping_add(attempt.wrapping_mul(key.name[1]))
}
