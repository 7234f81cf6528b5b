//! A change of a backend that is about to be made: what it is, why, and whether in spite of what the
//! agent says.

use super::list::Name;
use crate::admin::{Action, Change, Reason, Selection};

/// What an operator can do to the chosen backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Drain,
    Disable,
    Enable,
}

impl Deed {
    /// All, with the key for it.
    pub(super) const ALL: [(Self, char); 3] = [
        (Self::Drain, 'd'),
        (Self::Disable, 'x'),
        (Self::Enable, 'e'),
    ];

    /// The verb of the command line that does the same.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }

    /// What comes of it.
    pub(super) fn consequence(self) -> &'static str {
        match self {
            Self::Drain => "No new queries for it; the TCP connections that it has stay.",
            Self::Disable => "Nothing at all for it, not even what belongs to its TCP connections.",
            Self::Enable => "Queries for it again, while its probes pass.",
        }
    }

    fn action(self) -> Action {
        match self {
            Self::Drain => Action::Drain,
            Self::Disable => Action::Disable,
            Self::Enable => Action::Enable,
        }
    }
}

/// Whether a change is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) deed: Deed,
    /// Stays what it was when the question was asked, whatever is chosen since.
    pub(super) name: Name,
    /// What has been typed.
    pub(super) reason: String,
    /// Why the agent has refused, so that it is to be forced now or left.
    pub(super) refusal: Option<String>,
}

impl Question {
    /// Takes what is typed, as far as a reason may have it.
    pub(super) fn type_in(&mut self, c: char) {
        if !c.is_control() && self.reason.chars().count() < Reason::MAX_LENGTH {
            self.reason.push(c);
        }
    }

    /// The change that is to be made.
    pub(super) fn change(&self) -> Change {
        Change {
            selection: vec![Selection::Backend {
                service: self.name.service.clone(),
                backend: self.name.backend.clone(),
            }],
            action: self.deed.action(),
            // Nothing, or blanks, is none; all else is one.
            reason: self.reason.parse().ok(),
            force: self.refusal.is_some(),
        }
    }
}
