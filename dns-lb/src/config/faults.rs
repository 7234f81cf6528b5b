//! What is wrong with a configuration file, and where.

use std::{fmt, path::Path};

use serde::Serialize;

/// One fault, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
    /// Path of the key, such as `service[1].backend[2].weight`, counted from 1; `syntax` where the
    /// text is not TOML.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What may stand there instead.
    pub allowed: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            key,
            problem,
            allowed,
        } = self;
        write!(f, "{line}:{column}: {key}: {problem}; allowed: {allowed}")
    }
}

/// Every fault of a text, at least one, in the order of their places. Displays as one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts the faults by place.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Self(faults)
    }

    /// The faults, in the order of their places.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// The report with the file's name before each line, in the form that editors jump to.
    #[must_use]
    pub fn in_file(&self, file: &Path) -> String {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|fault| format!("{}:{fault}", file.display()))
            .collect();
        lines.join("\n")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Faults {}

/// Where the lines of a text begin.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// The line, from 1, that holds the octet at `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    /// Columns, from 1, of offsets that are sorted. One walk over the text, however many of them
    /// fall on one long line.
    pub(super) fn columns(&self, offsets: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut at = 0;
        let mut column = 1;
        offsets
            .into_iter()
            .map(|offset| {
                let line_start = self.starts[self.line(offset) - 1];
                if at < line_start {
                    (at, column) = (line_start, 1);
                }
                let end = self.text.floor_char_boundary(offset);
                if at < end {
                    column += self.text[at..end].chars().count();
                    at = end;
                }
                column
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_not_octets() {
        let text = "ä = 1\n\nb = 'ö' x";
        let lines = Lines::new(text);
        let offsets = [0, 2, 7, 8, text.len() - 1, text.len()];
        assert_eq!(offsets.map(|at| lines.line(at)), [1, 1, 2, 3, 3, 3]);
        assert_eq!(lines.columns(offsets), [1, 2, 1, 1, 9, 10]);
    }
}
