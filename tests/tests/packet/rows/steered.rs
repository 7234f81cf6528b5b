//! What is well formed: steered, delivered, or passed on.

use std::{collections::BTreeSet, net::IpAddr};

use dns_lb_common::Ending;

use super::{
    DROPS, FAMILIES, FARM, Family, PASSES, REMOTE, RESOLVERS, Row, altered, hold, query_to, to,
    with_services,
};
use crate::{
    fixture::{HERE, service, with_program},
    frames::{self, ACK, Extra, SYN, TCP, UDP},
};

fn udp_rows(family: Family) -> Vec<Row> {
    let usual = query_to(family, RESOLVERS);
    let udp_at = family.header();
    vec![
        Row::steered("a query", usual.clone()),
        Row::steered(
            "an empty datagram",
            to(family, RESOLVERS, UDP, &frames::udp(4242, 53, &[])),
        ),
        Row::steered(
            "1,400 octets",
            to(family, RESOLVERS, UDP, &frames::udp(1, 53, &[7; 1400])),
        ),
        Row::steered(
            "8,900 octets, as at MTU 9000: several buffers",
            to(family, RESOLVERS, UDP, &frames::udp(1, 53, &[7; 8900])),
        ),
        Row::steered(
            "source port 0",
            to(family, RESOLVERS, UDP, &frames::udp(0, 53, b"?")),
        ),
        Row::steered(
            "a checksum of 0, which is none",
            altered(usual.clone(), &[(udp_at + 6, &[0, 0])]),
        ),
        Row::steered("trailing octets, as short frames are padded", {
            let mut datagram = usual.clone();
            datagram.extend([0; 20]);
            datagram
        }),
        Row::steered(
            "a UDP length below the payload's",
            altered(usual, &[(udp_at + 4, &[0, 20])]),
        ),
        Row::new(
            "no backend, to be dropped",
            query_to(family, DROPS),
            Ending::NoBackendDropped,
            Some(DROPS),
        ),
        Row::new(
            "no backend, to be passed",
            query_to(family, PASSES),
            Ending::NoBackendPassed,
            Some(PASSES),
        ),
        Row::new(
            "a backend on another interface",
            query_to(family, REMOTE),
            Ending::Redirected,
            Some(REMOTE),
        ),
    ]
}

fn tcp_rows(family: Family) -> Vec<Row> {
    let segment = |service, flags| {
        to(
            family,
            service,
            TCP,
            &frames::tcp(4242, 53, flags, b"\0\x0c"),
        )
    };
    let mut with_options = frames::tcp(4243, 53, SYN, &[]);
    with_options[12] = 0xf0;
    with_options.extend([1; 40]);
    vec![
        Row::steered("a SYN", segment(RESOLVERS, SYN)),
        Row::steered("an ACK", segment(RESOLVERS, ACK)),
        Row::steered("another ACK", segment(RESOLVERS, ACK)),
        Row::steered(
            "an ACK with 8,900 octets, as at MTU 9000: several buffers",
            to(
                family,
                RESOLVERS,
                TCP,
                &frames::tcp(4242, 53, ACK, &[7; 8900]),
            ),
        ),
        Row::steered(
            "a SYN with forty octets of options",
            to(family, RESOLVERS, TCP, &with_options),
        ),
        Row::new(
            "a SYN, no backend, to be dropped",
            segment(DROPS, SYN),
            Ending::NoBackendDropped,
            Some(DROPS),
        ),
        Row::new(
            "a SYN, no backend, to be passed",
            segment(PASSES, SYN),
            Ending::NoBackendPassed,
            Some(PASSES),
        ),
        Row::new(
            "a SYN for a backend on another interface",
            segment(REMOTE, SYN),
            Ending::Redirected,
            Some(REMOTE),
        ),
    ]
}

