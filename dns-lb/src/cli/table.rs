//! The status document as a table of at most 100 columns.

use std::{fmt::Write as _, iter, net::IpAddr};

use dns_lb_common::Ending;

use super::{
    figures::{self, age, fit, percent, rate, round_trip, short},
    palette::{Palette, Tone},
};
use crate::api::{
    Timestamp,
    status::{Backend, Queries, Service, Status},
};

/// Columns of the widest line.
pub(super) const WIDTH: usize = 100;

/// Headings, the widest that each column becomes, and whether it holds numbers, which stand to the
/// right. With indent and gaps: [`WIDTH`]; names also have what the other columns leave of it.
const COLUMNS: [(&str, usize, bool); 8] = [
    ("BACKEND", 17, false),
    ("ADMIN", 8, false),
    ("HEALTH", 7, false),
    ("WEIGHT", 6, true),
    ("SHARE", 6, true),
    ("Q/S", 6, true),
    ("LAST PROBE", 28, false),
    ("SINCE", 6, true),
];

/// Said of a service whose probes are not believed.
pub(super) const FAILED_OPEN: &str = "too few backends are up: steering as if all were";

/// The document as text, as of `now`.
pub(super) fn render(status: &Status, now: Timestamp, palette: Palette) -> String {
    let mut text = format!(
        "dns-lb {}, up {}, generation {}",
        status.version,
        age(status.started_at.until(now)),
        status.generation
    );
    for interface in &status.dataplane.interfaces {
        let _ = write!(
            text,
            "\n{}: {}, program {}, link {}",
            interface.name, interface.mode, interface.program_id, interface.link_id
        );
    }
    text.push('\n');
    for service in &status.services {
        text.push('\n');
        push_service(&mut text, service, now, palette);
    }
    text
}

