//! Order, filter and choice, with few backends and with a thousand.

use super::*;
use crate::api::status::LastProbe;

/// Name, health, rate, share and round trip of a backend.
type Figures = (&'static str, Health, Option<f64>, f64, Option<u64>);

/// One service of backends whose figures are these.
fn status(backends: &[Figures]) -> Status {
    let mut status = Status::sample();
    let sample = status.services[0].backends[0].clone();
    let backends = backends
        .iter()
        .map(|&(name, health, rate, share, rtt_us)| Backend {
            name: name.to_owned(),
            health,
            packets_per_second: rate,
            share,
            last_probe: sample
                .last_probe
                .clone()
                .map(|probe| LastProbe { rtt_us, ..probe }),
            ..sample.clone()
        });
    status.services[0].backends = backends.collect();
    status
}

/// Services `a` and `b` of 500 backends each.
pub(in super::super) fn thousand() -> Status {
    let mut status = Status::sample();
    let sample = status.services[0].clone();
    let service = |name: &str| Service {
        name: name.to_owned(),
        backends: (0..500)
            .map(|number| Backend {
                name: format!("dns{number}"),
                ..sample.backends[0].clone()
            })
            .collect(),
        ..sample.clone()
    };
    status.services = vec![service("a"), service("b")];
    status
}

fn names(list: &List, status: &Status) -> String {
    let rows = list.rows(status);
    let names = backends(&rows)
        .into_iter()
        .map(|(_, service, backend)| status.services[service].backends[backend].name.as_str());
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn each_order_has_what_matters_first_and_turns_round() {
    let status = status(&[
        ("b", Health::Up, Some(10.0), 0.5, Some(300)),
        ("a", Health::Down, None, 0.0, None),
        ("c", Health::Unknown, Some(30.0), 0.2, Some(900)),
    ]);
    let mut list = List::default();
    for (order, expected) in [
        (Order::Name, "a b c"),
        (Order::Rate, "c b a"),
        (Order::Share, "b c a"),
        (Order::Health, "a c b"),
        (Order::RoundTrip, "a c b"),
        (Order::Configured, "b a c"),
    ] {
        list.sort(order);
        assert_eq!(names(&list, &status), expected, "{order:?}");
        list.sort(order);
        let reversed: Vec<&str> = expected.split(' ').rev().collect();
        assert_eq!(names(&list, &status), reversed.join(" "), "{order:?}");
    }
}

#[test]
fn a_filter_takes_words_of_names_addresses_and_states() {
    let mut status = thousand();
    status.services[1].backends[7].health = Health::Down;
    let mut list = List::default();
    for (filter, expected) in [
        ("", 1_000),
        ("a/dns49", 11),
        ("DNS499 b/", 1),
        ("down", 1),
        ("down a/", 0),
        ("192.168.0.201 enabled", 1_000),
    ] {
        list.filter = filter.to_owned();
        let rows = list.rows(&status);
        assert_eq!(backends(&rows).len(), expected, "{filter}");
        let services = rows.iter().filter(|row| matches!(row, Row::Service(_)));
        assert_eq!(
            services.count(),
            usize::from(expected > 0) + usize::from(expected == 1_000)
        );
    }
}

#[test]
fn the_chosen_one_stays_chosen_and_on_the_screen() {
    let status = thousand();
    let mut list = List::default();
    list.settle(&status, 20);
    let chosen = |list: &List| {
        list.chosen
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    assert_eq!((chosen(&list), list.offset), ("a/dns0".to_owned(), 0));
    list.go(&status, 499);
    list.settle(&status, 20);
    // Rows: the service, then its backends.
    assert_eq!((chosen(&list), list.offset), ("a/dns499".to_owned(), 481));
    list.go(&status, 1);
    list.settle(&status, 20);
    assert_eq!((chosen(&list), list.offset), ("b/dns0".to_owned(), 483));
    list.go(&status, isize::MAX);
    list.settle(&status, 20);
    assert_eq!((chosen(&list), list.offset), ("b/dns499".to_owned(), 982));
    // A smaller screen, another order: it is where it is.
    list.sort(Order::Name);
    list.settle(&status, 3);
    assert_eq!(chosen(&list), "b/dns499");
    let rows = list.rows(&status);
    assert_eq!(
        rows[list.offset..list.offset + 3]
            .iter()
            .filter(|row| **row == Row::Backend(1, 499))
            .count(),
        1
    );
    list.go(&status, isize::MIN);
    list.settle(&status, 3);
    assert_eq!((chosen(&list), list.offset), ("a/dns0".to_owned(), 0));

    // One that goes leaves its place to the next.
    list.go(&status, 1);
    list.settle(&status, 3);
    let before = chosen(&list);
    list.filter = "dns499".to_owned();
    list.settle(&status, 3);
    assert_ne!(chosen(&list), before);
    list.filter = "nothing".to_owned();
    list.settle(&status, 3);
    assert_eq!(list.chosen, None);
    list.go(&status, 1);
    list.filter.clear();
    list.settle(&status, 0);
    assert_eq!(chosen(&list), "a/dns0");
}