fn passed_rows(family: Family) -> Vec<Row> {
    let not_service =
        |what: &str, datagram: Vec<u8>| Row::new(what, datagram, Ending::NotService, None);
    let elsewhere = |protocol, body: &[u8]| {
        let (client, other) = (family.client(), family.other());
        frames::datagram(client, other, protocol, &Extra::default(), body)
    };
    let echo = if family == Family::V4 { 8 } else { 128 };
    vec![
        not_service(
            "a query to another host",
            elsewhere(UDP, &frames::udp(4242, 53, &frames::example())),
        ),
        not_service(
            "a SYN to another host",
            elsewhere(TCP, &frames::tcp(4242, 53, SYN, &[])),
        ),
        not_service(
            "UDP on a port of no service",
            to(family, RESOLVERS, UDP, &frames::udp(4242, 54, b"?")),
        ),
        not_service(
            "TCP on a port of no service",
            to(family, RESOLVERS, TCP, &frames::tcp(4242, 54, SYN, &[])),
        ),
        not_service(
            "UDP to port 0",
            to(family, RESOLVERS, UDP, &frames::udp(4242, 0, b"?")),
        ),
        not_service(
            "TCP to port 0",
            to(family, RESOLVERS, TCP, &frames::tcp(4242, 0, SYN, &[])),
        ),
        not_service("another protocol", to(family, RESOLVERS, 89, &[0; 40])),
        not_service(
            "a malformed header to another host",
            altered(elsewhere(UDP, &[0; 8]), &[(0, &[0x44])]),
        ),
        Row::new(
            "an echo request",
            to(
                family,
                RESOLVERS,
                family.icmp(),
                &frames::icmp(echo, b"ping"),
            ),
            Ending::Icmp,
            Some(RESOLVERS),
        ),
    ]
}

#[test]
fn what_is_well_formed_ends_as_the_contract_says() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            hold(&mut fixture, udp_rows(family));
            hold(&mut fixture, tcp_rows(family));
            hold(&mut fixture, passed_rows(family));
        }
    });
}

/// Options and extension headers change nothing.
#[test]
fn what_is_behind_options_and_extension_headers_is_steered() {
    let udp = frames::udp(4242, 53, &frames::example());
    let tcp = frames::tcp(4242, 53, SYN, &[]);
    let mut rows = Vec::new();
    for (protocol, body) in [(UDP, &udp), (TCP, &tcp)] {
        let (client, vip) = (Family::V4.client(), Family::V4.vip(RESOLVERS));
        for words in 1..=10 {
            let extra = Extra {
                options: vec![1; 4 * words],
                ..Extra::default()
            };
            let datagram = frames::datagram(client, vip, protocol, &extra, body);
            rows.push(Row::steered(&format!("{words} words of options"), datagram));
        }
        let (client, vip) = (Family::V6.client(), Family::V6.vip(RESOLVERS));
        let short = |number| (number, vec![0; 6]);
        let long = |number| (number, vec![0; 8 * 31 + 6]);
        for extensions in [
            vec![short(0)],
            vec![short(60)],
            vec![short(43)],
            vec![long(0)],
            vec![short(0), short(60), short(43), short(60)],
            vec![short(60); 8],
            // RFC 6946: a fragment that is the whole datagram.
            vec![(44, vec![0, 0, 0, 0, 0, 7])],
        ] {
            let numbers: Vec<u8> = extensions.iter().map(|&(number, _)| number).collect();
            let extra = Extra {
                extensions,
                ..Extra::default()
            };
            let datagram = frames::datagram(client, vip, protocol, &extra, body);
            rows.push(Row::steered(
                &format!("extension headers {numbers:?}"),
                datagram,
            ));
        }
        let extra = Extra {
            extensions: vec![(60, vec![0; 8 * 255 + 6]); 3],
            ..Extra::default()
        };
        rows.push(Row::new(
            "extension headers beyond the first buffer",
            frames::datagram(client, vip, protocol, &extra, body),
            Ending::NotLinear,
            Some(RESOLVERS),
        ));
        let extra = Extra {
            extensions: vec![short(60); 9],
            ..Extra::default()
        };
        rows.push(Row::new(
            "nine extension headers",
            frames::datagram(client, vip, protocol, &extra, body),
            Ending::ExtensionHeaders,
            Some(RESOLVERS),
        ));
    }
    with_services(|mut fixture| hold(&mut fixture, rows));
}

