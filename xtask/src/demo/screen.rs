//! What the demo shows while it runs: steps that stay, and on a terminal a panel that lives.

use std::{
    env,
    io::{IsTerminal, Write, stderr, stdout},
    time::{Duration, Instant},
};

/// How often a line stands for the panel where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where the demo writes.
pub(super) struct Screen {
    out: Box<dyn Write>,
    /// Whether lines can be written over.
    live: bool,
    colour: bool,
    /// Lines of the panel that is on the screen.
    drawn: usize,
    last_plain: Option<Instant>,
}

/// A colour of the terminal's own palette.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Green = 32,
    Red = 31,
    Cyan = 36,
}

impl Screen {
    /// On standard output, or on standard error if that is kept for a document.
    pub(super) fn new(document: bool) -> Self {
        let terminal = if document {
            stderr().is_terminal()
        } else {
            stdout().is_terminal()
        };
        let live = terminal && env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self {
            out: if document {
                Box::new(stderr())
            } else {
                Box::new(stdout())
            },
            live,
            colour: live && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            drawn: 0,
            last_plain: None,
        }
    }

    /// A step that is done.
    pub(super) fn step(&mut self, text: &str) {
        let tick = self.paint("✓", Colour::Green);
        self.text(&format!("{tick} {text}"));
    }

    /// Lines that stay, below the last panel.
    pub(super) fn text(&mut self, text: &str) {
        self.erase_panel();
        self.put(&format!("{text}\n"));
    }

    /// Shows the panel as it is now; where there is no terminal, every few seconds its summary.
    pub(super) fn panel(&mut self, lines: &[String], summary: &str) {
        if self.live {
            self.erase_panel();
            // In one piece, so that it does not flicker. A line that is too long for the terminal is
            // cut off: wrapped, it would take two, and the next panel would stand in the wrong place.
            self.put(&format!("\x1b[?7l{}\x1b[?7h\n", lines.join("\n")));
            self.drawn = lines.len();
        } else if self
            .last_plain
            .is_none_or(|last| last.elapsed() >= PLAIN_EVERY)
        {
            self.last_plain = Some(Instant::now());
            self.put(&format!("  {summary}\n"));
        }
    }

    /// The text in a colour, if colours are wanted.
    pub(super) fn paint(&self, text: &str, colour: Colour) -> String {
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }

    fn erase_panel(&mut self) {
        if self.drawn > 0 {
            // Up to its first line, and clear from there.
            self.put(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn put(&mut self, text: &str) {
        // Nobody may be looking (a closed pipe); the demo goes on, its exit code tells.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}
