//! Rows of the packet contract.

use std::net::Ipv4Addr;

use dns_lb::config::OnNoBackend;
use dns_lb_common::Ending;

use crate::fixture::{
    BALANCER_MAC, CLIENT, DROPPING_VIP, Fixture, PASSING_VIP, VIP, query, query_from, service,
    udp_frame, with_program,
};

/// Octets before the IPv4 header, before the UDP header, and before the payload.
const ETHERNET: usize = 14;
const IPV4: usize = ETHERNET + 20;

struct Row {
    what: &'static str,
    frame: Vec<u8>,
    ending: Ending,
    /// Place of the service in the fixture that the packet is counted for; `None`: for no service.
    service: Option<usize>,
}

/// A query with some octets replaced.
fn altered(octets: &[(usize, &[u8])]) -> Vec<u8> {
    let mut frame = query();
    for &(at, with) in octets {
        frame[at..at + with.len()].copy_from_slice(with);
    }
    frame
}

fn truncated(to: usize) -> Vec<u8> {
    let mut frame = query();
    frame.truncate(to);
    frame
}

/// A query whose IPv4 header has this many octets of options (NOP), lengths adjusted.
fn with_options(octets: u8) -> Vec<u8> {
    let mut frame = query();
    for _ in 0..octets {
        frame.insert(IPV4, 1);
    }
    frame[ETHERNET] = 0x45 + octets / 4;
    let total = u16::from_be_bytes([frame[ETHERNET + 2], frame[ETHERNET + 3]]) + u16::from(octets);
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
    frame
}

fn rows() -> Vec<Row> {
    let other = Ipv4Addr::new(192, 168, 0, 7);
    let steered = |what, frame| Row {
        what,
        frame,
        ending: Ending::Transmitted,
        service: Some(0),
    };
    let passed = |what, frame, ending| Row {
        what,
        frame,
        ending,
        service: None,
    };
    let dropped = |what, frame, ending| Row {
        what,
        frame,
        ending,
        service: Some(0),
    };
    vec![
        steered("a query", query()),
        steered("an empty datagram", udp_frame(CLIENT, 4242, VIP, 53, &[])),
        steered(
            "a datagram as long as Ethernet takes",
            udp_frame(CLIENT, 1, VIP, 53, &[7; 1472]),
        ),
        steered("the VIP as source", query_from(VIP, 53, VIP)),
        steered("source port 0", query_from(CLIENT, 0, VIP)),
        steered(
            "a checksum of 0, which is none",
            altered(&[(IPV4 + 6, &[0, 0])]),
        ),
        steered("one word of IPv4 options", with_options(4)),
        steered("ten words of IPv4 options", with_options(40)),
        steered("don't fragment", altered(&[(ETHERNET + 6, &[0x40, 0])])),
        steered("trailing octets, as short frames are padded", {
            let mut frame = query();
            frame.extend([0; 20]);
            frame
        }),
        steered(
            "a UDP length below the IP payload's",
            altered(&[(IPV4 + 4, &[0, 20])]),
        ),
        passed(
            "a query to another host",
            query_from(CLIENT, 4242, other),
            Ending::NotService,
        ),
        passed(
            "a datagram to the VIP on a port of no service",
            udp_frame(CLIENT, 4242, VIP, 54, b"?"),
            Ending::NotService,
        ),
        passed(
            "ICMP to the VIP",
            altered(&[(ETHERNET + 9, &[1])]),
            Ending::NotService,
        ),
        passed(
            "TCP to the VIP",
            altered(&[(ETHERNET + 9, &[6])]),
            Ending::NotService,
        ),
        passed("ARP", altered(&[(12, &[0x08, 0x06])]), Ending::NotIpv4),
        passed("IPv6", altered(&[(12, &[0x86, 0xdd])]), Ending::NotIpv4),
        passed(
            "IEEE 802.3 with a length",
            altered(&[(12, &[0, 46])]),
            Ending::NotIpv4,
        ),
        passed(
            "a first fragment",
            altered(&[(ETHERNET + 6, &[0x20, 0])]),
            Ending::Fragment,
        ),
        passed(
            "a later fragment",
            altered(&[(ETHERNET + 6, &[0, 1])]),
            Ending::Fragment,
        ),
        dropped(
            "IP version 6 in an IPv4 frame",
            altered(&[(ETHERNET, &[0x65])]),
            Ending::MalformedIpv4,
        ),
        dropped(
            "a header of 16 octets",
            altered(&[(ETHERNET, &[0x44])]),
            Ending::MalformedIpv4,
        ),
        dropped(
            "a header of no octets",
            altered(&[(ETHERNET, &[0x40])]),
            Ending::MalformedIpv4,
        ),
        dropped(
            "a total length below the header's",
            altered(&[(ETHERNET + 2, &[0, 19])]),
            Ending::MalformedIpv4,
        ),
        dropped(
            "a total length beyond the frame",
            altered(&[(ETHERNET + 2, &[0xff, 0xff])]),
            Ending::MalformedIpv4,
        ),
        dropped(
            "options beyond the frame",
            altered(&[(ETHERNET, &[0x4f])]),
            Ending::MalformedUdp,
        ),
        dropped(
            "a UDP length below 8",
            altered(&[(IPV4 + 4, &[0, 7])]),
            Ending::MalformedUdp,
        ),
        dropped(
            "a UDP length beyond the datagram",
            altered(&[(IPV4 + 4, &[0xff, 0xff])]),
            Ending::MalformedUdp,
        ),
        passed(
            "a malformed header to another host",
            {
                let mut frame = query_from(CLIENT, 4242, other);
                frame[ETHERNET] = 0x44;
                frame
            },
            Ending::NotService,
        ),
        Row {
            what: "no backend, on_no_backend = drop",
            frame: query_from(CLIENT, 4242, DROPPING_VIP),
            ending: Ending::NoBackendDropped,
            service: Some(1),
        },
        Row {
            what: "no backend, on_no_backend = pass",
            frame: query_from(CLIENT, 4242, PASSING_VIP),
            ending: Ending::NoBackendPassed,
            service: Some(2),
        },
    ]
}

