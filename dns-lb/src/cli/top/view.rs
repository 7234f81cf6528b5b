//! What the screen shows of the model. Draws, and knows nothing else.

mod backend;
mod dialog;
mod list;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    list::Order,
    model::{Model, Prompt},
    question::Deed,
};
use crate::{
    api::{Timestamp, status::Status},
    cli::{
        figures::{age, fit, rate},
        palette::{Palette, Tone},
    },
    health::Health,
};

/// What is drawn with: the colours, and whether it is of now.
#[derive(Clone, Copy)]
struct Ink {
    palette: Palette,
    is_stale: bool,
}

impl Ink {
    /// A text that fits. What is not of now has no other tone than that.
    fn span(self, tone: Tone, text: &str, width: usize) -> Span<'static> {
        let tone = if self.is_stale { Tone::Stale } else { tone };
        Span::styled(fit(text, width), self.palette.style(tone))
    }

    /// A line of one tone.
    fn line(self, tone: Tone, text: &str, width: usize) -> Line<'static> {
        Line::from(self.span(tone, text, width))
    }
}

/// Draws everything, after the chosen backend has been brought on the screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, now: Timestamp, palette: Palette) {
    let live = Ink {
        palette,
        is_stale: false,
    };
    let width = usize::from(frame.area().width);
    let notices = notices(model, now, live, width);
    let footer = footer(model, live, width);
    let height = |lines: &[Line<'_>]| Constraint::Length(u16::try_from(lines.len()).unwrap_or(0));
    let parts = Layout::vertical([
        Constraint::Length(1),
        height(&notices),
        Constraint::Min(1),
        height(&footer),
    ]);
    let [head, notice, body, foot] = parts.areas(frame.area());
    let show = |frame: &mut Frame<'_>, lines: Vec<Line<'static>>, area: Rect| {
        frame.render_widget(Paragraph::new(lines), area);
    };
    show(frame, notices, notice);
    show(frame, footer, foot);
    let ink = Ink {
        palette,
        is_stale: model.trouble.is_some(),
    };
    if let Some((status, heard)) = &model.heard {
        // What is old is shown as it was.
        let now = if ink.is_stale { *heard } else { now };
        show(frame, vec![header(model, status, now, ink, width)], head);
        match &model.open {
            Some(open) => {
                let lines = backend::lines(open, status, &model.rates, now, ink, body);
                show(frame, lines, body);
            }
            None => {
                model
                    .list
                    .settle(status, usize::from(body.height).saturating_sub(1));
                let lines = list::lines(&model.list, status, &model.rates, now, ink, body);
                show(frame, lines, body);
            }
        }
    } else {
        let text = format!("dns-lb top: asking the agent at {}", model.authority);
        show(frame, vec![live.line(Tone::Heading, &text, width)], head);
    }
    if let Some(Prompt::Change(question)) = &model.prompt {
        dialog::draw(frame, question, live);
    }
}

/// Which agent this is, and how its backends are all together.
fn header(model: &Model, status: &Status, now: Timestamp, ink: Ink, width: usize) -> Line<'static> {
    let left = format!(
        "dns-lb {} at {}, up {}, generation {}",
        status.version,
        model.authority,
        age(status.started_at.until(now)),
        status.generation
    );
    let backends = || status.services.iter().flat_map(|service| &service.backends);
    let up = backends()
        .filter(|backend| backend.health == Health::Up)
        .count();
    let all = backends().count();
    let rates = status
        .services
        .iter()
        .map(|service| service.packets_per_second);
    // One that is not known makes the sum unknown.
    let right = format!("{up} of {all} up, {} q/s", rate(rates.sum::<Option<f64>>()));
    let tone = if up == all { Tone::Good } else { Tone::Bad };
    let taken = right.chars().count();
    let left_width = width.saturating_sub(taken + 2);
    let left = fit(&left, left_width);
    let gap = width.saturating_sub(left.chars().count() + taken);
    Line::from(vec![
        ink.span(Tone::Heading, &left, left_width),
        Span::raw(" ".repeat(gap)),
        ink.span(tone, &right, width),
    ])
}

/// What the operator has to know before all else.
fn notices(model: &Model, now: Timestamp, ink: Ink, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(trouble) = &model.trouble {
        let since = match &model.heard {
            None => String::new(),
            Some((_, heard)) => format!(
                ", last heard {} ago: what follows is of {heard}",
                age(heard.until(now))
            ),
        };
        lines.push(ink.line(Tone::Bad, &format!("NO ANSWER{since}"), width));
        lines.extend(broken(ink, Tone::Bad, trouble, width));
    }
    if let Some((tone, text)) = &model.said {
        lines.extend(broken(ink, *tone, text, width));
    }
    let filter = &model.list.filter;
    let is_typing = model.prompt == Some(Prompt::Filter);
    if is_typing || (!filter.is_empty() && model.open.is_none()) {
        let (cursor, keys) = match is_typing {
            true => ("▏", "   Enter keeps it, Esc shows all"),
            false => ("", "   Esc shows all"),
        };
        let shown = fit(filter, width.saturating_sub(45));
        let text = format!("only what has: {shown}{cursor}{keys}");
        lines.push(ink.line(Tone::Caution, &text, width));
    }
    lines
}

/// A text in as many lines as it needs, three at most.
fn broken(ink: Ink, tone: Tone, text: &str, width: usize) -> Vec<Line<'static>> {
    let text: Vec<char> = fit(text, 3 * width).chars().collect();
    let lines = text.chunks(width.max(1));
    let line = |part: &[char]| ink.line(tone, &part.iter().collect::<String>(), width);
    lines.map(line).collect()
}

/// What the keys do.
fn footer(model: &Model, ink: Ink, width: usize) -> Vec<Line<'static>> {
    let deeds = match model.read_only {
        Some(_) => "look only".to_owned(),
        None => {
            let deeds = Deed::ALL.map(|(deed, key)| format!("{key} {}", deed.verb()));
            deeds.join("  ")
        }
    };
    if model.open.is_some() {
        let keys = format!("Esc back  ↑↓ older and newer probes  {deeds}  q quit");
        return vec![ink.line(Tone::Stale, &keys, width)];
    }
    let keys = format!("Enter details  / filter  {deeds}  ↑↓ PgUp PgDn  q quit");
    let mut orders = vec![ink.span(Tone::Stale, "order: ", width)];
    for (order, key, word) in Order::ALL {
        let (text, style) = if order == model.list.order {
            let mark = if model.list.is_reversed { "▲" } else { "▼" };
            (
                format!("{key} {word}{mark}"),
                ink.palette.style(Tone::Heading),
            )
        } else {
            (format!("{key} {word}"), ink.palette.style(Tone::Stale))
        };
        orders.push(Span::styled(text, style));
        orders.push(Span::raw("  "));
    }
    vec![ink.line(Tone::Stale, &keys, width), Line::from(orders)]
}

/// The chosen one, seen without colours too.
fn chosen() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

#[cfg(test)]
mod tests;
