//! The keyed flow hash: which slot of the steering table a flow belongs to.

use dns_lb_common::HashKey;

/// 2^64 divided by the golden ratio, odd: spreads what is left over the upper bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slot, 0 to 65,535, of a flow that is described by these words.
///
/// Multiply and fold under a secret start value and a secret odd multiplier. Without the key nobody
/// can compute which flows share a slot. Whoever sees which backend answers can find out flow by
/// flow, as under any hash that keeps flows together.
#[inline(always)]
#[must_use]
pub fn flow_slot<const N: usize>(key: &HashKey, words: [u64; N]) -> u16 {
    let [start, multiplier] = key.words;
    let multiplier = multiplier | 1;
    let mut hash = start;
    for word in words {
        hash = (hash ^ word).wrapping_mul(multiplier);
        hash ^= hash >> 32;
    }
    (hash.wrapping_mul(GOLDEN) >> 48) as u16
}
