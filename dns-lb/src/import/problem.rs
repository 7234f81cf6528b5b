//! What cannot be translated, where it stands, and what to do about it.

use std::{fmt, path::Path, sync::Arc};

/// Most problems that a report shows; more are counted.
const MAX_SHOWN: usize = 1_000;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<Path>,
    /// The place of the file among those that are read, from 0: the main file.
    pub file_number: usize,
    /// Line, from 1; 0: the file as a whole.
    pub line: usize,
}

impl Place {
    /// Another line of the same file.
    pub(super) fn at(&self, line: usize) -> Self {
        Self {
            line,
            ..self.clone()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// One problem. Displays in the form that editors jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}: {}; {}", self.place, self.what, self.remedy);
        // What the file says is shown in it, and must not command the terminal.
        for character in text.chars() {
            match character.is_control() {
                true => write!(f, "{}", character.escape_default())?,
                false => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

/// Every problem of an input, in the order of files and lines. Displays as one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    not_shown: usize,
}

impl Problems {
    /// Notes one.
    pub(super) fn add(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.list.len() == MAX_SHOWN {
            self.not_shown += 1;
            return;
        }
        self.list.push(Problem {
            place: place.clone(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// `Ok` if there is none.
    pub(super) fn into_result(mut self) -> Result<(), Self> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list
            .sort_by_key(|problem| (problem.place.file_number, problem.place.line));
        Err(self)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems, at most 1,000 of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.list.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        match self.not_shown {
            0 => Ok(()),
            number => write!(f, "\nand {number} more"),
        }
    }
}

impl std::error::Error for Problems {}
