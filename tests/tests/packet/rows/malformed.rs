//! What is malformed but for a VIP: dropped, and counted by the reason.

use std::net::{IpAddr, Ipv4Addr};

use dns_lb_common::Ending;

use super::{FAMILIES, Family, RESOLVERS, Row, altered, hold, query_to, to, with_services};
use crate::frames::{self, ACK, Extra, SYN, TCP, UDP};

fn dropped(what: &str, datagram: Vec<u8>, ending: Ending) -> Row {
    Row::new(what, datagram, ending, Some(RESOLVERS))
}

fn ip_rows(family: Family) -> Vec<Row> {
    let usual = query_to(family, RESOLVERS);
    let malformed = |what: &str, octets: &[(usize, &[u8])]| {
        dropped(what, altered(usual.clone(), octets), Ending::MalformedIp)
    };
    match family {
        Family::V4 => vec![
            malformed("version 5", &[(0, &[0x55])]),
            malformed("a header of 16 octets", &[(0, &[0x44])]),
            malformed("a header of no octets", &[(0, &[0x40])]),
            malformed("a total length below the header's", &[(2, &[0, 19])]),
            malformed("a total length of nothing", &[(2, &[0, 0])]),
            malformed("a total length beyond the frame", &[(2, &[0xff, 0xff])]),
            dropped(
                "options beyond the frame",
                altered(to(family, RESOLVERS, UDP, &[0; 8]), &[(0, &[0x4f])]),
                Ending::MalformedUdp,
            ),
        ],
        Family::V6 => vec![
            malformed("version 7", &[(0, &[0x70])]),
            malformed("a payload length beyond the frame", &[(4, &[0xff, 0xff])]),
            dropped(
                "a payload length of nothing",
                altered(usual.clone(), &[(4, &[0, 0])]),
                Ending::MalformedUdp,
            ),
            dropped(
                "an extension header beyond the frame",
                altered(usual.clone(), &[(6, &[0]), (40, &[UDP, 0xff])]),
                Ending::MalformedUdp,
            ),
        ],
    }
}

fn transport_rows(family: Family) -> Vec<Row> {
    let at = family.header();
    let query = query_to(family, RESOLVERS);
    let segment = to(family, RESOLVERS, TCP, &frames::tcp(4242, 53, ACK, &[]));
    vec![
        dropped(
            "a UDP length below 8",
            altered(query.clone(), &[(at + 4, &[0, 7])]),
            Ending::MalformedUdp,
        ),
        dropped(
            "a UDP length of nothing",
            altered(query.clone(), &[(at + 4, &[0, 0])]),
            Ending::MalformedUdp,
        ),
        dropped(
            "a UDP length beyond the datagram",
            altered(query, &[(at + 4, &[0xff, 0xff])]),
            Ending::MalformedUdp,
        ),
        dropped(
            "a data offset below 5",
            altered(segment.clone(), &[(at + 12, &[0x40])]),
            Ending::MalformedTcp,
        ),
        dropped(
            "a data offset beyond the datagram",
            altered(segment, &[(at + 12, &[0x60])]),
            Ending::MalformedTcp,
        ),
    ]
}

fn source_rows(family: Family) -> Vec<Row> {
    let vip = family.vip(RESOLVERS);
    let mut sources = vec![vip];
    match family {
        Family::V4 => {
            sources.extend([[224, 0, 0, 1], [239, 255, 255, 255], [255; 4]].map(IpAddr::from));
        }
        Family::V6 => sources.push("ff02::1".parse().unwrap()),
    }
    let bodies = [
        (UDP, frames::udp(53, 53, &frames::example())),
        (TCP, frames::tcp(53, 53, SYN, &[])),
    ];
    let rows = sources.into_iter().flat_map(|source| {
        bodies.iter().map(move |(protocol, body)| {
            let datagram = frames::datagram(source, vip, *protocol, &Extra::default(), body);
            dropped(&format!("from {source}"), datagram, Ending::BadSource)
        })
    });
    let mut rows: Vec<Row> = rows.collect();
    if family == Family::V4 {
        // Reserved, but in use by some (240.0.0.0/4), and just below multicast.
        for source in [Ipv4Addr::new(240, 0, 0, 1), Ipv4Addr::new(223, 255, 255, 1)] {
            let body = frames::udp(53, 53, b"?");
            let datagram = frames::datagram(source.into(), vip, UDP, &Extra::default(), &body);
            rows.push(Row::steered(&format!("from {source}"), datagram));
        }
    }
    rows
}

#[test]
fn what_is_malformed_is_dropped_by_its_reason() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            hold(&mut fixture, ip_rows(family));
            hold(&mut fixture, transport_rows(family));
            hold(&mut fixture, source_rows(family));
        }
    });
}

/// Cut short at every octet: below the addresses it cannot be known for whom it was; from there to
/// the ports it is malformed for a VIP; from there on for a service. The kernel takes no test frame
/// below an Ethernet header.
#[test]
fn what_is_cut_short_is_passed_or_dropped_by_what_is_left() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            let header = family.header();
            let bodies = [
                (
                    UDP,
                    frames::udp(4242, 53, &frames::example()),
                    8,
                    Ending::MalformedUdp,
                ),
                (
                    TCP,
                    frames::tcp(4242, 53, ACK, b"\0\x0c"),
                    20,
                    Ending::MalformedTcp,
                ),
            ];
            for (protocol, body, least, malformed) in bodies {
                let whole = to(family, RESOLVERS, protocol, &body);
                let rows = (0..whole.len()).map(|length| {
                    let (ending, service) = if length < header {
                        (Ending::NotIp, None)
                    } else if protocol == TCP && (header + 4..header + least).contains(&length)
                        || (header + 4..header + 8).contains(&length) && protocol == UDP
                    {
                        // The ports are there, and the datagram says that it is longer.
                        (Ending::MalformedIp, Some(RESOLVERS))
                    } else if length < header + 4 {
                        (malformed, Some(RESOLVERS))
                    } else {
                        (Ending::MalformedIp, Some(RESOLVERS))
                    };
                    let what = format!("{family:?} {protocol} cut to {length} octets");
                    Row::new(&what, whole[..length].to_vec(), ending, service)
                });
                hold(&mut fixture, rows.collect::<Vec<_>>());
            }
        }
    });
}

/// The same with a datagram that says itself how short it is.
#[test]
fn what_is_short_by_its_own_words_is_dropped_as_what_it_is() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            let bodies = [
                (UDP, frames::udp(4242, 53, &[]), Ending::MalformedUdp),
                (TCP, frames::tcp(4242, 53, ACK, &[]), Ending::MalformedTcp),
            ];
            for (protocol, body, malformed) in bodies {
                let rows = (0..body.len()).map(|length| {
                    let datagram = to(family, RESOLVERS, protocol, &body[..length]);
                    dropped(
                        &format!("{protocol} of {length} octets"),
                        datagram,
                        malformed,
                    )
                });
                hold(&mut fixture, rows.collect::<Vec<_>>());
            }
        }
    });
}
