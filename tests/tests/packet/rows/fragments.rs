//! The fragments of a datagram stay together, in whatever order they come.

use dns_lb_common::Ending;

use super::{FAMILIES, Family, NAMES, RESOLVERS, Row, hold, to, with_services};
use crate::{
    fixture::Fixture,
    frames::{self, ACK, Extra, SYN, TCP, UDP},
};

/// A datagram in three fragments.
fn fragments(family: Family, service: usize, protocol: u8, id: u32, port: u16) -> Vec<Vec<u8>> {
    let body = match protocol {
        UDP => frames::udp(port, 53, &[0; 1000]),
        _ => frames::tcp(port, 53, ACK, &[0; 1000]),
    };
    let pieces = body.chunks(400).collect::<Vec<_>>();
    let cut = pieces.iter().enumerate().map(|(place, piece)| {
        let extra = Extra {
            fragment: Some((id, 50 * place as u16, place + 1 < pieces.len())),
            ..Extra::default()
        };
        frames::datagram(
            family.client(),
            family.vip(service),
            protocol,
            &extra,
            piece,
        )
    });
    cut.collect()
}

/// A UDP datagram in three fragments, of which only the first tells its protocol: what is cut begins
/// with destination options (RFC 8200, 4.5), and with a fragment header that says nothing (RFC 6946).
fn behind_options(id: u32, port: u16) -> Vec<Vec<u8>> {
    const OPTIONS: u8 = 60;
    let mut body = vec![44, 0, 1, 4, 0, 0, 0, 0];
    body.extend([UDP, 0, 0, 0, 0, 0, 0, 1]);
    body.extend(frames::udp(port, 53, &[0; 1000]));
    let pieces = body.chunks(400).collect::<Vec<_>>();
    let cut = pieces.iter().enumerate().map(|(place, piece)| {
        let extra = Extra {
            fragment: Some((id, 50 * place as u16, place + 1 < pieces.len())),
            ..Extra::default()
        };
        let (client, vip) = (Family::V6.client(), Family::V6.vip(RESOLVERS));
        frames::datagram(client, vip, OPTIONS, &extra, piece)
    });
    cut.collect()
}

/// The backends that these got, in their order.
fn backends(fixture: &mut Fixture, datagrams: &[Vec<u8>]) -> Vec<u16> {
    let backends = datagrams.iter().map(|datagram| {
        let run = fixture.run(&frames::frame(0, datagram));
        let [(backend, _)] = run.backends[..] else {
            panic!("backends counted: {:?} of {:?}", run.backends, run.counted);
        };
        backend
    });
    backends.collect()
}

/// In which three fragments may come.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

#[test]
fn fragments_of_which_one_tells_the_protocol_stay_together() {
    with_services(|mut fixture| {
        for (id, order) in (0..60).zip(ORDERS.into_iter().cycle()) {
            let whole = behind_options(id, id as u16);
            let sent = order.map(|place| whole[place].clone());
            let got = backends(&mut fixture, &sent);
            assert!(got.iter().all(|&one| one == got[0]), "{order:?}: {got:?}");
        }
    });
}

#[test]
fn the_fragments_of_a_datagram_go_to_one_backend_in_any_order() {
    with_services(|mut fixture| {
        let mut id = 0;
        let mut used = std::collections::BTreeSet::new();
        for family in FAMILIES {
            for service in [RESOLVERS, NAMES] {
                for order in ORDERS {
                    for port in 0..10 {
                        id += 1;
                        let whole = fragments(family, service, UDP, id, port);
                        let sent = order.map(|place| whole[place].clone());
                        let got = backends(&mut fixture, &sent);
                        assert!(got.iter().all(|&one| one == got[0]), "{order:?}: {got:?}");
                        used.insert(got[0]);
                    }
                }
            }
        }
        assert_eq!(used.len(), 6, "all backends of both services: {used:?}");
    });
}

#[test]
fn a_connection_in_fragments_stays_on_its_backend() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            for port in 1..30 {
                let open = to(family, RESOLVERS, TCP, &frames::tcp(port, 53, SYN, &[]));
                let connection = backends(&mut fixture, &[open])[0];
                let whole = fragments(family, RESOLVERS, TCP, 9_000 + u32::from(port), port);
                assert_eq!(
                    backends(&mut fixture, &whole),
                    [connection; 3],
                    "port {port}"
                );
            }
        }
    });
}

#[test]
fn a_fragment_ends_as_the_contract_says() {
    with_services(|mut fixture| {
        for family in FAMILIES {
            let fragment = |id, offset, more, protocol, body: &[u8]| {
                let extra = Extra {
                    fragment: Some((id, offset, more)),
                    ..Extra::default()
                };
                let (client, vip) = (family.client(), family.vip(RESOLVERS));
                frames::datagram(client, vip, protocol, &extra, body)
            };
            let udp = frames::udp(4242, 53, &[0; 8]);
            let mut long = udp.clone();
            long[4..6].copy_from_slice(&3000_u16.to_be_bytes());
            let other_port = frames::udp(4242, 54, &[0; 8]);
            let dropped =
                |what: &str, datagram, ending| Row::new(what, datagram, ending, Some(RESOLVERS));
            let passed = |what: &str, datagram| Row::new(what, datagram, Ending::NotService, None);
            let rows = [
                Row::steered(
                    "a first one of a datagram longer than it",
                    fragment(1, 0, true, UDP, &long),
                ),
                Row::steered("a later one of nothing", fragment(2, 9, false, UDP, &[])),
                passed(
                    "a first one on a port of no service",
                    fragment(3, 0, true, UDP, &other_port),
                ),
                passed("of another protocol", fragment(4, 9, false, 89, &[0; 8])),
                dropped(
                    "a first one without all of the UDP header",
                    fragment(5, 0, true, UDP, &udp[..6]),
                    Ending::MalformedUdp,
                ),
                dropped(
                    "a first one without all of the TCP header",
                    fragment(6, 0, true, TCP, &frames::tcp(4242, 53, ACK, &[])[..12]),
                    Ending::MalformedTcp,
                ),
            ];
            hold(&mut fixture, rows);
        }
    });
}
