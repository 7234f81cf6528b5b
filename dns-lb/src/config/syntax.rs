//! Makes a text legible that is not quite TOML, so that the rest of it can be judged as well.

use std::{borrow::Cow, collections::BTreeSet};

use toml::de::DeTable;

use super::faults::{Fault, Lines};

/// How often a text is mended. What one fault hides from the parser shows in the next round, and
/// few faults hide others.
const ROUNDS: usize = 16;

/// A text that parses as far as that could be had, its lines at their old places, and what was
/// wrong with it.
pub(super) fn make_legible(text: &str) -> (Cow<'_, str>, Vec<Fault>) {
    let mut legible = Cow::Borrowed(text);
    let mut faults = Vec::new();
    let mut mended = BTreeSet::new();
    for _ in 0..ROUNDS {
        let errors = DeTable::parse_recoverable(&legible).1;
        let found = locate(&legible, &errors, &mended);
        if found.is_empty() {
            break;
        }
        let broken: BTreeSet<usize> = found.iter().map(|fault| fault.line).collect();
        faults.extend(found);
        let lines = legible.split_inclusive('\n').enumerate();
        let text: String = lines
            .map(|(index, line)| match broken.contains(&(index + 1)) {
                true => Cow::Owned(mend(line)),
                false => Cow::Borrowed(line),
            })
            .collect();
        legible = Cow::Owned(text);
        mended.extend(broken);
    }
    (legible, faults)
}

/// The first fault of each line that has not been mended yet. What the parser says further of a
/// line comes of the first, and what it says of a mended one comes of the mending.
fn locate(text: &str, errors: &[toml::de::Error], mended: &BTreeSet<usize>) -> Vec<Fault> {
    let lines = Lines::new(text);
    let mut errors: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| {
            let offset = error.span().map_or(text.len(), |span| span.start);
            (offset, error.message())
        })
        .collect();
    errors.sort_unstable();
    errors.dedup_by_key(|&mut (offset, _)| lines.line(offset));
    let columns = lines.columns(errors.iter().map(|&(offset, _)| offset));
    errors
        .iter()
        .zip(columns)
        .map(|(&(offset, message), column)| Fault {
            line: lines.line(offset),
            column,
            key: "syntax".to_owned(),
            problem: message.to_owned(),
            allowed: "TOML (https://toml.io)".to_owned(),
        })
        .filter(|fault| !mended.contains(&fault.line))
        .collect()
}

/// A header that names a table is completed, since what follows belongs there; any other line is
/// left empty.
fn mend(line: &str) -> String {
    let end_of_line = if line.ends_with('\n') { "\n" } else { "" };
    let opened = line.trim_start();
    let key_start = opened.trim_start_matches('[');
    let is_key = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let key = &key_start[..key_start.find(|c| !is_key(c)).unwrap_or(key_start.len())];
    if key.is_empty() || !opened.starts_with('[') {
        end_of_line.to_owned()
    } else if opened.starts_with("[[") || opened.contains("]]") {
        format!("[[{key}]]{end_of_line}")
    } else {
        format!("[{key}]{end_of_line}")
    }
}