/// Where a backend is on this host: what is for it is delivered, what is for the other loses a hop,
/// and what comes from the other is not sent on.
#[test]
fn a_farm_of_two_delivers_and_guards_against_loops() {
    with_services(|mut fixture| {
        let here = fixture.assignment.backends[FARM][0];
        let mut seen = [0, 0];
        for family in FAMILIES {
            for port in 1..40 {
                let body = frames::udp(port, 53, &frames::example());
                let datagram = to(family, FARM, UDP, &body);
                let run = fixture.run(&frames::frame(1, &datagram));
                let [(backend, _)] = run.backends[..] else {
                    panic!("backends counted: {:?}", run.backends);
                };
                let ending = match backend == here {
                    true => Ending::Delivered,
                    false => Ending::Transmitted,
                };
                seen[usize::from(backend == here)] += 1;
                let row = |what, datagram, ending| Row::new(what, datagram, ending, Some(FARM));
                hold(&mut fixture, [row("a query", datagram.clone(), ending)]);

                let mut last_hop = datagram.clone();
                match family {
                    Family::V4 => last_hop[8] = 1,
                    Family::V6 => last_hop[7] = 1,
                }
                let at_last = match ending {
                    Ending::Delivered => Ending::Delivered,
                    _ => Ending::HopLimit,
                };
                hold(&mut fixture, [row("on its last hop", last_hop, at_last)]);

                let mut from_peer = frames::frame(0, &datagram);
                from_peer[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 204]);
                let row = row("from the other balancer", datagram, Ending::AlreadySteered);
                assert_eq!(super::fault(&mut fixture, &row, &from_peer), None);
            }
        }
        assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
    });
}

/// Who balances for one service is a client like any other to the next.
#[test]
fn another_balancer_is_one_of_its_service_only() {
    let farms = [("a", 204), ("b", 205)].into_iter().enumerate();
    let farms = farms.map(|(place, (name, other))| {
        service(name, Family::V4.vip(place), &[(HERE, 1), (other, 1)])
    });
    with_program(farms.collect(), |mut fixture| {
        for (place, peer) in [(0, 204), (1, 205)] {
            for from in [204, 205] {
                let mut endings = BTreeSet::new();
                for port in 1..40 {
                    let body = frames::udp(port, 53, &frames::example());
                    let mut frame = frames::frame(0, &to(Family::V4, place, UDP, &body));
                    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, from]);
                    endings.extend(
                        fixture
                            .run(&frame)
                            .counted
                            .iter()
                            .map(|counted| counted.1.name()),
                    );
                }
                let expected = match from == peer {
                    true => vec!["already_steered"],
                    false => vec!["delivered", "transmitted"],
                };
                assert_eq!(Vec::from_iter(endings), expected, "{place} from {from}");
            }
        }
    });
}

#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_no_vip() {
    with_services(|mut fixture| {
        let IpAddr::V4(vip) = Family::V4.vip(RESOLVERS) else {
            unreachable!("a VIP of IPv4");
        };
        for protocol in [UDP, TCP] {
            let (client, mapped) = (Family::V6.client(), vip.to_ipv6_mapped().into());
            let body = match protocol {
                UDP => frames::udp(4242, 53, &frames::example()),
                _ => frames::tcp(4242, 53, SYN, &[]),
            };
            let datagram = frames::datagram(client, mapped, protocol, &Extra::default(), &body);
            hold(
                &mut fixture,
                [Row::new("mapped", datagram, Ending::NotService, None)],
            );
        }
    });
}

#[test]
fn what_is_not_ip_is_passed() {
    with_services(|mut fixture| {
        let usual = query_to(Family::V4, RESOLVERS);
        let row = Row::new("not IP", usual.clone(), Ending::NotIp, None);
        for ether_type in [[0x08, 0x06], [0, 46], [0x88, 0xcc], [0x86, 0xde]] {
            for tags in 0..=2 {
                let mut frame = frames::frame(tags, &usual);
                frame[12 + 4 * tags..14 + 4 * tags].copy_from_slice(&ether_type);
                assert_eq!(
                    super::fault(&mut fixture, &row, &frame),
                    None,
                    "{ether_type:?}"
                );
            }
        }
        let three = frames::frame(3, &usual);
        assert_eq!(super::fault(&mut fixture, &row, &three), None, "three tags");
    });
}