fn push_service(text: &mut String, service: &Service, now: Timestamp, palette: Palette) {
    let mut facts = vec![service.name.clone(), addresses(service)];
    facts.push(service.policy.to_string());
    let known = service.packets_per_second.is_some();
    facts.extend(known.then(|| format!("{} q/s", rate(service.packets_per_second))));
    facts.push(format!("{} packets", short(service.packets)));
    facts.push(format!("{}B", short(service.bytes)));
    push_wrapped(text, "", &facts);
    if service.failed_open {
        text.push_str("  ");
        text.push_str(&palette.paint(Tone::Bad, FAILED_OPEN));
        text.push('\n');
    }
    push_counts(text, service);

    let heading = COLUMNS.map(|(heading, _, _)| (heading.to_owned(), Tone::Plain));
    let mut rows: Vec<[(String, Tone); COLUMNS.len()]> = iter::once(heading)
        .chain(service.backends.iter().map(|backend| row(backend, now)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].0.chars().count());
        cells.max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    // Servers are told apart by the ends of their names.
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    widths[0] = widths[0].min(WIDTH.saturating_sub(others + 2));
    for row in &mut rows {
        row[0].0 = fit(&row[0].0, widths[0]);
    }
    for row in &rows {
        let mut line = String::new();
        for (((cell, tone), width), (_, _, number)) in row.iter().zip(&widths).zip(COLUMNS) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let cell = palette.paint(*tone, cell);
            line += "  ";
            line += &match number {
                true => padding + &cell,
                false => cell + &padding,
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for note in service.backends.iter().flat_map(notes) {
        push_wrapped(text, " ", &[note]);
    }
}

/// Where clients send to: `192.168.0.200, port 53 udp tcp`.
pub(super) fn addresses(service: &Service) -> String {
    let vips: Vec<String> = service.vips.iter().map(IpAddr::to_string).collect();
    let protocols: Vec<String> = service.protocols.iter().map(ToString::to_string).collect();
    let (vips, protocols) = (vips.join(" "), protocols.join(" "));
    format!("{vips}, port {} {protocols}", service.port)
}

/// What an operator should know of a backend that has no place in the table.
pub(super) fn notes(backend: &Backend) -> Vec<String> {
    let name = &backend.name;
    let mut notes = Vec::new();
    if let Some(reason) = &backend.reason {
        notes.push(format!("{name} is down: {reason}"));
    }
    if let Some(fault) = &backend.frozen {
        notes.push(format!("{name} stays {}: {fault}", backend.health));
    }
    if let Some(set) = &backend.set_by {
        let mut note = format!("{name} is {}", backend.admin);
        if backend.weight != backend.configured_weight {
            let _ = write!(note, ", weight not {}", backend.configured_weight);
        }
        let _ = write!(note, ", by {}", set.by);
        if let Some(reason) = &set.reason {
            let _ = write!(note, ": {reason}");
        }
        notes.push(note);
    }
    match (&backend.mac, &backend.unresolved) {
        _ if backend.local => notes.push(format!("{name} is this host")),
        (Some(_), None) => {}
        (None, None) => notes.push(format!(
            "{name} gets nothing: its MAC address is not known yet"
        )),
        (None, Some(reason)) => notes.push(format!("{name} gets nothing: {reason}")),
        (Some(mac), Some(reason)) => {
            notes.push(format!("{name} was last found at {mac}: {reason}"));
        }
    }
    if backend.probes.late > 0 {
        let latest = round_trip(backend.probes.latest_us);
        notes.push(format!(
            "{name}: {} of {} probes late, by up to {latest}",
            backend.probes.late, backend.probes.total
        ));
    }
    notes
}

/// What else has been counted of a service: what there was none of is left out.
fn push_counts(text: &mut String, service: &Service) {
    let some = |(name, count): (&str, u64)| (count > 0).then(|| format!("{} {name}", short(count)));
    let tcp = [
        ("segments", service.tcp.packets),
        ("connections", service.tcp.connections),
    ];
    let tcp: Vec<String> = tcp.into_iter().filter_map(some).collect();
    let queries: Vec<String> = service
        .queries
        .iter()
        .flat_map(by_kind)
        .filter_map(some)
        .collect();
    let unsteered = service
        .endings
        .iter()
        .map(|(name, &count)| (name.as_str(), count));
    let unsteered: Vec<String> = unsteered
        .filter(|(name, _)| !is_steered(name))
        .filter_map(some)
        .collect();
    for (heading, counts) in [
        ("  tcp:", tcp),
        ("  queries:", queries),
        ("  not steered:", unsteered),
    ] {
        if !counts.is_empty() {
            push_wrapped(text, heading, &counts);
        }
    }
}

/// Queries by what they ask for, and those of them that carry EDNS.
fn by_kind(queries: &Queries) -> impl Iterator<Item = (&str, u64)> {
    let types = queries
        .types
        .iter()
        .map(|(name, &count)| (name.as_str(), count));
    types.chain([("with EDNS", queries.edns)])
}

/// Whether a backend has had the packets that ended so.
pub(super) fn is_steered(ending: &str) -> bool {
    let steered = [Ending::Transmitted, Ending::Redirected, Ending::Delivered];
    steered.iter().any(|steered| steered.name() == ending)
}

/// Facts on one line, or on more where they do not fit.
fn push_wrapped(text: &mut String, heading: &str, facts: &[String]) {
    push_words(text, heading, &facts.join(", "), WIDTH);
}

/// Words on one line, or on more where they do not fit so many columns.
pub(super) fn push_words(text: &mut String, heading: &str, words: &str, columns: usize) {
    let mut line = heading.to_owned();
    for word in words.split(' ') {
        let word = fit(word, columns.saturating_sub(2));
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            text.push_str(&line);
            text.push('\n');
            line = " ".to_owned();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn row(backend: &Backend, now: Timestamp) -> [(String, Tone); COLUMNS.len()] {
    let cells = [
        (backend.name.clone(), Tone::Plain),
        (backend.admin.to_string(), Tone::of_admin(backend.admin)),
        (
            figures::health(backend.health).to_owned(),
            Tone::of_health(backend.health),
        ),
        (backend.weight.to_string(), Tone::Plain),
        (percent(backend.share), Tone::of_share(backend)),
        (rate(backend.packets_per_second), Tone::Plain),
        (figures::last_probe(backend), Tone::Plain),
        (age(backend.since.until(now)), Tone::Plain),
    ];
    let widths = COLUMNS.into_iter().skip(1).map(|(_, width, _)| width);
    let mut widths = iter::once(WIDTH).chain(widths);
    cells.map(|(cell, tone)| (fit(&cell, widths.next().unwrap_or(0)), tone))
}

#[cfg(test)]
mod tests;
