//! The classic BPF program that keeps from the packet socket whatever is no concern of a probe.
//!
//! Pure: port numbers in, instructions out. It runs in the kernel for every frame that the
//! interface receives, so that a busy host wakes the agent for nothing but its own probes.

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD,
    BPF_LDX, BPF_MSH, BPF_RET, sock_filter,
};

use super::frame::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// What a program returns for a frame to be taken whole: more octets than a frame has.
const WHOLE: u32 = u32::MAX;
/// What it returns for one that is not to be seen.
const DROP: u32 = 0;

/// Takes nothing: for the sockets that only hold a port.
pub(super) const NOTHING: [sock_filter; 1] = [statement(BPF_RET | BPF_K, DROP)];

/// Takes UDP datagrams and TCP segments to one of these ports, and ICMP and ICMPv6 messages that
/// say that a destination was not reached or a packet's time was over.
///
/// Later fragments of IPv4 are not taken, and neither is what has an extension header of IPv6:
/// servers and hosts have no reason for either in what they answer a probe.
pub(super) fn program(udp_ports: &[u16], tcp_ports: &[u16]) -> Vec<sock_filter> {
    const IP: u32 = ETHERNET_HEADER as u32;
    let udp = port_list(udp_ports);
    let tcp = port_list(tcp_ports);
    // Leaves the length of the IP header in X and the number of what follows it in A.
    let mut program = vec![
        load_half(12),
        jump_if(BPF_JEQ, ETHERTYPE_IPV4.into(), 0, 6),
        load_half(IP + 6),
        // The offset of a fragment.
        jump_if(BPF_JSET, 0x1fff, 0, 1),
        ret(DROP),
        statement(BPF_LDX | BPF_B | BPF_MSH, IP),
        load_octet(IP + 9),
        jump(4),
        jump_if(BPF_JEQ, ETHERTYPE_IPV6.into(), 1, 0),
        ret(DROP),
        statement(BPF_LDX | BPF_IMM, 40),
        load_octet(IP + 6),
    ];
    // Conditional jumps reach 255 instructions, which a list of ports may exceed.
    let icmp = [
        jump_if(BPF_JEQ, libc::IPPROTO_ICMP as u32, 0, 4),
        load_octet_after_header(IP),
        jump_if(BPF_JEQ, 3, 6, 0),
        jump_if(BPF_JEQ, 11, 5, 0),
        ret(DROP),
        jump_if(BPF_JEQ, libc::IPPROTO_ICMPV6 as u32, 0, 4),
        load_octet_after_header(IP),
        jump_if(BPF_JEQ, 1, 1, 0),
        jump_if(BPF_JEQ, 3, 0, 1),
        ret(WHOLE),
        ret(DROP),
    ];
    program.extend([
        jump_if(BPF_JEQ, libc::IPPROTO_UDP as u32, 0, 1),
        jump(2 + icmp.len() as u32),
        jump_if(BPF_JEQ, libc::IPPROTO_TCP as u32, 0, 1),
        jump((icmp.len() + udp.len()) as u32),
    ]);
    program.extend(icmp);
    program.extend(udp);
    program.extend(tcp);
    program
}

/// Ends the program: takes what is to one of these ports.
fn port_list(ports: &[u16]) -> Vec<sock_filter> {
    let mut list = Vec::with_capacity(2 + 2 * ports.len());
    list.push(statement(
        BPF_LD | BPF_H | BPF_IND,
        ETHERNET_HEADER as u32 + 2,
    ));
    for port in ports {
        list.extend([jump_if(BPF_JEQ, (*port).into(), 0, 1), ret(WHOLE)]);
    }
    list.push(ret(DROP));
    list
}

/// A = the two octets at this place of the frame.
const fn load_half(place: u32) -> sock_filter {
    statement(BPF_LD | BPF_H | BPF_ABS, place)
}

/// A = the octet at this place of the frame.
const fn load_octet(place: u32) -> sock_filter {
    statement(BPF_LD | BPF_B | BPF_ABS, place)
}

/// A = the octet at this place, as many octets on as X says.
const fn load_octet_after_header(place: u32) -> sock_filter {
    statement(BPF_LD | BPF_B | BPF_IND, place)
}

/// Goes on after this many more instructions.
const fn jump(over: u32) -> sock_filter {
    statement(BPF_JMP | BPF_JA, over)
}

const fn ret(octets: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, octets)
}

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Compares A, and goes on after this many instructions if it holds, or after that many if not.
const fn jump_if(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: (BPF_JMP | test | BPF_K) as u16,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests;
