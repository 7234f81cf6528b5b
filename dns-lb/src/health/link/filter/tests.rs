use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

const UDP_PORTS: [u16; 3] = [40_001, 50_002, 60_003];
const TCP_PORTS: [u16; 2] = [40_004, 50_005];

/// Whether a program takes a frame, by the rules of Documentation/networking/filter.rst: a load
/// beyond the frame's end drops it.
fn takes(program: &[sock_filter], frame: &[u8]) -> bool {
    run(program, frame).is_some_and(|octets| octets > 0)
}

fn run(program: &[sock_filter], frame: &[u8]) -> Option<u32> {
    let octet = |place: u32| frame.get(place as usize).copied().map(u32::from);
    let half = |place: u32| Some(octet(place)? << 8 | octet(place.checked_add(1)?)?);
    let (mut a, mut x, mut place) = (0, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[place];
        place += 1;
        let branch = |holds| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            code if code == BPF_LD | BPF_H | BPF_ABS => a = half(k)?,
            code if code == BPF_LD | BPF_B | BPF_ABS => a = octet(k)?,
            code if code == BPF_LD | BPF_H | BPF_IND => a = half(k + x)?,
            code if code == BPF_LD | BPF_B | BPF_IND => a = octet(k + x)?,
            code if code == BPF_LDX | BPF_IMM => x = k,
            code if code == BPF_LDX | BPF_B | BPF_MSH => x = (octet(k)? & 0xf) * 4,
            code if code == BPF_JMP | BPF_JA => place += k as usize,
            code if code == BPF_JMP | BPF_JEQ => place += branch(a == k),
            code if code == BPF_JMP | BPF_JSET => place += branch(a & k != 0),
            code if code == BPF_RET | BPF_K => return Some(k),
            other => panic!("an instruction that is not used: {other:#x}"),
        }
    }
}

fn filter() -> Vec<sock_filter> {
    program(&UDP_PORTS, &TCP_PORTS)
}

/// Frames to a port, by UDP and by TCP: IPv4, IPv4 with options, IPv6.
fn frames(port: u16) -> [[Vec<u8>; 3]; 2] {
    let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
    let with_options = || {
        let mut header = etherparse::Ipv4Header::new(
            0,
            64,
            etherparse::IpNumber::UDP,
            [192, 0, 2, 1],
            [192, 0, 2, 2],
        )
        .unwrap();
        header.options = [1; 8].into();
        ethernet().ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
    };
    let ips = || {
        [
            ethernet().ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64),
            with_options(),
            ethernet().ipv6([1; 16], [2; 16], 64),
        ]
    };
    let mut written = [const { [const { Vec::new() }; 3] }; 2];
    for (frame, ip) in written[0].iter_mut().zip(ips()) {
        ip.udp(53, port).write(frame, b"reply").unwrap();
    }
    for (frame, ip) in written[1].iter_mut().zip(ips()) {
        ip.tcp(53, port, 1, 1000).write(frame, b"reply").unwrap();
    }
    written
}

#[test]
fn takes_what_is_to_a_port_of_ours_by_its_protocol() {
    let expected = |port| [UDP_PORTS.contains(&port), TCP_PORTS.contains(&port)];
    let others = [53, 40_000, 40_002, 50_003, 0, 65_535];
    for port in others.iter().chain(&UDP_PORTS).chain(&TCP_PORTS) {
        for (of_protocol, expected) in frames(*port).iter().zip(expected(*port)) {
            for frame in of_protocol {
                assert_eq!(takes(&filter(), frame), expected, "{port}: {frame:02x?}");
            }
        }
    }
}

#[test]
fn long_lists_take_the_same() {
    let udp: Vec<u16> = (1000..1400).collect();
    let tcp: Vec<u16> = (2000..2300).collect();
    let program = program(&udp, &tcp);
    for port in [999, 1000, 1399, 1400, 1999, 2000, 2299, 2300] {
        let [by_udp, by_tcp] = frames(port);
        for (udp_frame, tcp_frame) in by_udp.iter().zip(&by_tcp) {
            assert_eq!(takes(&program, udp_frame), udp.contains(&port), "{port}");
            assert_eq!(takes(&program, tcp_frame), tcp.contains(&port), "{port}");
        }
    }
}

#[test]
fn takes_first_fragments_only() {
    let [[mut frame, ..], _] = frames(UDP_PORTS[0]);
    frame[20] = 0x20;
    assert!(takes(&filter(), &frame));
    frame[21] = 1;
    assert!(!takes(&filter(), &frame));
}

