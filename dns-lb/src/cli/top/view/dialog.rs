//! The question whether a change is to be made.

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    text::Line,
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::Ink;
use crate::cli::{figures::fit, palette::Tone, top::question::Question};

/// Columns of the widest box.
const WIDTH: u16 = 76;
/// Characters of what the agent says.
const REFUSAL: usize = 400;

/// Draws it over everything else.
pub(super) fn draw(frame: &mut Frame<'_>, question: &Question, ink: Ink) {
    let width = WIDTH.min(frame.area().width);
    let inner = usize::from(width).saturating_sub(4).max(1);
    let (verb, name) = (question.deed.verb(), question.name.to_string());
    let mut lines = Vec::new();
    match &question.refusal {
        None => {
            lines.push(ink.line(Tone::Plain, question.deed.consequence(), inner));
            lines.push(Line::default());
            // The end is where one types.
            let from = question
                .reason
                .chars()
                .count()
                .saturating_sub(inner.saturating_sub(19));
            let typed: String = question.reason.chars().skip(from).collect();
            let reason = format!("Reason, if any: {typed}▏");
            lines.push(ink.line(Tone::Plain, &reason, inner));
            lines.push(Line::default());
            let keys = format!("Enter: {verb} it    Esc: leave it as it is");
            lines.push(ink.line(Tone::Heading, &keys, inner));
        }
        Some(refusal) => {
            lines.push(ink.line(Tone::Bad, refusal, REFUSAL));
            lines.push(Line::default());
            let keys = format!("y: {verb} it all the same (--force)    n: leave it as it is");
            lines.push(ink.line(Tone::Heading, &keys, inner));
        }
    }
    let rows: usize = lines
        .iter()
        .map(|line| line.width().div_ceil(inner).max(1))
        .sum();
    // Words are not broken, which takes some more room.
    let rows = rows + usize::from(question.refusal.is_some());
    let height = u16::try_from(rows + 2).unwrap_or(u16::MAX);
    let [row] = Layout::vertical([Constraint::Length(height)])
        .flex(ratatui::layout::Flex::Center)
        .areas(frame.area());
    let [area] = Layout::horizontal([Constraint::Length(width)])
        .flex(ratatui::layout::Flex::Center)
        .areas(row);
    let title = fit(&format!(" {} {name}? ", capitalized(verb)), inner);
    let block = Block::bordered()
        .title(title)
        .title_style(ink.palette.style(Tone::Heading))
        .padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).wrap(Wrap { trim: true }).block(block),
        area,
    );
}

fn capitalized(verb: &str) -> String {
    let mut letters = verb.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
