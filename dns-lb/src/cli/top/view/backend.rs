//! One backend at close quarters: what is known of it, and what has been.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::Ink;
use crate::{
    api::{
        Timestamp,
        status::{Backend, LastProbe, Service, Status},
    },
    cli::{
        figures::{self, age, fit, percent, rate, short},
        palette::Tone,
        table::{FAILED_OPEN, addresses, notes},
        top::{
            model::Open,
            rates::{self, Rates},
        },
    },
};

/// Columns of the probes, which the rest stands beside if there is room.
const PROBES: usize = 44;

/// All of it.
pub(super) fn lines(
    open: &Open,
    status: &Status,
    rates: &Rates,
    now: Timestamp,
    ink: Ink,
    area: Rect,
) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let mut services = status.services.iter();
    let service = services.find(|service| service.name == open.name.service);
    let found = service.and_then(|service| {
        let mut backends = service.backends.iter();
        let backend = backends.find(|backend| backend.name == open.name.backend)?;
        Some((service, backend))
    });
    let Some((service, backend)) = found else {
        let text = format!("{} is no longer configured", open.name);
        return vec![ink.line(Tone::Bad, &text, width)];
    };
    let mut lines = facts(service, backend, now, ink, width);
    let rates_width = width.saturating_sub(24).min(60);
    let newest = rates.newest_first(&service.name, &backend.name);
    let line = rates::line(newest, rates.highest(&service.name), rates_width);
    let text = format!(
        "{:>6} q/s, last minute {line}",
        rate(backend.packets_per_second)
    );
    lines.push(ink.line(Tone::Plain, &text, width));
    lines.push(Line::default());

    let room = usize::from(area.height).saturating_sub(lines.len());
    let left = probes(open, now, ink, room);
    let right = beside(
        service,
        backend,
        status,
        now,
        ink,
        width.saturating_sub(PROBES + 2),
    );
    for row in 0..room.min(left.len().max(right.len())) {
        let mut line = left.get(row).cloned().unwrap_or_default();
        let gap = (PROBES + 2).saturating_sub(line.width());
        line.push_span(Span::raw(" ".repeat(gap)));
        line.spans
            .extend(right.get(row).cloned().unwrap_or_default().spans);
        lines.push(line);
    }
    lines
}

/// What holds for it now.
fn facts(
    service: &Service,
    backend: &Backend,
    now: Timestamp,
    ink: Ink,
    width: usize,
) -> Vec<Line<'static>> {
    let place = match (&backend.interface, &backend.mac) {
        (Some(interface), Some(mac)) => format!(", {mac} by {interface}"),
        _ => String::new(),
    };
    let name = format!(
        "{}/{}, {}{place}",
        service.name, backend.name, backend.address
    );
    let state = vec![
        ink.span(Tone::of_admin(backend.admin), &backend.admin.to_string(), 8),
        Span::raw(", "),
        ink.span(
            Tone::of_health(backend.health),
            figures::health(backend.health),
            7,
        ),
        ink.span(
            Tone::Plain,
            &format!(" for {}, ", age(backend.since.until(now))),
            20,
        ),
        ink.span(
            Tone::of_share(backend),
            &format!("share {}", percent(backend.share)),
            20,
        ),
        ink.span(
            Tone::Plain,
            &format!(
                ", weight {}, {} packets, {}B",
                backend.weight,
                short(backend.packets),
                short(backend.bytes)
            ),
            60,
        ),
    ];
    let service_line = format!("service {}, {}", addresses(service), service.policy);
    let mut lines = vec![
        ink.line(Tone::Heading, &name, width),
        Line::from(state),
        ink.line(Tone::Plain, &service_line, width),
    ];
    if service.failed_open {
        lines.push(ink.line(Tone::Bad, FAILED_OPEN, width));
    }
    if let Some(identity) = &backend.identity {
        let text = format!("it calls itself {identity}");
        lines.push(ink.line(Tone::Plain, &text, width));
    }
    for note in notes(backend) {
        lines.push(ink.line(Tone::Caution, &note, width));
    }
    lines
}

/// The probes from the first that is on the screen, in so many rows.
fn probes(open: &Open, now: Timestamp, ink: Ink, room: usize) -> Vec<Line<'static>> {
    let heading = |text: &str| ink.line(Tone::Heading, text, PROBES);
    let history = match &open.history {
        None => return vec![heading("probes: asking the agent")],
        Some(Err(trouble)) => {
            return vec![heading("probes"), ink.line(Tone::Bad, trouble, PROBES)];
        }
        Some(Ok(history)) => history,
    };
    let title = match open.offset {
        0 => "probes, the newest first".to_owned(),
        newer => format!("probes, after {newer} newer ones"),
    };
    let mut lines = vec![heading(&title)];
    let shown = history.probes.iter().skip(open.offset);
    lines.extend(shown.take(room.saturating_sub(1)).map(|probe| {
        let text = format!(
            "{:>6} ago  {}",
            age(probe.at.until(now)),
            figures::outcome(probe)
        );
        ink.line(tone_of(probe), &text, PROBES)
    }));
    if history.probes.is_empty() {
        lines.push(ink.line(Tone::Plain, "none yet", PROBES));
    }
    lines
}

fn tone_of(probe: &LastProbe) -> Tone {
    match probe.cause.as_str() {
        "passed" => Tone::Good,
        // Says nothing of the backend.
        "own_fault" => Tone::Caution,
        _ => Tone::Bad,
    }
}

/// How its health has changed, how its probes have gone, and how its service's packets end.
fn beside(
    service: &Service,
    backend: &Backend,
    status: &Status,
    now: Timestamp,
    ink: Ink,
    width: usize,
) -> Vec<Line<'static>> {
    let heading = |text: &str| ink.line(Tone::Heading, text, width);
    let mut lines = vec![heading("changes of health")];
    let transitions = status.recent_transitions.iter();
    let own = transitions
        .filter(|change| change.service == service.name && change.backend == backend.name);
    let before = lines.len();
    lines.extend(own.take(4).map(|change| {
        let reason = change.reason.as_ref().map(|reason| format!(": {reason}"));
        let text = format!(
            "{:>6} ago  {} to {}{}",
            age(change.at.until(now)),
            figures::health(change.from),
            figures::health(change.to),
            reason.unwrap_or_default()
        );
        ink.line(Tone::of_health(change.to), &text, width)
    }));
    if lines.len() == before {
        lines.push(ink.line(Tone::Plain, "none since the agent started", width));
    }
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        let mut some: Vec<(u64, String)> = counts
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| (*count, name.clone()))
            .collect();
        some.sort_by(|a, b| b.cmp(a));
        let line = |(count, name): (u64, String)| {
            ink.line(
                Tone::Plain,
                &format!("{:>8}  {}", short(count), fit(&name, 40)),
                width,
            )
        };
        some.into_iter().map(line).collect::<Vec<_>>()
    };
    lines.push(heading(&format!(
        "{} probes, by cause",
        backend.probes.total
    )));
    lines.extend(counts(&backend.probes.causes));
    lines.push(heading(&format!("packets of {}, by ending", service.name)));
    lines.extend(counts(&service.endings));
    lines
}
