//! The status over and over: in place on a terminal, else one after another.
//!
//! What is shown is never older than it says: an agent that does not answer is said first, with the
//! age of what follows.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    pin::pin,
    time::Duration,
};

use anyhow::Context as _;
use ratatui::crossterm::{
    cursor::MoveTo,
    event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    queue,
    terminal::{self as size, Clear, ClearType},
};
use tokio::time::{MissedTickBehavior, interval};

use super::super::{
    client::{LIVE_DEADLINE, get_status},
    figures::{age, fit},
    one_line,
    palette::{Palette, Tone},
    print_on, table,
    terminal::{self, Screen},
};
use crate::api::{Timestamp, status::Status};

/// Until a reader, or a signal, has enough.
///
/// # Errors
/// Nothing can be written, or the terminal goes away.
pub(super) async fn watch(authority: &str, every: Duration, json: bool) -> anyhow::Result<()> {
    if terminal::is_there() && !json {
        in_place(authority, every).await
    } else {
        one_after_another(authority, every, json).await
    }
}

/// What is known, and since when nothing newer is.
#[derive(Default)]
struct Known {
    last: Option<(Status, Timestamp)>,
    /// Why there is nothing newer.
    trouble: Option<String>,
}

impl Known {
    /// Asks the agent. Gives the document as it came.
    async fn ask(&mut self, authority: &str) -> Option<Vec<u8>> {
        match get_status(authority, LIVE_DEADLINE).await {
            Ok((status, document)) => {
                self.last = Some((status, Timestamp::now()));
                self.trouble = None;
                Some(document)
            }
            Err(error) => {
                self.trouble = Some(one_line(&error));
                None
            }
        }
    }

    /// Why nothing new is shown, in one line.
    fn trouble(&self, now: Timestamp) -> Option<String> {
        let trouble = self.trouble.as_ref()?;
        let since = match &self.last {
            None => "never heard of it".to_owned(),
            Some((_, at)) => format!("last heard {} ago", age(at.until(now))),
        };
        Some(format!("NO ANSWER, {since}: {}", fit(trouble, 400)))
    }

    /// What a terminal with so many columns shows.
    fn page(&self, now: Timestamp, palette: Palette, columns: usize) -> String {
        let mut text = String::new();
        if let Some(trouble) = self.trouble(now) {
            let mut lines = String::new();
            table::push_words(&mut lines, "", &trouble, columns);
            for line in lines.lines() {
                text += &palette.paint(Tone::Bad, line);
                text.push('\n');
            }
        }
        let Some((status, at)) = &self.last else {
            return text;
        };
        if self.trouble.is_none() {
            return table::render(status, now, palette);
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "what follows is of {at}\n\n");
        for line in table::render(status, *at, Palette::Plain).lines() {
            text += &palette.paint(Tone::Stale, line);
            text.push('\n');
        }
        text
    }
}

async fn in_place(authority: &str, every: Duration) -> anyhow::Result<()> {
    let palette = Palette::of(&io::stdout());
    let mut ended = pin!(terminal::asked_to_end()?);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Known::default();
    let _screen = Screen::take()?;
    let mut events = terminal::events();
    loop {
        tokio::select! {
            () = &mut ended => return Ok(()),
            event = events.recv() => {
                if is_last(event)? {
                    return Ok(());
                }
            }
            _ = ticks.tick() => {
                let mut asking = pin!(known.ask(authority));
                loop {
                    tokio::select! {
                        () = &mut ended => return Ok(()),
                        event = events.recv() => {
                            if is_last(event)? {
                                return Ok(());
                            }
                        }
                        _ = &mut asking => break,
                    }
                }
            }
        }
        if known.last.is_some() || known.trouble.is_some() {
            let (columns, rows) = size::size().context("the terminal has gone away")?;
            let page = known.page(Timestamp::now(), palette, columns.into());
            draw(&page, columns, rows).context("cannot draw")?;
        }
    }
}

/// Whether this is what a watch ends with.
fn is_last(event: Option<io::Result<Event>>) -> anyhow::Result<bool> {
    match event.transpose().context("the terminal has gone away")? {
        Some(Event::Key(key)) => Ok(is_enough(key)),
        Some(_) => Ok(false),
        None => Ok(true),
    }
}

/// `q`, Ctrl-C or Ctrl-D.
fn is_enough(key: KeyEvent) -> bool {
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q') => true,
            KeyCode::Char('c' | 'd') => with_control,
            _ => false,
        }
}

/// Writes over what is there, so that nothing flickers.
fn draw(text: &str, columns: u16, rows: u16) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let page = crop(text, columns.into(), rows.into());
    for (row, line) in (0..rows).zip(page.lines()) {
        queue!(out, MoveTo(0, row))?;
        out.write_all(line.as_bytes())?;
        queue!(out, Clear(ClearType::UntilNewLine))?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    out.flush()
}

/// As much of a text as a screen has room for, and how much more there is.
fn crop(text: &str, columns: usize, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = match lines.len() {
        all if all <= rows => all,
        _ => rows.saturating_sub(1),
    };
    let mut page: Vec<String> = lines[..shown]
        .iter()
        .map(|line| cut(line, columns))
        .collect();
    if let more @ 1.. = lines.len() - shown {
        page.push(cut(
            &format!("… {more} more lines: dns-lb top scrolls"),
            columns,
        ));
    }
    page.join("\n")
}

/// The first characters of a line. Escape sequences, which the table has for colours alone, take no
/// room and are all kept, so that the last one ends what the others have begun.
fn cut(line: &str, columns: usize) -> String {
    let (mut text, mut taken, mut in_sequence) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\u{1b}' {
            in_sequence = true;
        }
        if in_sequence {
            text.push(c);
            in_sequence = c != 'm';
        } else if taken < columns {
            text.push(c);
            taken += 1;
        }
    }
    text
}

async fn one_after_another(authority: &str, every: Duration, json: bool) -> anyhow::Result<()> {
    let palette = Palette::of(&io::stdout());
    let mut ended = pin!(terminal::asked_to_end()?);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Known::default();
    let mut gap = "";
    loop {
        tokio::select! {
            () = &mut ended => return Ok(()),
            _ = ticks.tick() => {}
        }
        let document = tokio::select! {
            () = &mut ended => return Ok(()),
            document = known.ask(authority) => document,
        };
        let now = Timestamp::now();
        let text = match (known.trouble(now), &known.last, document) {
            (Some(trouble), ..) if json => {
                // Standard output is for documents.
                let _ = writeln!(io::stderr(), "{trouble}");
                continue;
            }
            (Some(trouble), ..) => palette.paint(Tone::Bad, &trouble) + "\n",
            (None, _, Some(document)) if json => {
                let document: serde_json::Value = serde_json::from_slice(&document)?;
                format!("{document}\n")
            }
            (None, Some((status, _)), _) => table::render(status, now, palette),
            (None, None, _) => continue,
        };
        if !print_on(&format!("{gap}{text}"))? {
            return Ok(());
        }
        gap = if json { "" } else { "\n" };
    }
}

#[cfg(test)]
mod tests;