/// An error of a family, of this type, about what left by this protocol from this port.
fn error(is_v4: bool, icmp_type: u8, quoted_protocol: u8, port: u16) -> Vec<u8> {
    let own = [1; 4];
    let mut quoted = Vec::new();
    match is_v4 {
        true => PacketBuilder::ipv4(own, [2; 4], 64),
        false => PacketBuilder::ipv6([1; 16], [2; 16], 64),
    }
    .udp(port, 53)
    .write(&mut quoted, b"query")
    .unwrap();
    quoted[if is_v4 { 9 } else { 6 }] = quoted_protocol;
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let mut frame = Vec::new();
    let written = match is_v4 {
        true => ethernet
            .ipv4([2; 4], own, 64)
            .icmpv4_raw(icmp_type, 1, [0; 4])
            .write(&mut frame, &quoted),
        false => ethernet
            .ipv6([2; 16], [1; 16], 64)
            .icmpv6_raw(icmp_type, 1, [0; 4])
            .write(&mut frame, &quoted),
    };
    written.unwrap();
    frame
}

#[test]
fn takes_errors_of_icmp_and_no_other_messages() {
    for (is_v4, taken) in [(true, [3, 11]), (false, [1, 3])] {
        for icmp_type in 0..=255 {
            let frame = error(is_v4, icmp_type, 17, UDP_PORTS[0]);
            let expected = taken.contains(&icmp_type);
            assert_eq!(takes(&filter(), &frame), expected, "{is_v4} {icmp_type}");
        }
    }
}

#[test]
fn takes_errors_about_what_left_from_a_port_of_ours() {
    let others = [53, 40_000, 40_002, 0];
    for port in others.iter().chain(&UDP_PORTS).chain(&TCP_PORTS) {
        for (is_v4, icmp_type) in [(true, 3), (false, 1)] {
            for (protocol, ports) in [(17, &UDP_PORTS[..]), (6, &TCP_PORTS)] {
                let frame = error(is_v4, icmp_type, protocol, *port);
                let expected = ports.contains(port);
                assert_eq!(
                    takes(&filter(), &frame),
                    expected,
                    "{is_v4} {protocol} {port}"
                );
            }
            // What it quotes is not easily read: an option, an extension header, a traffic class.
            let mut odd = [
                error(is_v4, icmp_type, 0, *port),
                error(is_v4, icmp_type, 17, *port),
            ];
            let quoted = if is_v4 { 14 + 20 + 8 } else { 14 + 40 + 8 };
            odd[1][quoted] += 1;
            for frame in odd {
                assert!(takes(&filter(), &frame), "{is_v4} {port}");
            }
        }
    }
}

#[test]
fn the_largest_program_fits() {
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    for (udp, tcp) in [(LISTED, LISTED), (LISTED + 1, LISTED), (65_535, 65_535)] {
        let (udp, tcp) = (&ports[..udp], &ports[..tcp]);
        let program = program(udp, tcp);
        assert!(2 * 8 * (program.len() + 32) < 20_480, "{}", program.len());
        for (port, of_protocol) in [1, 250, 251, 560].map(|port| (port, frames(port))) {
            for frame in of_protocol.iter().flatten() {
                assert!(takes(&program, frame), "{port}");
            }
        }
        let [[by_udp, ..], [by_tcp, ..]] = frames(600);
        assert_eq!(takes(&program, &by_udp), udp.len() > LISTED);
        assert_eq!(takes(&program, &by_tcp), tcp.len() > LISTED);
        // The kernel takes it, and takes it in place of another.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        for _ in 0..2 {
            super::super::socket::attach(&socket, &program).unwrap();
        }
    }
}

#[test]
fn nothing_takes_nothing() {
    assert!(!takes(&NOTHING, &frames(UDP_PORTS[0])[0][0]));
}

proptest! {
    #[test]
    fn any_octets_end_in_a_verdict(frame in prop::collection::vec(any::<u8>(), 0..100)) {
        takes(&filter(), &frame);
    }

    #[test]
    fn what_is_cut_off_before_the_ports_is_not_taken(length in 0usize..38) {
        let [[frame, ..], _] = frames(UDP_PORTS[0]);
        prop_assert!(!takes(&filter(), &frame[..length]));
    }
}

#[test]
fn answers_about_addresses_are_taken_and_questions_are_not() {
    let arp = |operation: u8| {
        let mut frame = vec![2; 12];
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([0; 20]);
        frame
    };
    let icmp = |kind: u8| {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([0xfe; 16], [0xff; 16], 255)
            .icmpv6_raw(kind, 0, [0; 4])
            .write(&mut frame, &[0; 16])
            .unwrap();
        frame
    };
    for (frame, taken) in [
        (arp(2), true),
        (arp(1), false),
        (icmp(136), true),
        (icmp(135), false),
    ] {
        assert_eq!(takes(&ADDRESS_ANSWERS, &frame), taken, "{frame:02x?}");
    }
    for frames in frames(UDP_PORTS[0]) {
        for frame in frames {
            assert!(!takes(&ADDRESS_ANSWERS, &frame), "{frame:02x?}");
        }
    }
}
