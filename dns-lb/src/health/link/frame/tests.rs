use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Type, Icmpv6Type, SlicedPacket, TransportSlice, icmpv4, icmpv6};
use proptest::prelude::*;

use super::*;

const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const BACKEND: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const QUERY: &[u8] = b"\x12\x34 a query";
const PORT: u16 = 40_000;

fn ways() -> [Way; 2] {
    let by = |source: IpAddr, vip: IpAddr| Way {
        ifindex: 1,
        source_mac: OWN,
        destination_mac: BACKEND,
        source,
        vip: (vip, 53).into(),
    };
    [
        by(
            Ipv4Addr::new(192, 0, 2, 1).into(),
            Ipv4Addr::new(192, 0, 2, 53).into(),
        ),
        by(
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).into(),
        ),
    ]
}

fn query(way: &Way) -> Query {
    udp_query(way, PORT, QUERY).unwrap()
}

/// An ICMP error with so many octets of what it is about, from a router.
fn icmp_error(way: &Way, kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(BACKEND.0, OWN.0);
    let mut frame = Vec::new();
    match way.source {
        IpAddr::V4(source) => ethernet
            .ipv4([192, 0, 2, 254], source.octets(), 64)
            .icmpv4(Icmpv4Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8: [0; 4],
            })
            .write(&mut frame, quoted),
        IpAddr::V6(source) => ethernet
            .ipv6([0xfe; 16], source.octets(), 64)
            .icmpv6(Icmpv6Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8: [0; 4],
            })
            .write(&mut frame, quoted),
    }
    .unwrap();
    frame
}

#[test]
fn a_query_is_a_whole_frame_with_right_checksums() {
    for way in ways() {
        let Query { frame, checksum } = query(&way);
        assert_eq!(frame[..ETHERNET_HEADER], ethernet_header(&way));
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = &packet.transport else {
            panic!("{packet:?}");
        };
        assert_eq!((udp.source_port(), udp.destination_port()), (PORT, 53));
        assert_eq!(udp.payload(), QUERY);
        assert_eq!(udp.checksum(), checksum);
        let header = udp.to_header();
        match packet.net.unwrap() {
            etherparse::NetSlice::Ipv4(ip) => {
                let ip = ip.header().to_header();
                assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                assert_eq!(Ok(checksum), header.calc_checksum_ipv4(&ip, QUERY));
                assert_eq!(ip.time_to_live, HOPS);
            }
            etherparse::NetSlice::Ipv6(ip) => {
                let ip = ip.header().to_header();
                assert_eq!(Ok(checksum), header.calc_checksum_ipv6(&ip, QUERY));
                assert_eq!(ip.hop_limit, HOPS);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_families_make_no_query() {
    let [way, other] = ways();
    let mixed = Way {
        vip: other.vip,
        ..way
    };
    assert!(udp_query(&mixed, PORT, QUERY).is_err());
}

#[test]
fn a_datagram_is_read_with_its_padding_left_out() {
    for way in ways() {
        let mut frame = query(&way).frame;
        frame.extend([0; 18]);
        let expected = Received {
            link: Link {
                source_mac: OWN,
                destination_mac: BACKEND,
            },
            remote: way.source,
            local: way.vip.ip(),
            content: Content::Udp {
                ports: Ports {
                    source: PORT,
                    destination: 53,
                },
                payload: QUERY,
            },
        };
        assert_eq!(read(&frame), Some(expected));
    }
}

#[test]
fn errors_of_icmp_are_read_with_what_they_quote() {
    for way in ways() {
        let (kind, code) = match way.source.is_ipv4() {
            true => (icmpv4::TYPE_DEST_UNREACH, 3),
            false => (icmpv6::TYPE_DST_UNREACH, 4),
        };
        let Query { frame, checksum } = query(&way);
        let packet = &frame[ETHERNET_HEADER..];
        let udp = packet.len() - QUERY.len();
        // As much as IPv4 demands, and all.
        for (quoted, id) in [(udp, None), (packet.len(), Some(0x1234))] {
            let frame = icmp_error(&way, kind, code, &packet[..quoted]);
            let Some(Received {
                content: Content::Icmp { error, quotation },
                ..
            }) = read(&frame)
            else {
                panic!("{way:?}");
            };
            assert!(error.port_unreachable);
            assert_eq!((quotation.local, quotation.vip), (way.source, way.vip.ip()));
            let ports = Ports {
                source: PORT,
                destination: 53,
            };
            assert_eq!(
                (quotation.protocol, quotation.ports),
                (IpNumber::UDP, ports)
            );
            assert_eq!(quotation.udp_checksum(), Some(checksum));
            assert_eq!(quotation.dns_id(), id);
        }
        let without_ports = icmp_error(&way, kind, code, &packet[..udp - 8 + 3]);
        assert_eq!(read(&without_ports), None);
    }
}

#[test]
fn kinds_of_icmp_errors_are_told_apart() {
    let read_kind = |way: &Way, kind, code| {
        let quoted = &query(way).frame[ETHERNET_HEADER..];
        match read(&icmp_error(way, kind, code, quoted))?.content {
            Content::Icmp { error, .. } => Some(error.port_unreachable),
            _ => None,
        }
    };
    let [v4, v6] = ways();
    for (way, kind, code, expected) in [
        (&v4, 3, 3, Some(true)),
        (&v4, 3, 1, Some(false)),
        (&v4, 3, 13, Some(false)),
        (&v4, 11, 0, Some(false)),
        // Packet too big: not lost for good.
        (&v4, 3, 4, None),
        (&v4, 5, 0, None),
        (&v4, 1, 4, None),
        (&v6, 1, 4, Some(true)),
        (&v6, 1, 0, Some(false)),
        (&v6, 3, 0, Some(false)),
        (&v6, 2, 0, None),
        (&v6, 11, 0, None),
    ] {
        assert_eq!(read_kind(way, kind, code), expected, "{kind}/{code}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_or_not(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&frame);
    }

    #[test]
    fn damaged_frames_are_read_or_not(
        family in 0usize..2,
        is_error in any::<bool>(),
        length in 0usize..200,
        damage in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
    ) {
        let way = &ways()[family];
        let mut frame = query(way).frame;
        if is_error {
            frame = icmp_error(way, [3, 1][family], [3, 4][family], &frame[ETHERNET_HEADER..]);
        }
        for (place, octet) in damage {
            if let Some(damaged) = frame.get_mut(place) {
                *damaged = octet;
            }
        }
        frame.truncate(length);
        if let Some(Received { content: Content::Icmp { quotation, .. }, .. }) = read(&frame) {
            let _ = (quotation.udp_checksum(), quotation.dns_id());
        }
    }
}
