//! Services and their backends, a line each.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{Ink, chosen};
use crate::{
    api::{
        Timestamp,
        status::{Backend, Service, Status},
    },
    cli::{
        figures::{self, age, fit, percent, rate},
        palette::Tone,
        table::{FAILED_OPEN, addresses},
        top::{
            list::{List, Row},
            rates::{self, Rates},
        },
    },
    health::Health,
};

/// Widths of the columns that have no fixed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    gap: usize,
    name: usize,
    /// Whether there is one for weights.
    weight: bool,
    line: usize,
    probe: usize,
}

impl Columns {
    /// The narrowest that say something.
    const NAME: usize = 13;
    const LINE: usize = 11;
    const PROBE: usize = 15;

    /// For a screen of this width, and names of at most this length.
    fn for_width(width: usize, longest: usize) -> Self {
        let gap = if width >= 100 { 2 } else { 1 };
        // ADMIN, HEALTH, SHARE, Q/S and SINCE; a gap before each of eight columns.
        let fixed = 8 + 7 + 6 + 6 + 6 + 8 * gap;
        let mut left = width.saturating_sub(fixed);
        let mut take = |wanted: usize| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let longest = longest.clamp(7, 40);
        let mut name = take(longest.min(Self::NAME));
        let mut probe = take(Self::PROBE);
        let mut line = take(Self::LINE);
        name += take(longest - longest.min(Self::NAME));
        let weight = width >= 100 && take(6 + gap) == 6 + gap;
        probe += take(13);
        line += take(60_usize.saturating_sub(line));
        Self {
            gap,
            name,
            weight,
            line,
            probe,
        }
    }

    /// Cells, each with its tone, as a line.
    fn line(self, ink: Ink, cells: Cells<'_>) -> Line<'static> {
        let weight = if self.weight { 6 } else { 0 };
        let columns = [
            (cells.name, self.name, false),
            (cells.admin, 8, false),
            (cells.health, 7, false),
            (cells.weight, weight, true),
            (cells.share, 6, true),
            (cells.rate, 6, true),
            (cells.line, self.line, false),
            (cells.probe, self.probe, false),
            (cells.since, 6, true),
        ];
        let mut spans = Vec::new();
        for ((tone, text), width, is_number) in columns {
            if width == 0 {
                continue;
            }
            let text = fit(text, width);
            let padding = " ".repeat(width - text.chars().count());
            spans.push(Span::raw(" ".repeat(self.gap)));
            let text = ink.span(tone, &text, width);
            spans.extend(match is_number {
                true => [Span::raw(padding), text],
                false => [text, Span::raw(padding)],
            });
        }
        Line::from(spans)
    }
}

/// What stands in a line.
struct Cells<'a> {
    name: (Tone, &'a str),
    admin: (Tone, &'a str),
    health: (Tone, &'a str),
    weight: (Tone, &'a str),
    share: (Tone, &'a str),
    rate: (Tone, &'a str),
    line: (Tone, &'a str),
    probe: (Tone, &'a str),
    since: (Tone, &'a str),
}

/// The part of the list that is on the screen, under its headings.
pub(super) fn lines(
    list: &List,
    status: &Status,
    rates: &Rates,
    now: Timestamp,
    ink: Ink,
    area: Rect,
) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let names = status.services.iter().flat_map(|service| &service.backends);
    let longest = names.map(|backend| backend.name.chars().count()).max();
    let columns = Columns::for_width(width, longest.unwrap_or(0));
    let mut lines = vec![columns.line(ink, HEADINGS)];
    let rows = list.rows(status);
    let room = usize::from(area.height).saturating_sub(1);
    // Of the service whose backends are at hand: all of them are looked through for it.
    let mut highest: Option<(usize, f64)> = None;
    for row in rows.iter().skip(list.offset).take(room) {
        lines.push(match *row {
            Row::Service(place) => service(&status.services[place], ink, width),
            Row::Backend(place, backend) => {
                let service = &status.services[place];
                let backend = &service.backends[backend];
                let (_, top) = *match &mut highest {
                    Some(known) if known.0 == place => known,
                    other => other.insert((place, rates.highest(&service.name))),
                };
                let newest = rates.newest_first(&service.name, &backend.name);
                let rates = rates::line(newest, top, columns.line);
                let line = self::backend(backend, &rates, now, ink, columns);
                let is_chosen = list.chosen.as_ref().is_some_and(|chosen| {
                    chosen.service == service.name && chosen.backend == backend.name
                });
                if is_chosen {
                    line.style(chosen())
                } else {
                    line
                }
            }
        });
    }
    if rows.is_empty() {
        let text = match status.services.is_empty() {
            true => "there are no services",
            false => "no backend is so",
        };
        lines.push(ink.line(Tone::Plain, &format!(" {text}"), width));
    }
    lines
}

const HEADINGS: Cells<'static> = Cells {
    name: (Tone::Stale, "BACKEND"),
    admin: (Tone::Stale, "ADMIN"),
    health: (Tone::Stale, "HEALTH"),
    weight: (Tone::Stale, "WEIGHT"),
    share: (Tone::Stale, "SHARE"),
    rate: (Tone::Stale, "Q/S"),
    line: (Tone::Stale, "LAST MINUTE"),
    probe: (Tone::Stale, "LAST PROBE"),
    since: (Tone::Stale, "SINCE"),
};

fn service(service: &Service, ink: Ink, width: usize) -> Line<'static> {
    let up = service.backends.iter();
    let up = up.filter(|backend| backend.health == Health::Up).count();
    let text = format!(
        "{}, {} of {} up, {} q/s, {}, {}",
        service.name,
        up,
        service.backends.len(),
        rate(service.packets_per_second),
        service.policy,
        addresses(service),
    );
    if service.failed_open {
        let text = format!("{}: {FAILED_OPEN}", service.name);
        return ink.line(Tone::Bad, &text, width);
    }
    ink.line(Tone::Heading, &text, width)
}

fn backend(
    backend: &Backend,
    rates: &str,
    now: Timestamp,
    ink: Ink,
    columns: Columns,
) -> Line<'static> {
    columns.line(
        ink,
        Cells {
            name: (Tone::Plain, &backend.name),
            admin: (Tone::of_admin(backend.admin), &backend.admin.to_string()),
            health: (
                Tone::of_health(backend.health),
                figures::health(backend.health),
            ),
            weight: (Tone::Plain, &backend.weight.to_string()),
            share: (Tone::of_share(backend), &percent(backend.share)),
            rate: (Tone::Plain, &rate(backend.packets_per_second)),
            line: (Tone::Plain, rates),
            probe: (Tone::Plain, &figures::last_probe(backend)),
            since: (Tone::Plain, &age(backend.since.until(now))),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_screen_and_never_more() {
        for width in [0, 10, 40, 56, 79, 80, 99, 100, 120, 200, 400] {
            for longest in [0, 4, 14, 63] {
                let columns = Columns::for_width(width, longest);
                let Columns {
                    gap,
                    name,
                    weight,
                    line,
                    probe,
                } = columns;
                let weight = if weight { 6 + gap } else { 0 };
                let all = name + weight + line + probe + 33 + 8 * gap;
                assert!(all <= width.max(33 + 8 * gap), "{width}: {columns:?}");
            }
        }
        let narrow = Columns::for_width(80, 14);
        assert_eq!((narrow.name, narrow.line, narrow.probe), (13, 11, 15));
        let wide = Columns::for_width(200, 30);
        assert_eq!((wide.name, wide.line, wide.probe), (30, 60, 28));
        assert!(wide.weight && !narrow.weight);
    }
}
