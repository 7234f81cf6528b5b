//! The ratios first: how many times better or worse dns-lb is than each of the others.

use dns_lb_tests::comparison::{Arrangement, Forwarder};

use super::{NOT_MEASURED, table::Table};
use crate::compare::{
    figures::{self, Comparison, Figure, compare, counterpart, is_ours, ports},
    record::Records,
    statistics::Spread,
};

/// What a relay or a client cares for, and every comparison that dns-lb loses.
pub(in crate::compare) fn in_short(records: &Records) -> String {
    let all = compare(records);
    let mut text = "## In short\n\n\
        How many times better dns-lb is: above 1 it wins, below 1, in **bold**, it loses. An arrangement that is tuned is\n\
        beside dns-lb tuned, if that was measured, any other beside dns-lb with its defaults. [Where dns-lb\n\
        loses](#where-dns-lb-loses) has all of these that it loses by more than a hundredth, but to no balancer at all.\n"
        .to_owned();
    text += "\nA mail relay's two look-ups a mail, while one of two servers is dead:\n\n";
    text += &mail(records, &all);
    text += "\nQueries lost when one of two servers dies:\n\n";
    text += &failover(records, &all);
    text += "\nWhat a packet, or a query, costs:\n\n";
    text += &cost(records, &all);
    text += "\n### Where dns-lb loses\n\n";
    text += &losses(&all);
    text
}

fn mail(records: &Records, all: &[Comparison]) -> String {
    let places = records.places();
    let parts = places.iter().filter_map(|(_, place)| place.mail.as_ref());
    let measured = parts.flat_map(|part| &part.rows);
    let deaths = figures::deaths(measured.map(|row| row.death.as_str()));
    let mut header = vec!["".to_owned(), "where".to_owned()];
    for death in &deaths {
        header.push(format!("mails an hour, {death}"));
        header.push(format!("longest look-up, {death}"));
    }
    let mut table = Table::new(&header);
    for (place, records) in places {
        let rows = records.mail.iter().flat_map(|part| &part.rows);
        for theirs in older(rows.map(|row| row.arrangement)) {
            let mut cells = vec![theirs.to_string(), place.to_owned()];
            for death in &deaths {
                for figure in [Figure::MailsAnHour, Figure::LongestLookup] {
                    cells.push(beside(all, place, figure, death, theirs));
                }
            }
            table.row(&cells);
        }
    }
    table.or(NOT_MEASURED)
}

fn failover(records: &Records, all: &[Comparison]) -> String {
    let places = records.places();
    let parts = places
        .iter()
        .filter_map(|(_, place)| place.failover.as_ref());
    let measured = parts.flat_map(|part| &part.rows);
    let deaths = figures::deaths(measured.map(|row| row.death.as_str()));
    let mut header = vec!["".to_owned(), "where".to_owned(), "clients use".to_owned()];
    header.extend(deaths.iter().map(|death| (*death).to_owned()));
    let mut table = Table::new(&header);
    for (place, records) in places {
        let rows = records.failover.iter().flat_map(|part| &part.rows);
        for theirs in older(rows.clone().map(|row| row.arrangement)) {
            for fixed in [false, true] {
                let mut its = rows.clone().filter(|row| row.arrangement == theirs);
                if its.all(|row| row.fixed_port != fixed) {
                    continue;
                }
                let mut cells = vec![
                    theirs.to_string(),
                    place.to_owned(),
                    ports(fixed).to_owned(),
                ];
                for death in &deaths {
                    let case = format!("{death}, {}", ports(fixed));
                    cells.push(beside(all, place, Figure::QueriesLost, &case, theirs));
                }
                table.row(&cells);
            }
        }
    }
    table.or(NOT_MEASURED)
}

