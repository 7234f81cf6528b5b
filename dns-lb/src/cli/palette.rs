//! What is shown in colour, and whether: one vocabulary for tables and for the whole screen.

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::AnsiColor;
use ratatui::style::{Color, Modifier, Style};

use crate::{admin::Admin, api::status::Backend, health::Health};

/// What a colour tells the reader. The words beside it say the same: nothing is told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing in particular.
    Plain,
    /// As it should be.
    Good,
    /// Somebody should know.
    Caution,
    /// Somebody should act.
    Bad,
    /// A heading.
    Heading,
    /// True once, perhaps not now.
    Stale,
}

impl Tone {
    /// Of what the probes say.
    pub(super) fn of_health(health: Health) -> Self {
        match health {
            Health::Up => Self::Good,
            Health::Unknown => Self::Caution,
            Health::Down => Self::Bad,
        }
    }

    /// Of what the operator wants.
    pub(super) fn of_admin(admin: Admin) -> Self {
        match admin {
            Admin::Enabled => Self::Plain,
            Admin::Draining | Admin::Disabled => Self::Caution,
        }
    }

    /// Of a backend's share: one that is up is expected to have some.
    pub(super) fn of_share(backend: &Backend) -> Self {
        if backend.health == Health::Up && backend.share == 0.0 {
            Self::Caution
        } else {
            Self::Plain
        }
    }
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Palette {
    /// Text and nothing else.
    Plain,
    /// The sixteen colours that every terminal lets its user choose.
    Colours,
}

impl Palette {
    /// Colours if this is a terminal that has them and its user has not said otherwise: by
    /// `NO_COLOR` (<https://no-color.org>), `CLICOLOR` or `CLICOLOR_FORCE`.
    pub(super) fn of(stream: &impl RawStream) -> Self {
        match AutoStream::choice(stream) {
            ColorChoice::Never => Self::Plain,
            ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Self::Colours,
        }
    }

    /// The text with what a terminal needs to show it so.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let style = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (_, Tone::Good) => AnsiColor::Green.on_default(),
            (_, Tone::Caution) => AnsiColor::Yellow.on_default(),
            (_, Tone::Bad) => AnsiColor::Red.on_default().bold(),
            (_, Tone::Heading) => anstyle::Style::new().bold(),
            (_, Tone::Stale) => anstyle::Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }

    /// The same for the whole screen. Bold and dim are no colours, and stay.
    pub(super) fn style(self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Caution => Style::new().fg(Color::Yellow),
            Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Heading => Style::new().add_modifier(Modifier::BOLD),
            Tone::Stale => Style::new().add_modifier(Modifier::DIM),
        };
        match self {
            Self::Colours => style,
            Self::Plain => Style { fg: None, ..style },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_text_stays_as_it_is() {
        assert_eq!(Palette::Plain.paint(Tone::Bad, "DOWN"), "DOWN");
        let painted = Palette::Colours.paint(Tone::Bad, "DOWN");
        assert_eq!(painted, "\u{1b}[1m\u{1b}[31mDOWN\u{1b}[0m");
        assert_eq!(Palette::Colours.paint(Tone::Plain, "up"), "up");
        let style = Palette::Plain.style(Tone::Bad);
        assert_eq!(style, Style::new().add_modifier(Modifier::BOLD));
    }
}
