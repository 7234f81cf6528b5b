use std::net::Ipv4Addr;

use super::{super::frame::Ports, *};
use crate::mac::MacAddress;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));
const PORT: u16 = 40_000;
const LINK: Link = Link {
    source_mac: MacAddress([2; 6]),
    destination_mac: MacAddress([4; 6]),
};
const REFUSED: IcmpError = IcmpError {
    kind: 3,
    code: 3,
    port_unreachable: true,
};

fn key(message: Message) -> Key {
    Key {
        local: LOCAL,
        port: PORT,
        message,
    }
}

fn udp(id: u16) -> Key {
    key(Message::Udp { id })
}

fn sent(checksum: u16) -> Sent {
    Sent {
        vip: SocketAddr::new(VIP, 53),
        checksum,
    }
}

/// Two datagrams from one port and a connection.
fn mailboxes() -> Mailboxes {
    let mut mailboxes = Mailboxes::default();
    assert!(mailboxes.open(udp(1), sent(0x1111)));
    assert!(mailboxes.open(udp(2), sent(0x2222)));
    assert!(mailboxes.open(key(Message::Tcp), sent(0)));
    mailboxes
}

fn from(remote: IpAddr, content: Content<'_>) -> Received<'_> {
    Received {
        link: LINK,
        remote,
        local: LOCAL,
        content,
    }
}

fn datagram(payload: &[u8]) -> Content<'_> {
    let ports = Ports {
        source: 53,
        destination: PORT,
    };
    Content::Udp { ports, payload }
}

fn refusal<'a>(protocol: IpNumber, vip: IpAddr, octets: &'a [u8]) -> Content<'a> {
    Content::Icmp {
        error: REFUSED,
        quotation: Quotation {
            local: LOCAL,
            vip,
            protocol,
            ports: Ports {
                source: PORT,
                destination: 53,
            },
            octets,
        },
    }
}

/// Empties all mailboxes; says of each how many events it held.
fn counts(mailboxes: &mut Mailboxes) -> [usize; 3] {
    let context = Context::from_waker(Waker::noop());
    [udp(1), udp(2), key(Message::Tcp)].map(|key| {
        let mut count = 0;
        while mailboxes.poll(&key, &context).is_ready() {
            count += 1;
        }
        count
    })
}

fn counts_after(received: &Received<'_>) -> [usize; 3] {
    let mut mailboxes = mailboxes();
    mailboxes.deliver(received, Instant::now());
    counts(&mut mailboxes)
}

#[test]
fn a_datagram_goes_by_port_and_id_whoever_sent_it() {
    for remote in [VIP, ELSEWHERE] {
        assert_eq!(
            counts_after(&from(remote, datagram(b"\0\x01reply"))),
            [1, 0, 0]
        );
    }
    assert_eq!(counts_after(&from(VIP, datagram(b"\0\x02"))), [0, 1, 0]);
    for stray in [&b"\0\x03reply"[..], b"\0", b""] {
        assert_eq!(counts_after(&from(VIP, datagram(stray))), [0; 3]);
    }
    let mut to_another = from(VIP, datagram(b"\0\x01reply"));
    to_another.local = ELSEWHERE;
    assert_eq!(counts_after(&to_another), [0; 3]);
}

#[test]
fn a_segment_must_be_from_the_vip() {
    let segment = |source| Content::Tcp {
        ports: Ports {
            source,
            destination: PORT,
        },
        packet: b"packet",
    };
    assert_eq!(counts_after(&from(VIP, segment(53))), [0, 0, 1]);
    assert_eq!(counts_after(&from(ELSEWHERE, segment(53))), [0; 3]);
    assert_eq!(counts_after(&from(VIP, segment(54))), [0; 3]);
}

#[test]
fn an_icmp_error_goes_by_what_it_quotes() {
    let router = ELSEWHERE;
    let with_id = b"ppppllcc\0\x02";
    // Eight octets: ports, length, checksum.
    let by_checksum = b"ppppll\x11\x11";
    let of_udp = |vip, octets| counts_after(&from(router, refusal(IpNumber::UDP, vip, octets)));
    assert_eq!(of_udp(VIP, with_id), [0, 1, 0]);
    assert_eq!(of_udp(VIP, by_checksum), [1, 0, 0]);
    assert_eq!(of_udp(VIP, b"ppppll\x33\x33"), [0; 3]);
    assert_eq!(of_udp(VIP, b"pppp"), [0; 3]);
    // Our port, but not our packet.
    assert_eq!(of_udp(ELSEWHERE, with_id), [0; 3]);
    assert_eq!(of_udp(ELSEWHERE, by_checksum), [0; 3]);

    let of_tcp = |vip| counts_after(&from(router, refusal(IpNumber::TCP, vip, b"pppp")));
    assert_eq!(of_tcp(VIP), [0, 0, 1]);
    assert_eq!(of_tcp(ELSEWHERE), [0; 3]);
}

#[test]
fn events_keep_their_order_and_their_number_is_bounded() {
    let mut mailboxes = mailboxes();
    let at = Instant::now();
    for number in 0..200 {
        mailboxes.deliver(&from(VIP, datagram(&[0, 1, number])), at);
    }
    let Poll::Ready(first) = mailboxes.poll(&udp(1), &Context::from_waker(Waker::noop())) else {
        panic!("nothing came");
    };
    assert!(matches!(first.heard, Heard::Datagram { payload, .. } if payload == [0, 1, 0]));
    assert_eq!(counts(&mut mailboxes), [CAPACITY - 1, 0, 0]);
}

#[test]
fn a_closed_mailbox_takes_nothing_and_its_key_is_free() {
    let mut mailboxes = mailboxes();
    assert!(!mailboxes.open(udp(1), sent(0)));
    mailboxes.close(&udp(1));
    assert!(!mailboxes.is_open(&udp(1)));
    mailboxes.deliver(&from(VIP, datagram(b"\0\x01reply")), Instant::now());
    assert_eq!(counts(&mut mailboxes), [0; 3]);
    assert!(mailboxes.open(udp(1), sent(0)));
}

#[test]
fn a_fault_concerns_everybody() {
    let mut mailboxes = mailboxes();
    mailboxes.fail(libc::ENETDOWN, Instant::now());
    assert_eq!(counts(&mut mailboxes), [1; 3]);
}