fn cost(records: &Records, all: &[Comparison]) -> String {
    let ours = [Forwarder::DnsLbNative, Forwarder::DnsLbGeneric];
    let mut header = vec!["".to_owned(), "where".to_owned()];
    for ours in ours {
        header.push(format!("a packet, beside {ours}"));
    }
    header.push(format!("queries a second, beside {}", ours[0]));
    let mut table = Table::new(&header);
    for (place, records) in records.places() {
        for row in records.cost.iter().flat_map(|part| &part.rows) {
            let theirs = row.forwarder;
            if ours.contains(&theirs) {
                continue;
            }
            let cell = |figure, ours: Forwarder| {
                let names = (theirs.to_string(), ours.to_string());
                times(all, place, figure, "", (&names.0, &names.1))
            };
            table.row(&[
                theirs.to_string(),
                place.to_owned(),
                cell(Figure::PathTime, ours[0]),
                cell(Figure::PathTime, ours[1]),
                cell(Figure::QueriesASecond, ours[0]),
            ]);
        }
    }
    table.or(NOT_MEASURED)
}

/// What dns-lb is compared with, once each, in the order of its history.
fn older(arrangements: impl Iterator<Item = Arrangement>) -> Vec<Arrangement> {
    let mut found: Vec<Arrangement> = arrangements.filter(|it| !is_ours(*it)).collect();
    found.sort();
    found.dedup();
    found
}

/// Beside the dns-lb that is most like it; beside the other if that was not measured.
fn beside(
    all: &[Comparison],
    place: &str,
    figure: Figure,
    case: &str,
    theirs: Arrangement,
) -> String {
    let like = counterpart(theirs);
    let of = |ours: Arrangement| {
        let names = (theirs.to_string(), ours.to_string());
        times(all, place, figure, case, (&names.0, &names.1))
    };
    match of(like) {
        none if none == "—" && like != Arrangement::DnsLb => of(Arrangement::DnsLb),
        cell => cell,
    }
}

fn times(
    all: &[Comparison],
    place: &str,
    figure: Figure,
    case: &str,
    (theirs, ours): (&str, &str),
) -> String {
    let found = all.iter().find(|it| {
        it.place == place
            && it.figure == figure
            && it.case == case
            && it.theirs == theirs
            && it.ours == ours
    });
    found.map_or_else(|| "—".to_owned(), |it| bold_if_lost(&it.times))
}

/// A smaller difference than this part is none.
const EVEN: f64 = 0.01;

fn is_lost(times: &Spread) -> bool {
    times.median.value < 1.0 - EVEN
}

fn bold_if_lost(times: &Spread) -> String {
    if is_lost(times) {
        format!("**{times}**")
    } else {
        times.to_string()
    }
}

/// Every comparison of like with like that dns-lb loses in the median. That a query costs less without a
/// balancer goes without saying.
fn losses(all: &[Comparison]) -> String {
    let nothing = Forwarder::Nothing.to_string();
    let lost = all
        .iter()
        .filter(|it| it.is_like && is_lost(&it.times) && it.theirs != nothing);
    let mut table = Table::new(&["in", "where", "to", "times better"]);
    for group in lost
        .collect::<Vec<_>>()
        .chunk_by(|a, b| names(a) == names(b))
    {
        let cases = group.iter().map(|it| {
            let clear = match it.times.is_clear_of(1.0) {
                true => "",
                false => ", within the spread",
            };
            let times = format!("{}{clear}", bold_if_lost(&it.times));
            match it.case.as_str() {
                "" => times,
                case => format!("{case}: {times}"),
            }
        });
        let cases = cases.collect::<Vec<_>>().join("; ");
        let (figure, place, theirs, ours) = names(group[0]);
        table.row(&[
            figure.to_string(),
            place.to_owned(),
            format!("{theirs}, for {ours}"),
            cases,
        ]);
    }
    let nothing = if all.is_empty() {
        NOT_MEASURED
    } else {
        "Nowhere in what was measured."
    };
    table.or(nothing)
}

/// What is compared with what, whatever the circumstances.
fn names(it: &Comparison) -> (Figure, &str, &str, &str) {
    (it.figure, it.place, &it.theirs, &it.ours)
}
