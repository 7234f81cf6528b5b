//! ICMP and ICMPv6 errors follow the packet that they quote.

use dns_lb_common::Ending;

use super::{FAMILIES, Family, RESOLVERS, Row, hold, to, with_services};
use crate::frames::{self, ACK, Extra, SYN, TCP, UDP};

/// A packet that a backend sent from the VIP to the client.
fn answer(family: Family, protocol: u8, extra: &Extra) -> Vec<u8> {
    let body = match protocol {
        UDP => frames::udp(53, 4242, &[0; 64]),
        _ => frames::tcp(53, 4242, ACK, &[0; 64]),
    };
    frames::datagram(
        family.vip(RESOLVERS),
        family.client(),
        protocol,
        extra,
        &body,
    )
}

fn error(family: Family, kind: u8, quoted: &[u8]) -> Vec<u8> {
    let router = match family {
        Family::V4 => "203.0.113.1".parse().unwrap(),
        Family::V6 => "2001:db8:ffff::1".parse().unwrap(),
    };
    let vip = family.vip(RESOLVERS);
    let message = frames::icmp(kind, quoted);
    frames::datagram(router, vip, family.icmp(), &Extra::default(), &message)
}

fn kinds(family: Family) -> &'static [u8] {
    match family {
        Family::V4 => &[3, 11, 12],
        Family::V6 => &[1, 2, 3, 4],
    }
}

#[test]
fn an_error_goes_to_the_backend_of_the_flow_that_it_quotes() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            for protocol in [UDP, TCP] {
                let body = match protocol {
                    UDP => frames::udp(4242, 53, &frames::example()),
                    _ => frames::tcp(4242, 53, SYN, &[]),
                };
                let flow = to(family, RESOLVERS, protocol, &body);
                let sent = fixture.run(&frames::frame(0, &flow)).backends[0].0;
                for &kind in kinds(family) {
                    let whole = answer(family, protocol, &Extra::default());
                    for quoted in [&whole[..], &whole[..family.header() + 8]] {
                        let datagram = error(family, kind, quoted);
                        let run = fixture.run(&frames::frame(0, &datagram));
                        assert_eq!(run.backends[0].0, sent, "{family:?} {protocol} {kind}");
                        hold(&mut fixture, [Row::steered("an error", datagram)]);
                    }
                }
            }
        }
    });
}

#[test]
fn a_quoted_packet_cut_short_is_malformed_up_to_its_ports() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            for protocol in [UDP, TCP] {
                let whole = answer(family, protocol, &Extra::default());
                let ports = family.header() + 4;
                let rows = (0..whole.len()).flat_map(|length| {
                    let ending = match length < ports {
                        true => Ending::MalformedIcmp,
                        false => Ending::Transmitted,
                    };
                    let datagram = error(family, kinds(family)[0], &whole[..length]);
                    // Octets that are there, but behind the datagram's end, do not count.
                    let mut trailed = datagram.clone();
                    trailed.extend(&whole[length..]);
                    [("", datagram), (" and a trailer", trailed)].map(|(trailer, datagram)| {
                        let what = format!("{length} octets of {protocol} quoted{trailer}");
                        Row::new(&what, datagram, ending, Some(RESOLVERS))
                    })
                });
                hold(&mut fixture, rows.collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn what_quotes_nothing_of_a_service_is_for_the_host() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            let kind = kinds(family)[0];
            let (vip, client) = (family.vip(RESOLVERS), family.client());
            let plain = Extra::default();
            let other_source =
                frames::datagram(client, vip, UDP, &plain, &frames::udp(53, 4242, &[0; 8]));
            let other_port =
                frames::datagram(vip, client, UDP, &plain, &frames::udp(54, 4242, &[0; 8]));
            let other_protocol = frames::datagram(vip, client, 89, &plain, &[0; 24]);
            let later = Extra {
                fragment: Some((7, 100, false)),
                ..Extra::default()
            };
            let passed = |what: &str, quoted: &[u8]| {
                let datagram = error(family, kind, quoted);
                Row::new(what, datagram, Ending::Icmp, Some(RESOLVERS))
            };
            let rows = [
                passed("from another source than the VIP", &other_source),
                passed("from a port of no service", &other_port),
                passed("of another protocol", &other_protocol),
                passed("a later fragment", &answer(family, UDP, &later)),
            ];
            hold(&mut fixture, rows);
        }
    });
}
