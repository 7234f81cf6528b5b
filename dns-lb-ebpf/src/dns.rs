//! The question of a DNS query (RFC 1035, section 4.1): what it asks for, and its name as a hash.

use dns_lb_common::{DerivedKey, QueryType};

use crate::{
    frame::{Be16, View, Wire, forgotten, opaque},
    hash,
};

/// The header of a message: 12 octets (RFC 1035, 4.1.1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Header {
    id: Be16,
    /// Flags, and how many questions, answers and authority records: one word, since they are looked
    /// at together.
    flags_counts: [u8; 8],
    additionals: Be16,
}

// SAFETY: arrays of octets only.
unsafe impl Wire for Header {}

impl Header {
    /// Whether this is a query with one question and no record but additional ones.
    #[inline(always)]
    const fn is_plain(&self) -> bool {
        // Of the flags, QR and OPCODE.
        let looked_at = u64::from_ne_bytes([0xf8, 0, 255, 255, 255, 255, 255, 255]);
        let wanted = u64::from_ne_bytes([0, 0, 0, 1, 0, 0, 0, 0]);
        u64::from_ne_bytes(self.flags_counts) & looked_at == wanted
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
/// Octets of the longest name that is not long, without the root label.
pub const SHORT_NAME: usize = 64;
/// Labels of the longest name, with the root label: two octets each without it.
const MOST_LABELS: usize = 128;
/// Labels that [`labels`] goes through. More are rare, and each is gone through by the verifier.
const LABELS_AT_A_TIME: usize = 12;
/// Says that a name goes on.
const MORE: usize = 256;
/// Octets of the longest label; above, there are no lengths but compression pointers.
const LONGEST_LABEL: usize = 63;

/// The name of a plain query: one question and nothing else but what EDNS or a signature adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// No plain query.
    None,
    /// One of so many octets, without the root label: 0 to [`SHORT_NAME`].
    Short(usize),
    /// A longer one, or one of many labels, or no plain query: the verifier goes through all
    /// lengths, so the few names that are as long are [looked at](long_name) elsewhere.
    Long,
}

impl Name {
    #[inline(always)]
    fn new(name_length: usize, length: usize) -> Self {
        let name_length = forgotten(name_length, length);
        match name_length {
            LONGEST_NAME => Self::None,
            0..=SHORT_NAME if fits(additional_at(name_length), length) => Self::Short(name_length),
            0..=SHORT_NAME => Self::None,
            _ => Self::Long,
        }
    }
}

/// What a query asks for beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it asks for.
    pub query_type: QueryType,
    /// Whether it carries EDNS.
    pub edns: bool,
}

/// What the message that begins with this view is, whose datagram ends after `length` octets.
#[inline(always)]
#[must_use]
pub fn name(message: View<'_>, length: usize) -> Name {
    match message.header::<Header>(0) {
        Some(header) if header.is_plain() => Name::new(labels(message, 0), length),
        _ => Name::None,
    }
}

/// The name of a plain query that is [long](Name::Long). `labels` goes on with it as [`labels`] does.
#[inline(always)]
#[must_use]
pub fn long_name(length: usize, labels: impl Fn(usize) -> usize) -> Option<usize> {
    let mut done = 0;
    for _ in 0..MOST_LABELS.div_ceil(LABELS_AT_A_TIME) {
        let name_length = labels(done);
        if name_length & MORE == 0 {
            return is_whole(name_length, length).then_some(name_length);
        }
        done = name_length & !MORE;
    }
    None
}

/// Whether a question with a name of so many octets fits.
fn is_whole(name_length: usize, length: usize) -> bool {
    name_length < LONGEST_NAME && fits(additional_at(name_length), length)
}

/// Whether what ends at an offset ends within a length. Linux 6.12 would draw conclusions from the
/// comparison for what the offset is a sum of, and forget its bounds over them.
#[inline(always)]
fn fits(end: usize, length: usize) -> bool {
    opaque(end as u64) <= length as u64
}

/// What a plain query asks for whose name has `name_length` octets; its datagram ends after `length`
/// octets. `None` if the octets are not all there.
#[inline(always)]
#[must_use]
pub fn asked(message: View<'_>, length: usize, name_length: usize) -> Option<Asked> {
    let additional = additional_at(name_length);
    let tail = message.header::<Tail>(additional - size_of::<Tail>())?;
    let edns = message.header::<Header>(0)?.additionals.word() != 0
        && fits(additional + OPT.len(), length)
        && message.header::<[u8; 3]>(additional) == Some(&OPT);
    Some(Asked {
        query_type: QueryType::of(tail.query_type.get()),
        edns,
    })
}

/// Where the additional records begin, behind the root label, type and class of the question.
const fn additional_at(name_length: usize) -> usize {
    NAME + name_length + 1 + size_of::<Tail>()
}

/// Goes on with the name that a message's first question begins with, of which the labels in the
/// first `length` octets are done: octets without the root label, below [`LONGEST_NAME`], if the
/// name ends among the next [`LABELS_AT_A_TIME`] labels; those that are done now, with [`MORE`], if
/// it does not; [`LONGEST_NAME`] if it is longer than a name can be, or its labels are not all
/// there.
#[inline(always)]
#[must_use]
pub fn labels(message: View<'_>, mut length: usize) -> usize {
    let mut label = LONGEST_LABEL;
    for _ in 0..LABELS_AT_A_TIME {
        let Some(&next) = message.header::<u8>(NAME + length) else {
            return LONGEST_NAME;
        };
        label = usize::from(next);
        // One question for the root label and for what is no label.
        if label.wrapping_sub(1) >= LONGEST_LABEL {
            break;
        }
        length += 1 + label;
    }
    match label {
        _ if length >= LONGEST_NAME => LONGEST_NAME,
        0 => length,
        1..=LONGEST_LABEL => length | MORE,
        _ => LONGEST_NAME,
    }
}

/// The hash of a query's name of `length` octets, eight at a time: first those that are left over at
/// its end, so that nothing is left to do, and for the verifier to tell apart, after the loop. `None`
/// if they are not all there.
#[inline(always)]
#[must_use]
pub fn name_hash(key: &DerivedKey, message: View<'_>, length: usize) -> Option<u64> {
    let mut hash = hash::name_start(key);
    let left_over = length % 8;
    if left_over > 0 {
        // Eight octets up to the name's end, the first of which are not among those that are left
        // over, or belong to the header if the name is that short.
        let octets = message.header::<[u8; 8]>(NAME - 8 + length)?;
        let octets = u64::from_le_bytes(*octets) >> (8 * (8 - left_over));
        hash = hash::name_step(key, hash, octets);
    }
    let (mut at, mut left) = (NAME, length);
    while left >= 8 {
        let octets = message.header::<[u8; 8]>(at)?;
        hash = hash::name_step(key, hash, u64::from_le_bytes(*octets));
        at += 8;
        left -= 8;
    }
    Some(hash)
}
