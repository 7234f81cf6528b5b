//! The classic BPF program that keeps from the packet socket whatever is no concern of a probe.
//!
//! Pure: port numbers in, instructions out. It runs in the kernel for every frame that the
//! interface receives, so that a busy host wakes the agent for nothing but its own probes.

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD,
    BPF_LDX, BPF_MSH, BPF_RET, sock_filter,
};

use super::frame::{ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// What a program returns for a frame to be taken whole: more octets than a frame has.
const WHOLE: u32 = u32::MAX;
/// What it returns for one that is not to be seen.
const DROP: u32 = 0;

/// Ports of a protocol that are compared one by one. Of more, everything is taken, and the mailboxes
/// tell what is whose: the program must stay well below the 4,096 instructions that Linux takes
/// (`BPF_MAXINSNS`), and twice its size, as it replaces another, below the 20,480 octets that a socket
/// may use for such things before Linux 6.7 (`net.core.optmem_max`), at 8 octets an instruction.
pub(super) const LISTED: usize = 560;
/// Ports that a conditional jump, which reaches 255 instructions, can go past.
const CHUNK: usize = 250;

/// Takes nothing: for the sockets that only hold a port.
pub(super) const NOTHING: [sock_filter; 1] = [statement(BPF_RET | BPF_K, DROP)];

/// Takes what hosts answer when they are asked on a link who has an address: ARP replies (RFC 826) and
/// neighbour advertisements (RFC 4861, 4.4).
pub(super) const ADDRESS_ANSWERS: [sock_filter; 11] = {
    const NETWORK: u32 = ETHERNET_HEADER as u32;
    const REPLY: u32 = 2;
    const ADVERTISEMENT: u32 = 136;
    [
        load_half(12),
        jump_if(BPF_JEQ, ETHERTYPE_ARP as u32, 0, 2),
        load_half(NETWORK + 6),
        jump_if(BPF_JEQ, REPLY, 5, 6),
        jump_if(BPF_JEQ, ETHERTYPE_IPV6 as u32, 0, 5),
        load_octet(NETWORK + 6),
        jump_if(BPF_JEQ, libc::IPPROTO_ICMPV6 as u32, 0, 3),
        load_octet(NETWORK + 40),
        jump_if(BPF_JEQ, ADVERTISEMENT, 0, 1),
        ret(WHOLE),
        ret(DROP),
    ]
};

/// Takes UDP datagrams and TCP segments to one of these ports, and ICMP and ICMPv6 messages that
/// say that a destination was not reached or a packet's time was over, if they quote a packet from
/// one of these ports or one whose header is not of the plain length.
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
    let (udp_number, tcp_number) = (libc::IPPROTO_UDP as u32, libc::IPPROTO_TCP as u32);
    // Conditional jumps do not reach as far as a list of ports is long.
    program.extend([
        jump_if(BPF_JEQ, udp_number, 0, 1),
        jump(2 + ICMP_LENGTH as u32),
        jump_if(BPF_JEQ, tcp_number, 0, 1),
        jump((ICMP_LENGTH + udp.len()) as u32),
    ]);
    let after_v6 = 1;
    let after_v4 = FAMILY_LENGTH + after_v6;
    program.extend(errors_of(&ICMP, after_v4, udp.len()));
    program.extend(errors_of(&ICMPV6, after_v6, udp.len()));
    program.push(ret(DROP));
    program.extend(udp);
    program.extend(tcp);
    program
}

/// How a family says that a packet did not get there.
struct Errors {
    /// The protocol's number.
    number: u32,
    /// The types of its messages.
    kinds: [u32; 2],
    /// The first octet of a quoted IP header of the plain kind.
    first_octet: u32,
    /// Where such a header has the number of what it carries.
    protocol: u32,
    /// Its length.
    header: u32,
}

/// RFC 792. Version 4, a header of 5 words.
const ICMP: Errors = Errors {
    number: libc::IPPROTO_ICMP as u32,
    kinds: [3, 11],
    first_octet: 0x45,
    protocol: 9,
    header: 20,
};
/// RFC 4443. Version 6, and no traffic class.
const ICMPV6: Errors = Errors {
    number: libc::IPPROTO_ICMPV6 as u32,
    kinds: [1, 3],
    first_octet: 0x60,
    protocol: 6,
    header: 40,
};

/// Instructions of a family's part.
const FAMILY_LENGTH: usize = 16;
/// Those of both, and of what drops the rest.
const ICMP_LENGTH: usize = 2 * FAMILY_LENGTH + 1;

/// A family's part: goes on behind it with other protocols, and with the quoted packet's port in A
/// behind the first instruction of its protocol's list. `after`: instructions between the part and the
/// list for UDP, `udp`: instructions of that, which the one for TCP follows.
fn errors_of(errors: &Errors, after: usize, udp: usize) -> [sock_filter; FAMILY_LENGTH] {
    const IP: u32 = ETHERNET_HEADER as u32;
    /// Behind the 8 octets of the message's own header.
    const QUOTED: u32 = IP + 8;
    let port = QUOTED + errors.header;
    [
        jump_if(BPF_JEQ, errors.number, 0, FAMILY_LENGTH as u8 - 1),
        load_octet_after_header(IP),
        jump_if(BPF_JEQ, errors.kinds[0], 2, 0),
        jump_if(BPF_JEQ, errors.kinds[1], 1, 0),
        ret(DROP),
        load_octet_after_header(QUOTED),
        jump_if(BPF_JEQ, errors.first_octet, 1, 0),
        ret(WHOLE),
        load_octet_after_header(QUOTED + errors.protocol),
        jump_if(BPF_JEQ, libc::IPPROTO_UDP as u32, 0, 2),
        load_half_after_header(port),
        jump((4 + after + 1) as u32),
        jump_if(BPF_JEQ, libc::IPPROTO_TCP as u32, 0, 2),
        load_half_after_header(port),
        jump((1 + after + udp + 1) as u32),
        ret(WHOLE),
    ]
}

/// Ends the program: takes what is to one of these ports. Behind the first instruction, the port is
/// in A.
fn port_list(ports: &[u16]) -> Vec<sock_filter> {
    let mut list = vec![load_half_after_header(ETHERNET_HEADER as u32 + 2)];
    if ports.len() > LISTED {
        list.push(ret(WHOLE));
        return list;
    }
    for chunk in ports.chunks(CHUNK) {
        let left = (1..=chunk.len() as u8).rev();
        let compare = |(port, left): (&u16, u8)| jump_if(BPF_JEQ, (*port).into(), left, 0);
        list.extend(chunk.iter().zip(left).map(compare));
        list.extend([jump(1), ret(WHOLE)]);
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

/// A = the two octets at this place, as many octets on as X says.
const fn load_half_after_header(place: u32) -> sock_filter {
    statement(BPF_LD | BPF_H | BPF_IND, place)
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
