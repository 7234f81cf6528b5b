//! A name stays on its backend, however it is spelled, and what is no plain query goes by flow.

use std::collections::BTreeSet;

use dns_lb_common::{Ending, QueryType};

use super::{FAMILIES, Family, NAMES, Row, hold, to, with_services};
use crate::{
    fixture::Fixture,
    frames::{self, UDP, name, question},
};

/// The backends that a message gets when it comes from many ports.
fn backends(fixture: &mut Fixture, family: Family, message: &[u8]) -> BTreeSet<u16> {
    let backends = (1..25).map(|port| {
        let datagram = to(family, NAMES, UDP, &frames::udp(port, 53, message));
        let run = fixture.run(&frames::frame(0, &datagram));
        let [(backend, _)] = run.backends[..] else {
            panic!("backends counted: {:?} of {:?}", run.backends, run.counted);
        };
        backend
    });
    backends.collect()
}

/// The labels of a name of 255 octets with its root label.
fn longest() -> Vec<Vec<u8>> {
    vec![
        vec![b'a'; 63],
        vec![b'b'; 63],
        vec![b'c'; 63],
        vec![b'd'; 61],
    ]
}

fn wire(labels: &[Vec<u8>]) -> Vec<u8> {
    let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
    name(&labels)
}

#[test]
fn a_name_stays_on_one_backend_in_any_case_of_its_letters() {
    let names = [
        vec![],
        vec![b"a".to_vec()],
        vec![b"abcdefg".to_vec()],
        vec![b"abcdefgh".to_vec()],
        vec![b"www".to_vec(), b"example".to_vec(), b"com".to_vec()],
        vec![vec![b'x'; 63]],
        longest(),
        vec![b"y".to_vec(); 127],
        vec![b"\0\xff\xc0".to_vec(), b"com".to_vec()],
    ];
    with_services(move |mut fixture| {
        let mut used = BTreeSet::new();
        for family in FAMILIES {
            for labels in &names {
                let lower = wire(labels);
                let upper = lower.to_ascii_uppercase();
                let mut got = BTreeSet::new();
                for name in [&lower, &upper] {
                    for (number, edns) in [(1, false), (28, true), (65_280, false)] {
                        let message = question(name, number, edns);
                        got.extend(backends(&mut fixture, family, &message));
                    }
                }
                assert_eq!(got.len(), 1, "{family:?} {labels:?}");
                used.extend(got);
            }
        }
        assert!(used.len() > 1, "all names on one backend");
    });
}

#[test]
fn many_names_spread_over_all_backends() {
    with_services(|mut fixture| {
        let mut counts = std::collections::BTreeMap::<u16, u32>::new();
        for number in 0..3_000 {
            let label = format!("host{number}");
            let message = question(&name(&[label.as_bytes(), b"example"]), 1, false);
            let datagram = to(Family::V4, NAMES, UDP, &frames::udp(4242, 53, &message));
            let run = fixture.run(&frames::frame(0, &datagram));
            *counts.entry(run.backends[0].0).or_default() += 1;
        }
        // Three standard deviations of a fair choice are 77.
        assert!(
            counts.values().all(|&count| count.abs_diff(1_000) < 100),
            "{counts:?}"
        );
        assert_eq!(counts.len(), 3);
    });
}

#[test]
fn what_is_no_plain_query_goes_by_its_flow() {
    let plain = question(&name(&[b"www", b"example", b"com"]), 1, false);
    let changed = |at: usize, octet: u8| {
        let mut message = plain.clone();
        message[at] = octet;
        message
    };
    let mut too_long = longest();
    too_long[3].push(b'd');
    let mut without_root = question(&name(&[b"www", b"example", b"com"]), 1, false);
    without_root.truncate(12 + 16);
    let rows = [
        ("a response", changed(2, 0x81)),
        ("a NOTIFY", changed(2, 0x20)),
        ("no question", changed(5, 0)),
        ("two questions", changed(5, 2)),
        ("an answer", changed(7, 1)),
        ("an authority record", changed(9, 1)),
        ("a compression pointer", changed(12, 0xc0)),
        ("a label of 64 octets", changed(12, 64)),
        ("a name of 256 octets", question(&wire(&too_long), 1, false)),
        ("no root label", without_root),
        ("no type", plain[..plain.len() - 4].to_vec()),
        ("half a class", plain[..plain.len() - 1].to_vec()),
        ("half a header", plain[..11].to_vec()),
        ("nothing", Vec::new()),
    ];
    with_services(move |mut fixture| {
        for family in FAMILIES {
            for (what, message) in &rows {
                let got = backends(&mut fixture, family, message);
                assert!(got.len() > 1, "{family:?}: {what} went by name");
                let datagram = to(family, NAMES, UDP, &frames::udp(4242, 53, message));
                let row = Row::new(what, datagram, Ending::Transmitted, Some(NAMES));
                hold(&mut fixture, [row]);
            }
        }
    });
}

#[test]
fn queries_are_counted_by_type() {
    with_services(|mut fixture| {
        let id = fixture.assignment.services[NAMES];
        let numbers = [1, 28, 12, 15, 16, 33, 65, 255, 2];
        let mut expected = [0; QueryType::ALL.len()];
        let mut edns = 0;
        for (place, number) in numbers.into_iter().enumerate() {
            for repetition in 0..=place {
                let message = question(&name(&[b"example"]), number, repetition == 0);
                let datagram = to(Family::V6, NAMES, UDP, &frames::udp(4242, 53, &message));
                fixture.run(&frames::frame(1, &datagram));
                expected[QueryType::of(number) as usize] += 1;
                edns += u64::from(repetition == 0);
            }
        }
        let counters = fixture.counters.service(id).expect("counters").queries;
        let counted: Vec<u64> = QueryType::ALL
            .iter()
            .map(|&kind| counters.get(kind))
            .collect();
        assert_eq!(counted, expected);
        assert_eq!(counters.edns, edns);
    });
}
