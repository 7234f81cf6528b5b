//! What the program is measured against: the cheapest XDP programs that could do anything at all;
//! programs in front of any, which make a flow after the other out of one frame; and those that swallow
//! what is sent. Only the benchmarks load them.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{Array, PerCpuArray, ProgramArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use dns_lb_common::Backend;
use dns_lb_ebpf::{
    ethernet::{self, EthernetHeader},
    frame::Frame,
    ipv4::Ipv4Header,
    network::Network as _,
    udp::{UDP, UdpHeader},
};

#[btf_map(name = "floor_backends")]
static BACKENDS: Array<Backend, 1> = Array::new();

/// Sends every frame back.
#[xdp(frags)]
fn bare(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Sends UDP over IPv4 to port 53 to the one backend there is: bounds, EtherType, protocol, port, one
/// array look-up, two MAC addresses.
#[xdp(frags)]
fn floor(ctx: XdpContext) -> u32 {
    // SAFETY: both are the context's own; the verifier checks each access against them.
    let mut frame = unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    if is_dns(&frame)
        && let Some(backend) = BACKENDS.get(0)
        && let Some(ethernet) = frame.header_mut::<EthernetHeader>(0)
    {
        ethernet.readdress(backend);
        return xdp_action::XDP_TX;
    }
    xdp_action::XDP_PASS
}

/// The bits that tell flows.
#[btf_map(name = "flow_mask")]
static FLOW_MASK: Array<u32, 1> = Array::new();
/// The bits of a flow that tell its destination's last octet; none for one destination.
#[btf_map(name = "vip_mask")]
static VIP_MASK: Array<u32, 1> = Array::new();
#[btf_map(name = "behind_front")]
static BEHIND: ProgramArray<1> = ProgramArray::new();

/// Gives the frame the next flow's source, and hands it to the program behind. The kernel hands the
/// same frame in again and again, so it counts itself: 16 bits in the port, more in the address.
#[xdp(frags)]
fn front(ctx: XdpContext) -> u32 {
    // SAFETY: both are the context's own; the verifier checks each access against them.
    let mut frame = unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    const SOURCE: usize = EthernetHeader::LENGTH + 12;
    const DESTINATION_END: usize = EthernetHeader::LENGTH + 19;
    const PORT: usize = EthernetHeader::LENGTH + Ipv4Header::LENGTH;
    let mask = FLOW_MASK.get(0).copied().unwrap_or_default();
    let vip_mask = VIP_MASK.get(0).copied().unwrap_or_default();
    let Some(&[low, high]) = frame.view().header::<[u8; 2]>(PORT) else {
        return xdp_action::XDP_ABORTED;
    };
    let Some(address) = frame.header_mut::<[u8; 4]>(SOURCE) else {
        return xdp_action::XDP_ABORTED;
    };
    let [a, b, c, d] = *address;
    // An odd step goes through all numbers below a power of two.
    let number = u32::from_le_bytes([low, high, c, d]).wrapping_add(0x0009_e375) & mask;
    let [low, high, c, d] = number.to_le_bytes();
    *address = [a, b, c, d];
    if vip_mask != 0
        && let Some(octet) = frame.header_mut::<u8>(DESTINATION_END)
    {
        *octet = (number & vip_mask) as u8;
    }
    if let Some(port) = frame.header_mut::<[u8; 2]>(PORT) {
        *port = [low, high];
    }
    // SAFETY: nothing is left to do here after it.
    unsafe { BEHIND.tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

/// How many frames have been swallowed.
#[btf_map(name = "swallowed")]
static SWALLOWED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Ends every frame, and counts it.
#[xdp(frags)]
fn swallow(_: XdpContext) -> u32 {
    count_and_drop()
}

#[inline(always)]
fn count_and_drop() -> u32 {
    if let Some(count) = SWALLOWED.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own and bottom halves are off: nothing else writes it.
        unsafe { *count += 1 };
    }
    xdp_action::XDP_DROP
}

/// The headers that `fresh` begins every frame with: Ethernet, IPv4 without options, UDP.
type Headers = [u8; EthernetHeader::LENGTH + Ipv4Header::LENGTH + UdpHeader::LENGTH];

#[btf_map(name = "fresh_headers")]
static FRESH_HEADERS: Array<Headers, 1> = Array::new();
/// How many frames have been made.
#[btf_map(name = "fresh_frames")]
static FRESH_FRAMES: PerCpuArray<u32, 1> = PerCpuArray::new();

/// Writes the frame's headers anew, with the next flow's source port, and hands it to the program behind:
/// a frame that the kernel hands in again has been through a balancer, and is for somebody else by now.
#[xdp(frags)]
fn fresh(ctx: XdpContext) -> u32 {
    // SAFETY: both are the context's own; the verifier checks each access against them.
    let mut frame = unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    const PORT: usize = EthernetHeader::LENGTH + Ipv4Header::LENGTH;
    let mask = FLOW_MASK.get(0).copied().unwrap_or_default();
    let (Some(headers), Some(count)) = (FRESH_HEADERS.get(0), FRESH_FRAMES.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    let Some(start) = frame.header_mut::<Headers>(0) else {
        return xdp_action::XDP_ABORTED;
    };
    *start = *headers;
    // SAFETY: the entry is this CPU's own and bottom halves are off: nothing else has it.
    let count = unsafe { &mut *count };
    *count = count.wrapping_add(1);
    // The ports are those from the template's on. An odd step goes through all numbers below a power of two.
    let number = (count.wrapping_mul(0x0009_e375) & mask) as u16;
    if let Some(port) = frame.header_mut::<[u8; 2]>(PORT) {
        *port = u16::from_be_bytes(*port).wrapping_add(number).to_be_bytes();
    }
    // SAFETY: nothing is left to do here after it.
    unsafe { BEHIND.tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

/// Hands every frame to the kernel's stack.
#[xdp(frags)]
fn pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Sends back what `fresh` has made, and lets all else through: it may be attached where a bridge learns who
/// is where.
#[xdp(frags)]
fn echo(ctx: XdpContext) -> u32 {
    if is_fresh(&ctx) {
        return xdp_action::XDP_TX;
    }
    xdp_action::XDP_PASS
}

/// Swallows what `fresh` has made, and lets all else through.
#[xdp(frags)]
fn sink(ctx: XdpContext) -> u32 {
    if is_fresh(&ctx) {
        return count_and_drop();
    }
    xdp_action::XDP_PASS
}

/// Whether `fresh` has made this frame, by its source address.
#[inline(always)]
fn is_fresh(ctx: &XdpContext) -> bool {
    // SAFETY: both are the context's own; the verifier checks each access against them.
    let frame = unsafe { Frame::new(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    const SOURCE: usize = EthernetHeader::LENGTH + 12;
    let (Some(headers), Some(source)) =
        (FRESH_HEADERS.get(0), frame.view().header::<[u8; 4]>(SOURCE))
    else {
        return false;
    };
    source[..] == headers[SOURCE..SOURCE + 4]
}

#[inline(always)]
fn is_dns(frame: &Frame<'_>) -> bool {
    const AT: usize = EthernetHeader::LENGTH;
    let view = frame.view();
    let Some(udp) = view.header::<UdpHeader>(AT + Ipv4Header::LENGTH) else {
        return false;
    };
    let (Some(ethernet), Some(ip)) = (
        view.header::<EthernetHeader>(0),
        view.header::<Ipv4Header>(AT),
    ) else {
        return false;
    };
    ethernet.ether_type.word() == ethernet::IPV4
        && ip.plain_protocol() == UDP
        && udp.ports.destination() == 53
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
