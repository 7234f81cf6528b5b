//! The steps of the choice as functions that the verifier goes through by themselves.
//!
//! The kernel takes such a function's parameters for any numbers at all, a pointer to a structure
//! for null or the whole structure, and its result for any number. So offsets are brought below a
//! bound here, and results travel as words. What Rust makes of an enum with data, `Option`
//! included, is refused in a signature.

use aya_ebpf::bindings::xdp_md;
use dns_lb_common::{Action, DerivedKey, Ending, FlowKey, VipSlot};
use dns_lb_ebpf::{
    dns,
    frame::{Frame, View, opaque},
    icmp::ICMP,
    ipv4::{self, Ipv4Header},
    ipv6::{self, Ipv6Header},
    network::{Contents, Network},
    steer::{self, Packet, Payload, Query, Segment, Steps, Verdict},
};

use crate::{frame, maps::KernelMaps};

/// Offsets in a frame: headers that are looked behind end well below this one.
const OFFSETS: u64 = 0x7fff;

/// What a step says that was called with a null pointer, which no caller does.
const NOTHING: u64 = Verdict::unclaimed(Ending::NotService).to_word();

impl Steps for KernelMaps {
    /// Not a function of its own, but it starts afresh: what the verifier knows of the frame differs
    /// with the check that the frame was found unusual by.
    #[inline(always)]
    fn unusual(&self, _: &mut Frame<'_>) -> Action {
        let ctx = opaque(self.ctx as u64) as *mut xdp_md;
        steer::steer_unusual(&maps(ctx), &mut frame(ctx))
    }

    #[inline(always)]
    fn datagram<N: Network>(&self, _: View<'_>, at: usize) -> Verdict {
        let datagram = match N::ICMP {
            ICMP => datagram_ipv4,
            _ => datagram_ipv6,
        };
        verdict(datagram(self.ctx, at as u64))
    }

    #[inline(always)]
    fn transport(&self, _: View<'_>, packet: &mut Packet, address: &VipSlot) -> Verdict {
        verdict(transport(self.ctx, packet, address))
    }

    #[inline(always)]
    fn behind_options(&self, _: View<'_>, at: usize) -> Contents {
        Contents::from_word(behind_options(self.ctx, at as u64))
    }

    #[inline(always)]
    fn behind_extensions(&self, _: View<'_>, at: usize, protocol: u8) -> Contents {
        Contents::from_word(behind_extensions(self.ctx, at as u64, protocol.into()))
    }

    #[inline(always)]
    fn behind_extension(&self, _: View<'_>, contents: Contents) -> Contents {
        Contents::from_word(behind_extension(self.ctx, contents.to_word()))
    }

    #[inline(always)]
    fn by_policy(&self, _: View<'_>, slot: &VipSlot, payload: Payload, sum: u64) -> Verdict {
        let place = (payload.end as u64) << 32 | payload.at as u64;
        verdict(by_policy(self.ctx, slot, place, sum))
    }

    #[inline(always)]
    fn query(&self, key: &DerivedKey, _: View<'_>, payload: Payload, counts: bool) -> Query {
        let place = (payload.end as u64) << 32 | payload.at as u64;
        Query::from_word(query(self.ctx, key, place, counts.into()))
    }

    #[inline(always)]
    fn labels(&self, _: View<'_>, at: usize, length: usize) -> usize {
        labels(self.ctx, at as u64, length as u64) as usize
    }

    #[inline(always)]
    fn long_query(&self, key: &DerivedKey, _: View<'_>, payload: Payload, counts: bool) -> Query {
        let place = (payload.end as u64) << 32 | payload.at as u64;
        Query::from_word(long_query(self.ctx, key, place, counts.into()))
    }

    #[inline(always)]
    fn bounded(&self, slot: &VipSlot, query: Query) -> Verdict {
        verdict(bounded(self.ctx, slot, query.to_word()))
    }

    #[inline(always)]
    fn take_turns(&self, slot: &VipSlot, query: Query, window: u64, first: u64) -> Verdict {
        verdict(take_turns(self.ctx, slot, query.to_word(), window, first))
    }

    #[inline(always)]
    fn take_turn(&self, slot: &VipSlot, query: Query, window: u64, attempt: u64) -> Verdict {
        verdict(take_turn(self.ctx, slot, query.to_word(), window, attempt))
    }

    #[inline(always)]
    fn connection(&self, key: &FlowKey, slot: &VipSlot, segment: Segment) -> Verdict {
        let word = segment.to_word();
        verdict(connection(self.ctx, key, slot, word))
    }

    #[inline(always)]
    fn fragment(&self, packet: &Packet, slot: &VipSlot, chosen: u16) -> Verdict {
        verdict(fragment(self.ctx, packet, slot, chosen.into()))
    }

    #[inline(always)]
    fn is_from_peer(&self, _: View<'_>, slot: &VipSlot) -> bool {
        is_from_peer(self.ctx, slot) != 0
    }

    #[inline(always)]
    fn spend_hop(&self, _: Frame<'_>) -> bool {
        spend_hop(self.ctx) != 0
    }
}

