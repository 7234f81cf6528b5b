//! The maps, and how the program reads and writes them.

use aya_ebpf::{
    bindings::xdp_md,
    btf_maps::{Array, DevMap, LruHashMap, PerCpuArray},
    helpers::bpf_xdp_get_buff_len,
    macros::btf_map,
    programs::XdpContext,
};
use dns_lb_common::{
    Backend, BackendCounters, Control, Explanation, FlowKey, FragmentKey, Pinned, ServiceCounters,
    SteeringTable, VipSlot,
};
use dns_lb_ebpf::steer::{Kind, Maps, Verdict};

use crate::{count, explain};

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
pub(crate) static SERVICE_COUNTERS: PerCpuArray<ServiceCounters, 1> = PerCpuArray::new();
#[btf_map(name = "backend_counters")]
pub(crate) static BACKEND_COUNTERS: PerCpuArray<BackendCounters, 1> = PerCpuArray::new();
#[btf_map(name = "tcp_flows")]
static TCP_FLOWS: LruHashMap<FlowKey, Pinned, 1024> = LruHashMap::new();
#[btf_map(name = "tcp_pending")]
static TCP_PENDING: LruHashMap<FlowKey, Pinned, 1024> = LruHashMap::new();
#[btf_map(name = "fragments")]
static FRAGMENTS: LruHashMap<FragmentKey, Pinned, 1024> = LruHashMap::new();
#[btf_map(name = "egress")]
static EGRESS: DevMap<64> = DevMap::new();

/// The maps of this program, for one frame.
pub(crate) struct KernelMaps {
    pub(crate) ctx: *mut xdp_md,
}

/// The frame's metadata, if they ask for an explanation. A program that runs before this one may
/// have left others.
#[inline(always)]
pub(crate) fn explanation(ctx: &XdpContext) -> Option<*mut Explanation> {
    if ctx.metadata() == ctx.data() {
        return None;
    }
    let explanation = ctx.metadata() as *mut Explanation;
    if explanation.wrapping_add(1) as usize > ctx.metadata_end() {
        return None;
    }
    // SAFETY: just found to lie within the metadata, which are aligned to four octets.
    let magic = unsafe { (*explanation).magic };
    (magic == Explanation::MAGIC).then_some(explanation)
}

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
        if !self.explains() {
            *cursor = current.wrapping_add(1);
        }
        current
    }

    #[inline(always)]
    fn has_turn(&self, backend: u16, window: u64, limit: u32) -> bool {
        let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(u32::from(backend)) else {
            return false;
        };
        // SAFETY: as in `advance_cursor`.
        let counters = unsafe { &mut *counters };
        let packets = match counters.window == window {
            true => counters.window_packets,
            false => 0,
        };
        if packets >= u64::from(limit) {
            return false;
        }
        if !self.explains() {
            counters.window = window;
            counters.window_packets = packets + 1;
        }
        true
    }

    #[inline(always)]
    fn established(&self, key: &FlowKey) -> Pinned {
        // SAFETY: eight aligned octets; an entry that is recycled meanwhile gives one that no
        // backend's incarnation bears out, or another packet's backend for this one packet.
        unsafe { TCP_FLOWS.get(key) }.copied().unwrap_or_default()
    }

    #[inline(always)]
    fn establish(&self, key: &FlowKey, pinned: Pinned) {
        if !self.explains() {
            // It can fail for want of a free entry; then the next segment tries again.
            let _ = TCP_FLOWS.insert(key, pinned, 0);
        }
    }

    #[inline(always)]
    fn pending(&self, key: &FlowKey) -> Pinned {
        // SAFETY: as in `established`.
        unsafe { TCP_PENDING.get(key) }.copied().unwrap_or_default()
    }

    #[inline(always)]
    fn await_more(&self, key: &FlowKey, pinned: Pinned) {
        if !self.explains() {
            // As in `establish`.
            let _ = TCP_PENDING.insert(key, pinned, 0);
        }
    }

    #[inline(always)]
    fn fragments(&self, key: &FragmentKey) -> Pinned {
        // SAFETY: as in `established`.
        unsafe { FRAGMENTS.get(key) }.copied().unwrap_or_default()
    }

    #[inline(always)]
    fn collect(&self, key: &FragmentKey, pinned: Pinned) {
        if !self.explains() {
            // As in `establish`; the other fragments are then chosen for by their identification.
            let _ = FRAGMENTS.insert(key, pinned, 0);
        }
    }

    #[inline(never)]
    fn frame_length(&self) -> usize {
        // SAFETY: the context is the one that the kernel gave to the program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is valid while the program runs; the verifier rewrites this field.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn explains(&self) -> bool {
        explanation(&XdpContext::new(self.ctx)).is_some()
    }

    #[inline(always)]
    fn count_kind(&self, service: u16, kind: Kind) {
        if !self.explains()
            && let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(u32::from(service))
        {
            // SAFETY: as in `advance_cursor`.
            kind.count(unsafe { &mut *counters });
        }
    }

    #[inline(always)]
    fn count(&self, verdict: Verdict, first_buffer: usize) {
        count(self, verdict, first_buffer);
    }

    #[inline(always)]
    fn explain(&self, verdict: Verdict) {
        if let Some(explanation) = explanation(&XdpContext::new(self.ctx)) {
            // SAFETY: it lies within the frame's metadata, which nothing else refers to while the
            // program runs; any octets are a value.
            explain(unsafe { &mut *explanation }, verdict);
        }
    }

    #[inline(always)]
    fn redirect(&self, devmap_key: u16) -> bool {
        EGRESS.redirect(u32::from(devmap_key), 0).is_ok()
    }
}
