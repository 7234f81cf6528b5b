//! The question of a DNS query (RFC 1035, section 4.1): what it asks for, and its name as a hash.

use dns_lb_common::{DerivedKey, QueryType};

use crate::{
    frame::{Be16, View, Wire, forgotten},
    hash,
};

/// The header of a message: 12 octets (RFC 1035, 4.1.1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Header {
    id: Be16,
    flags: Be16,
    questions: Be16,
    answers: Be16,
    authorities: Be16,
    additionals: Be16,
}

// SAFETY: arrays of octets only.
unsafe impl Wire for Header {}

impl Header {
    /// Whether this is a query with one question and no record but additional ones.
    #[inline(always)]
    const fn is_plain(&self) -> bool {
        // SAFETY: twelve octets without padding, and any octets are a value.
        let octets = unsafe { core::mem::transmute::<Self, [u8; 12]>(*self) };
        let [_, _, a, b, c, d, e, f, g, h, _, _] = octets;
        // Of the flags, QR and OPCODE.
        let looked_at = u64::from_ne_bytes([0xf8, 0, 255, 255, 255, 255, 255, 255]);
        let wanted = u64::from_ne_bytes([0, 0, 0, 1, 0, 0, 0, 0]);
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]) & looked_at == wanted
    }
}

/// What follows the name of a question: QTYPE and QCLASS.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Tail {
    query_type: Be16,
    class: Be16,
}

// SAFETY: arrays of octets only.
unsafe impl Wire for Tail {}

/// Where the name of the first question begins.
const NAME: usize = size_of::<Header>();

/// The begin of an OPT record (RFC 6891, section 6.1.2): the root name and type 41.
const OPT: [u8; 3] = [0, 0, 41];

/// Octets of the longest name (RFC 1035, 2.3.4), the root label included.
const LONGEST_NAME: usize = 255;
/// Labels of the longest name, with the root label: two octets each without it.
const MOST_LABELS: usize = 128;
/// Labels that [`labels`] goes through. More are rare, and each is gone through by the verifier.
const LABELS_AT_A_TIME: usize = 12;
/// Says that a name goes on.
const MORE: usize = 256;
/// Octets of the longest label; above, there are no lengths but compression pointers.
const LONGEST_LABEL: u8 = 63;

/// A plain query: one question and nothing else but what EDNS or a signature adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Octets of its name, without the root label: 0 to 254.
    pub name_length: usize,
    /// What it asks for.
    pub query_type: QueryType,
    /// Whether it carries EDNS.
    pub edns: bool,
}

/// Reads the query that begins with this view; its datagram ends after `length` octets. `None` if it
/// is not a plain one. `further` goes on with a name as [`last_labels`] does, for the few that have
/// more labels than [`labels`] goes through.
#[inline(always)]
#[must_use]
pub fn query(
    message: View<'_>,
    length: usize,
    further: impl FnOnce(usize) -> usize,
) -> Option<Query> {
    let header = message.header::<Header>(0)?;
    if !header.is_plain() {
        return None;
    }
    let mut name_length = forgotten(labels(message, 0), length);
    if name_length & MORE != 0 {
        name_length = further(name_length & !MORE);
    }
    if name_length >= LONGEST_NAME {
        return None;
    }
    // Behind the root label.
    let tail_at = NAME + name_length + 1;
    let tail = message.header::<Tail>(tail_at)?;
    let additional = tail_at + size_of::<Tail>();
    if additional > length {
        return None;
    }
    Some(Query {
        name_length,
        query_type: QueryType::of(tail.query_type.get()),
        edns: header.additionals.word() != 0
            && additional + OPT.len() <= length
            && message.header::<[u8; 3]>(additional) == Some(&OPT),
    })
}

/// The last labels of a long name: as [`labels`], which is what `further` does, until the name ends.
#[inline(always)]
#[must_use]
pub fn last_labels(mut length: usize, further: impl Fn(usize) -> usize) -> usize {
    for _ in 1..MOST_LABELS.div_ceil(LABELS_AT_A_TIME) {
        length = further(length);
        if length & MORE == 0 {
            return length;
        }
        length &= !MORE;
    }
    LONGEST_NAME
}

/// Goes on with the name that a message's first question begins with, of which the labels in the
/// first `length` octets are done: octets without the root label, below [`LONGEST_NAME`], if the
/// name ends among the next [`LABELS_AT_A_TIME`] labels; those that are done now, with [`MORE`], if
/// it does not; [`LONGEST_NAME`] if it is longer than a name can be, or its labels are not all
/// there.
#[inline(always)]
#[must_use]
pub fn labels(message: View<'_>, mut length: usize) -> usize {
    for _ in 0..LABELS_AT_A_TIME {
        let Some(&label) = message.header::<u8>(NAME + length) else {
            return LONGEST_NAME;
        };
        if label == 0 {
            return length;
        }
        length += 1 + usize::from(label);
        if label > LONGEST_LABEL || length >= LONGEST_NAME {
            return LONGEST_NAME;
        }
    }
    length | MORE
}

/// The hash of a query's name of `length` octets, eight at a time. `None` if they are not all there.
#[inline(always)]
#[must_use]
pub fn name_hash(key: &DerivedKey, message: View<'_>, length: usize) -> Option<u64> {
    let mut hash = hash::name_start(key);
    let mut done = 0;
    while done + 8 <= length {
        let octets = message.header::<[u8; 8]>(NAME + done)?;
        hash = hash::name_step(key, hash, u64::from_le_bytes(*octets));
        done += 8;
    }
    let left = length - done;
    if left > 0 {
        // The last eight octets up to the name's end, of which the first are done, or belong to the
        // header if the name is that short.
        let octets = message.header::<[u8; 8]>(NAME - 8 + length)?;
        let octets = u64::from_le_bytes(*octets) >> (8 * (8 - left));
        hash = hash::name_step(key, hash, octets);
    }
    Some(hash)
}
