//! The XDP program: the maps, the one exit that counts, and the log of what should not happen.
#![no_std]
#![no_main]

use aya_ebpf::{
    btf_maps::{Array, DevMap, PerCpuArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use aya_log_ebpf::warn;
use dns_lb_common::{
    Backend, BackendCounters, Control, Ending, EndingCounters, ServiceCounters, SteeringTable,
    VipSlot,
};
use dns_lb_ebpf::{
    frame::Frame,
    steer::{self, Maps, Verdict, is_steered},
};

// The sizes of these maps are set when the program is loaded: `dns_lb::datapath` knows how many
// services and backends the configuration has.
#[btf_map(name = "control")]
static CONTROL: Array<Control, 1> = Array::new();
#[btf_map(name = "vips")]
static VIPS: Array<VipSlot, 1> = Array::new();
#[btf_map(name = "tables")]
static TABLES: Array<SteeringTable, 1> = Array::new();
#[btf_map(name = "backends")]
static BACKENDS: Array<Backend, 1> = Array::new();
#[btf_map(name = "service_counters")]
static SERVICE_COUNTERS: PerCpuArray<ServiceCounters, 1> = PerCpuArray::new();
#[btf_map(name = "backend_counters")]
static BACKEND_COUNTERS: PerCpuArray<BackendCounters, 1> = PerCpuArray::new();
#[btf_map(name = "egress")]
static EGRESS: DevMap<64> = DevMap::new();

/// The maps of this program.
struct KernelMaps;

impl Maps for KernelMaps {
    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        CONTROL.get(0)
    }

    #[inline(always)]
    fn vip(&self, index: u32) -> Option<&VipSlot> {
        VIPS.get(index)
    }

    #[inline(always)]
    fn table(&self, index: u32) -> Option<&SteeringTable> {
        TABLES.get(index)
    }

    #[inline(always)]
    fn backend(&self, index: u32) -> Option<&Backend> {
        BACKENDS.get(index)
    }

    #[inline(always)]
    fn advance_cursor(&self, service: u16) -> u64 {
        let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(u32::from(service)) else {
            return 0;
        };
        // SAFETY: the entry is this CPU's own and bottom halves are off: nothing else writes it.
        let cursor = unsafe { &mut (*counters).cursor };
        let current = *cursor;
        *cursor = current.wrapping_add(1);
        current
    }

    #[inline(always)]
    fn redirect(&self, devmap_key: u16) -> bool {
        EGRESS.redirect(u32::from(devmap_key), 0).is_ok()
    }
}

/// Entry point: every frame that an attached interface receives.
#[xdp]
fn dns_lb(ctx: XdpContext) -> u32 {
    // SAFETY: both are the context's own; the verifier checks each access against them.
    let mut frame = unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let bytes = frame.len() as u64;
    let verdict = steer::steer(&KernelMaps, &mut frame, ingress(&ctx));
    count(&ctx, verdict, bytes);
    verdict.ending.action() as u32
}

/// Index of the interface that the frame came in by.
#[inline(always)]
fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is valid while the program runs; the verifier rewrites this field.
    unsafe { (*ctx.ctx).ingress_ifindex }
}

/// The one exit: counts the packet for its service and its backend.
#[inline(always)]
fn count(ctx: &XdpContext, verdict: Verdict, bytes: u64) {
    let Verdict {
        ending,
        service,
        backend,
    } = verdict;
    let steered = is_steered(ending);
    let mut unexpected = 0;
    if let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(u32::from(service)) {
        // SAFETY: the entry is this CPU's own and bottom halves are off: nothing else writes it.
        let counters = unsafe { &mut *counters };
        let packets = ending_counter(&mut counters.endings, ending);
        *packets += 1;
        if ending as u8 == Ending::UnknownBackend as u8 {
            unexpected = *packets;
        }
        if steered {
            counters.bytes += bytes;
        }
    }
    if steered && let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(u32::from(backend)) {
        // SAFETY: as above.
        let counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += bytes;
    }
    if unexpected != 0 {
        log_unknown_backend(ctx, service, unexpected);
    }
}

/// The counter of an ending, found by its place instead of by a comparison for each.
#[inline(always)]
fn ending_counter(counters: &mut EndingCounters, ending: Ending) -> &mut u64 {
    let first = (&raw mut *counters).cast::<u64>();
    // SAFETY: `EndingCounters` is `repr(C)` with one u64 for each ending, in the endings' order.
    let counter = unsafe { first.add(ending as usize) };
    // SAFETY: it lies in `counters`, which this function has borrowed for as long as it lends it.
    unsafe { &mut *counter }
}

/// Says what the agent must never let happen: at the first packet, the second, the fourth and so
/// on, which bounds the log without asking for the time.
#[cold]
#[inline(never)]
fn log_unknown_backend(ctx: &XdpContext, service: u16, packets: u64) {
    if packets.is_power_of_two() {
        warn!(
            ctx,
            "service {}: the steering table names a backend that does not exist; {} packets dropped on this CPU",
            service,
            packets
        );
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
