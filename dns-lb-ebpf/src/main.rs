//! The XDP program: its entry, the one exit that counts, and the log of what should not happen.
#![no_std]
#![no_main]

mod maps;
mod steps;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use aya_log_ebpf::warn;
use dns_lb_common::{Ending, EndingCounters, Explanation, QueryCounters, ServiceCounters};
use dns_lb_ebpf::{
    frame::Frame,
    steer::{self, Kind, Maps as _, Verdict},
};

use maps::{BACKEND_COUNTERS, KernelMaps, SERVICE_COUNTERS, explanation};

/// Entry point: every frame that an attached interface receives.
#[xdp(frags)]
fn dns_lb(ctx: XdpContext) -> u32 {
    // SAFETY: both are the context's own; the verifier checks each access against them.
    let mut frame = unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let bytes = frame.view().len();
    let maps = KernelMaps { ctx: ctx.ctx };
    let verdict = steer::steer(&maps, &mut frame, ingress(&ctx)).forgotten(bytes);
    match explanation(&ctx) {
        // SAFETY: it lies within the frame's metadata, which nothing else refers to while the program
        // runs; any octets are a value.
        Some(explanation) => explain(unsafe { &mut *explanation }, verdict),
        None => count(&maps, verdict, bytes),
    }
    verdict.ending().action() as u32
}

/// Index of the interface that the frame came in by.
#[inline(always)]
fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is valid while the program runs; the verifier rewrites this field.
    unsafe { (*ctx.ctx).ingress_ifindex }
}

/// The one exit: counts the packet for its service and its backend.
#[inline(always)]
fn count(maps: &KernelMaps, verdict: Verdict, first_buffer: usize) {
    let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(u32::from(verdict.service())) else {
        return;
    };
    // SAFETY: the entry is this CPU's own and bottom halves are off: nothing else writes it.
    let counters = unsafe { &mut *counters };
    let packets = ending_counter(&mut counters.endings, verdict.ending());
    *packets += 1;
    if !verdict.is_steered() {
        if verdict.ending() as u8 == Ending::UnknownBackend as u8 {
            log_unknown_backend(*packets);
        }
        return;
    }
    let mut bytes = first_buffer;
    if verdict.has_more_to_count() {
        if verdict.is_in_several_buffers() {
            bytes = maps.frame_length();
        }
        count_kind(counters, verdict.kind());
    }
    counters.bytes += bytes as u64;
    if let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(u32::from(verdict.backend())) {
        // SAFETY: as above.
        let counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += bytes as u64;
    }
}

/// Counts what is known of a packet beside its ending.
#[inline(always)]
fn count_kind(counters: &mut ServiceCounters, kind: Kind) {
    if kind.is_tcp() {
        counters.tcp_packets += 1;
        if kind == Kind::OPENING {
            counters.tcp_connections += 1;
        }
        return;
    }
    const PLACES: usize = size_of::<QueryCounters>() / 8;
    let place = kind.query_place();
    if place < PLACES {
        let first = (&raw mut counters.queries).cast::<u64>();
        // SAFETY: `QueryCounters` is `repr(C)` with `PLACES` u64s.
        let counter = unsafe { first.add(place) };
        // SAFETY: it lies in `counters`, which is borrowed mutably.
        unsafe { *counter += 1 };
    }
    if kind.has_edns() {
        counters.queries.edns += 1;
    }
}

/// The counter of an ending, found by its place instead of by a comparison for each.
#[inline(always)]
fn ending_counter(counters: &mut EndingCounters, ending: Ending) -> &mut u64 {
    let first = (&raw mut *counters).cast::<u64>();
    // The verifier does not know that no function returns any other ending.
    let place = ending as usize & (Ending::ALL.len().next_power_of_two() - 1);
    // SAFETY: `EndingCounters` is `repr(C)` with one u64 for each ending, in the endings' order.
    let counter = unsafe { first.add(place) };
    // SAFETY: it lies in `counters`, which this function has borrowed for as long as it lends it.
    unsafe { &mut *counter }
}

/// Writes the verdict into the frame's metadata.
#[inline(always)]
fn explain(explanation: &mut Explanation, verdict: Verdict) {
    explanation.ending = verdict.ending() as u8;
    explanation.origin = verdict.origin() as u8;
    explanation.service = verdict.service();
    explanation.backend = verdict.backend();
}

/// Says what the agent must never let happen: at the first packet, the second, the fourth and so
/// on, which bounds the log without asking for the time. One of the functions that the verifier goes
/// through by themselves, as in [`steps`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn log_unknown_backend(packets: u64) -> u64 {
    if packets.is_power_of_two() {
        // The macro asks for a context and makes nothing of it.
        warn!((), "a steering table names a backend that does not exist");
    }
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
