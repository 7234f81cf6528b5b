//! The XDP program: its entry, the one exit that counts, and the log of what should not happen.
#![no_std]
#![no_main]

mod maps;
mod steps;

use aya_ebpf::{bindings::xdp_md, macros::xdp, programs::XdpContext};
use aya_log_ebpf::warn;
use dns_lb_common::{Ending, EndingCounters, Explanation};
use dns_lb_ebpf::{
    frame::Frame,
    steer::{self, Maps as _, Verdict},
};

use maps::{BACKEND_COUNTERS, KernelMaps, SERVICE_COUNTERS};

/// Entry point: every frame that an attached interface receives.
#[xdp(frags)]
fn dns_lb(ctx: XdpContext) -> u32 {
    steer::steer(&KernelMaps { ctx: ctx.ctx }, &mut frame(ctx.ctx)) as u32
}

/// The context's frame.
#[inline(always)]
fn frame<'a>(ctx: *mut xdp_md) -> Frame<'a> {
    let ctx = XdpContext::new(ctx);
    // SAFETY: both are the context's own; the verifier checks each access against them.
    unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) }
}

/// Counts a packet for its service and its backend.
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
    let bytes = match verdict.is_in_several_buffers() {
        true => maps.frame_length(),
        false => first_buffer,
    };
    counters.bytes += bytes as u64;
    if let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(u32::from(verdict.backend())) {
        // SAFETY: as above.
        let counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += bytes as u64;
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
        warn!((), "steering table: no such backend");
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
