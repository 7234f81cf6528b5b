//! What a translation does to what it translates: a comment in the file that it makes.

use std::{collections::HashMap, fmt};

use super::problem::Place;

/// Most lines that a remark names.
const MAX_LINES: usize = 5;

/// What has become of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The same is said in other words.
    Translated,
    /// Something near it is said.
    Approximated,
    /// More is demanded than before.
    Tightened,
    /// It is said nowhere any more.
    Dropped,
    /// It was not said, and is to be looked at.
    Assumed,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Approximated => "approximated",
            Self::Tightened => "tightened",
            Self::Dropped => "dropped",
            Self::Assumed => "assumed",
        }
    }
}

/// One comment. Displays as a single line of any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    kind: Kind,
    /// The words that it is about, as the file has them; empty if it has none.
    about: String,
    why: String,
    places: Vec<Place>,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.word())?;
        let shown = self.places.iter().take(MAX_LINES);
        let lines: Vec<String> = shown
            .map(|place| match place.file_number {
                0 => place.line.to_string(),
                _ => place.to_string(),
            })
            .collect();
        match lines.as_slice() {
            [] => {}
            [line] => write!(f, ", line {line}")?,
            lines => write!(f, ", lines {}", lines.join(", "))?,
        }
        if self.places.len() > MAX_LINES {
            write!(f, " and {} more", self.places.len() - MAX_LINES)?;
        }
        if !self.about.is_empty() {
            write!(f, ": {}", self.about)?;
        }
        write!(f, ". {}", self.why)
    }
}

/// Remarks in the order in which they were first made; what is said of several lines is said once.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    list: Vec<Remark>,
    known: HashMap<(Kind, String, String), usize>,
}

impl Remarks {
    /// Adds a remark on a line, or on none.
    pub(super) fn add<'p>(
        &mut self,
        kind: Kind,
        place: impl Into<Option<&'p Place>>,
        about: impl Into<String>,
        why: impl Into<String>,
    ) {
        let place: Option<&Place> = place.into();
        self.push(Remark {
            kind,
            about: about.into(),
            why: why.into(),
            places: place.into_iter().cloned().collect(),
        });
    }

    /// Adds those of another list.
    pub(super) fn extend(&mut self, others: Self) {
        for remark in others.list {
            self.push(remark);
        }
    }

    fn push(&mut self, remark: Remark) {
        let key = (remark.kind, remark.about.clone(), remark.why.clone());
        match self.known.get(&key) {
            Some(&index) => {
                let places = &mut self.list[index].places;
                for place in remark.places {
                    if places.last() != Some(&place) {
                        places.push(place);
                    }
                }
            }
            None => {
                self.known.insert(key, self.list.len());
                self.list.push(remark);
            }
        }
    }

    /// The remarks.
    pub(super) fn as_slice(&self) -> &[Remark] {
        &self.list
    }
}