fn services() -> Vec<dns_lb::config::Service> {
    let mut dropping = service("drops", DROPPING_VIP, &[(99, 1)]);
    dropping.on_no_backend = OnNoBackend::Drop;
    let mut passing = service("passes", PASSING_VIP, &[(99, 1)]);
    passing.on_no_backend = OnNoBackend::Pass;
    vec![
        service("resolvers", VIP, &[(201, 1), (202, 1), (203, 1)]),
        dropping,
        passing,
    ]
}

/// Runs a row; what is wrong with it, if anything.
fn fault(fixture: &mut Fixture, row: &Row) -> Option<String> {
    let run = fixture.run(&row.frame);
    let service = row
        .service
        .map_or(0, |place| fixture.assignment.services[place]);
    if !run.is(row.ending.action()) {
        return Some(format!(
            "action {}, not {:?}",
            run.action,
            row.ending.action()
        ));
    }
    if run.counted != [(service, row.ending, 1)] {
        return Some(format!(
            "counted {:?}, not one {:?} of service {service}",
            run.counted, row.ending
        ));
    }
    if row.ending != Ending::Transmitted {
        if run.frame != row.frame {
            return Some("the frame was changed".to_owned());
        }
        return (!run.backends.is_empty()).then(|| format!("backends counted: {:?}", run.backends));
    }
    let [(backend, bytes)] = run.backends[..] else {
        return Some(format!("backends counted: {:?}, not one", run.backends));
    };
    if bytes != row.frame.len() as u64 {
        return Some(format!("{bytes} octets counted of {}", row.frame.len()));
    }
    let place = fixture.assignment.backends[0]
        .iter()
        .position(|&id| id == backend)?;
    let mac = [2, 0, 0, 0, 0, 201 + place as u8];
    if run.addresses() != (mac, BALANCER_MAC) {
        return Some(format!(
            "sent to {:02x?} from {:02x?}, not to {mac:02x?}",
            run.addresses().0,
            run.addresses().1
        ));
    }
    (run.frame[12..] != row.frame[12..]).then(|| "more than the addresses was changed".to_owned())
}

#[test]
fn every_row_of_the_contract_holds() {
    with_program(services(), |mut fixture| {
        let faults: Vec<String> = rows()
            .iter()
            .filter_map(|row| {
                fault(&mut fixture, row).map(|fault| format!("{}: {fault}", row.what))
            })
            .collect();
        assert!(
            faults.is_empty(),
            "{} rows failed:\n{}",
            faults.len(),
            faults.join("\n")
        );
    });
}

/// A query cut short at every octet: below the addresses it cannot be known for whom it was, from
/// there on it is malformed. (The kernel takes no test frame below an Ethernet header.)
#[test]
fn a_query_cut_short_is_passed_or_dropped_by_what_is_left() {
    with_program(services(), |mut fixture| {
        let whole = query().len();
        for length in ETHERNET..whole {
            let row = Row {
                what: "cut short",
                frame: truncated(length),
                ending: match length {
                    ..IPV4 => Ending::NotService,
                    IPV4..42 => Ending::MalformedUdp,
                    _ => Ending::MalformedIpv4,
                },
                service: (length >= IPV4).then_some(0),
            };
            assert_eq!(
                fault(&mut fixture, &row),
                None,
                "cut to {length} of {whole} octets"
            );
        }
    });
}