/// What a step has returned.
#[inline(always)]
fn verdict(word: u64) -> Verdict {
    // SAFETY: the steps of this file return what `Verdict::to_word` made.
    unsafe { Verdict::from_word(word) }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn datagram_ipv4(ctx: *mut xdp_md, at: u64) -> u64 {
    datagram::<Ipv4Header>(ctx, at)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn datagram_ipv6(ctx: *mut xdp_md, at: u64) -> u64 {
    datagram::<Ipv6Header>(ctx, at)
}

#[inline(always)]
fn datagram<N: Network>(ctx: *mut xdp_md, at: u64) -> u64 {
    let at = (at & OFFSETS) as usize;
    steer::datagram::<N, _>(&maps(ctx), frame(ctx).into_view(), at).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn transport(ctx: *mut xdp_md, packet: *mut Packet, address: *const VipSlot) -> u64 {
    // SAFETY: null, or the caller's, which waits for this function.
    let packet = unsafe { packet.as_mut() };
    // SAFETY: as in `by_policy`.
    let address = unsafe { address.as_ref() };
    let (Some(packet), Some(address)) = (packet, address) else {
        return NOTHING;
    };
    steer::transport(&maps(ctx), frame(ctx).into_view(), packet, address).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn behind_options(ctx: *mut xdp_md, at: u64) -> u64 {
    ipv4::behind_options(frame(ctx).into_view(), (at & OFFSETS) as usize).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn behind_extensions(ctx: *mut xdp_md, at: u64, protocol: u64) -> u64 {
    let at = (at & OFFSETS) as usize;
    ipv6::behind_extensions(&maps(ctx), frame(ctx).into_view(), at, protocol as u8).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn behind_extension(ctx: *mut xdp_md, contents: u64) -> u64 {
    ipv6::behind_extension(frame(ctx).into_view(), Contents::from_word(contents)).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn by_policy(ctx: *mut xdp_md, slot: *const VipSlot, payload: u64, sum: u64) -> u64 {
    // SAFETY: null or an entry of a map, which stays as long as the program runs.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return NOTHING;
    };
    let frame = frame(ctx).into_view();
    steer::by_policy(&maps(ctx), frame, slot, place(payload), sum).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn query(ctx: *mut xdp_md, key: *const DerivedKey, payload: u64, counts: u64) -> u64 {
    // SAFETY: null or in the entry of a map, which stays as long as the program runs.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return Query::NONE.to_word();
    };
    let frame = frame(ctx).into_view();
    steer::read_query(key, frame, place(payload), counts != 0).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn labels(ctx: *mut xdp_md, at: u64, length: u64) -> u64 {
    let message = frame(ctx).into_view().skip((at & OFFSETS) as usize);
    dns::labels(message, (length & 0xff) as usize) as u64
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn long_query(
    ctx: *mut xdp_md,
    key: *const DerivedKey,
    payload: u64,
    counts: u64,
) -> u64 {
    // SAFETY: as in `query`.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return Query::NONE.to_word();
    };
    let frame = frame(ctx).into_view();
    steer::read_long_query(&maps(ctx), key, frame, place(payload), counts != 0).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn bounded(ctx: *mut xdp_md, slot: *const VipSlot, query: u64) -> u64 {
    // SAFETY: as in `by_policy`.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return NOTHING;
    };
    let maps = maps(ctx);
    steer::choose_bounded(&maps, slot, Query::from_word(query)).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_turns(
    ctx: *mut xdp_md,
    slot: *const VipSlot,
    query: u64,
    window: u64,
    first: u64,
) -> u64 {
    // SAFETY: as in `by_policy`.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return NOTHING;
    };
    let maps = maps(ctx);
    steer::take_turns(&maps, slot, Query::from_word(query), window, first).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_turn(
    ctx: *mut xdp_md,
    slot: *const VipSlot,
    query: u64,
    window: u64,
    attempt: u64,
) -> u64 {
    // SAFETY: as in `by_policy`.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return NOTHING;
    };
    let maps = maps(ctx);
    steer::take_turn(&maps, slot, Query::from_word(query), window, attempt).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn connection(
    ctx: *mut xdp_md,
    key: *const FlowKey,
    slot: *const VipSlot,
    segment: u64,
) -> u64 {
    // SAFETY: null, or the caller's, which waits for this function.
    let key = unsafe { key.as_ref() };
    // SAFETY: as in `by_policy`.
    let slot = unsafe { slot.as_ref() };
    let (Some(key), Some(slot)) = (key, slot) else {
        return NOTHING;
    };
    let maps = maps(ctx);
    steer::choose_connection(&maps, key, slot, Segment::from_word(segment)).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn fragment(
    ctx: *mut xdp_md,
    packet: *const Packet,
    slot: *const VipSlot,
    chosen: u64,
) -> u64 {
    // SAFETY: as in `transport`, to read.
    let packet = unsafe { packet.as_ref() };
    // SAFETY: as in `by_policy`.
    let slot = unsafe { slot.as_ref() };
    let (Some(packet), Some(slot)) = (packet, slot) else {
        return NOTHING;
    };
    steer::fragment(&maps(ctx), packet, slot, chosen as u16).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_from_peer(ctx: *mut xdp_md, slot: *const VipSlot) -> u64 {
    // SAFETY: as in `by_policy`.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return 0;
    };
    steer::is_from_peer(&maps(ctx), frame(ctx).into_view(), slot).into()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn spend_hop(ctx: *mut xdp_md) -> u64 {
    steer::spend_hop(frame(ctx)).into()
}

#[inline(always)]
const fn maps(ctx: *mut xdp_md) -> KernelMaps {
    KernelMaps { ctx }
}

/// Where a payload lies, from one register.
#[inline(always)]
const fn place(word: u64) -> Payload {
    Payload {
        at: (word & OFFSETS) as usize,
        end: (word >> 32) as usize,
    }
}
