//! What the program is measured against: the cheapest XDP programs that could do anything at all.
//! Only the benchmark loads them.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::Array,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use dns_lb_common::Backend;
use dns_lb_ebpf::{
    ethernet::{self, EthernetHeader},
    frame::Frame,
    ipv4::Ipv4Header,
    network::Network as _,
    udp::UdpHeader,
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
        && ip.is_plain_udp()
        && udp.ports.destination() == 53
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
