//! From files to statements: lines, comments, quotes, braces, `include`.
//!
//! The rules are those of keepalived's `lib/parser.c`. What depends on more than the text (`@host`
//! lines, `$PARAMETERS`, `~SEQ` and `~LST`) is refused, each with its line: to guess at it would be to
//! import another configuration than the one that runs.

use std::path::{Path, PathBuf};

use super::{
    files::{self, Files},
    tree::{Builder, Statement},
};
use crate::{
    config::MAX_FILE_SIZE,
    import::problem::{Place, Problems},
};

/// Most files, and most lines that include some.
const MAX_FILES: usize = 1_000;
/// Deepest nesting of included files.
const MAX_INCLUDES: usize = 16;

/// What has been read.
pub(super) struct Input {
    pub(super) statements: Vec<Statement>,
    /// Patterns that nothing fits, which is no fault.
    pub(super) empty_patterns: Vec<(Place, String)>,
}

/// Reads a file and those that it includes.
pub(super) fn read(file: &Path, files: &dyn Files, problems: &mut Problems) -> Input {
    let mut reader = Reader {
        files,
        problems,
        builder: Builder::default(),
        empty_patterns: Vec::new(),
        stack: Vec::new(),
        next_number: 0,
        includes: 0,
        size_left: MAX_FILE_SIZE,
        in_definition: false,
        stopped: false,
    };
    reader.file(file, None);
    let Reader {
        builder,
        empty_patterns,
        ..
    } = reader;
    Input {
        statements: builder.finish(problems),
        empty_patterns,
    }
}

struct Reader<'r> {
    files: &'r dyn Files,
    problems: &'r mut Problems,
    builder: Builder,
    empty_patterns: Vec<(Place, String)>,
    /// The files that are being read, each included by the one before it.
    stack: Vec<PathBuf>,
    next_number: usize,
    includes: usize,
    /// Octets that may still be read, of all files together.
    size_left: u64,
    /// Whether the line belongs to a definition over several lines, which was refused.
    in_definition: bool,
    stopped: bool,
}

impl Reader<'_> {
    /// Reads a file, `included` by this line.
    fn file(&mut self, path: &Path, included: Option<&Place>) {
        let whole = Place {
            file: path.into(),
            file_number: self.next_number,
            line: 0,
        };
        let reported = included.unwrap_or(&whole).clone();
        let shown = path.display();
        let identity = self.files.identity(path);
        if self.stack.contains(&identity) {
            let what = format!("{shown} is included while it is being read");
            self.problems.add(&reported, what, "remove this include");
            return;
        }
        if self.next_number == MAX_FILES {
            let what = format!("more than {MAX_FILES} files");
            self.problems.add(&reported, what, "import them in parts");
            self.stopped = true;
            return;
        }
        if self.stack.len() == MAX_INCLUDES {
            let what = format!("files included by files, more than {MAX_INCLUDES} deep");
            let remedy = "put them into one file";
            self.problems.add(&reported, what, remedy);
            return;
        }
        let read = self
            .files
            .read(path, self.size_left + 1, included.is_some());
        let octets = match read {
            Ok(octets) => octets,
            Err(error) => {
                let what = format!("cannot read {shown}: {error}");
                let remedy = match included {
                    None => "name a keepalived.conf that you may read",
                    Some(_) => "keepalived passes over it: make it readable, or remove the include",
                };
                self.problems.add(&reported, what, remedy);
                return;
            }
        };
        let size = octets.len() as u64;
        if size > self.size_left {
            let what = "more than 4 MiB of configuration, included files among it";
            let remedy = "import it in parts";
            self.problems.add(&reported, what, remedy);
            self.stopped = true;
            return;
        }
        self.size_left -= size;
        self.next_number += 1;
        self.stack.push(identity);
        // Comments may be in any encoding. Where it matters a wrong character is noticed later.
        let text = String::from_utf8_lossy(&octets);
        for (line, text) in (1..).zip(text.split('\n')) {
            if self.stopped {
                break;
            }
            self.line(text, &whole.at(line));
        }
        self.in_definition = false;
        self.stack.pop();
    }

    fn line(&mut self, text: &str, place: &Place) {
        let Line {
            text,
            in_quotes,
            goes_on,
        } = bare(text);
        if std::mem::replace(&mut self.in_definition, false) {
            self.in_definition = goes_on;
            return;
        }
        if in_quotes {
            let what = "a \" without its other half";
            self.problems.add(place, what, "close it on the same line");
            return;
        }
        let text = text.trim();
        if is_definition(text) {
            self.in_definition = goes_on;
            let remedy = "write the value in the place of each parameter";
            self.problems
                .add(place, "a definition of a parameter is not read", remedy);
        } else if text.starts_with('@') {
            let remedy = "keep the lines that hold on this host, without @, and remove the others";
            self.problems
                .add(place, "a line for certain hosts is not read", remedy);
        } else if text.starts_with("~SEQ") || text.starts_with("~LST") {
            let remedy = "write out the lines that it stands for";
            self.problems
                .add(place, "a sequence of lines is not read", remedy);
        } else if goes_on {
            let what = "a \\ joins lines in definitions alone";
            self.problems.add(place, what, "write it on one line");
        } else if let Some(pattern) = included(text) {
            self.include(pattern, place);
        } else {
            self.pieces(text, place);
        }
    }

    /// Takes a line apart at its braces.
    fn pieces(&mut self, text: &str, place: &Place) {
        let mut in_quotes = false;
        let mut start = 0;
        for (at, character) in text.char_indices() {
            match character {
                '"' => in_quotes = !in_quotes,
                '{' | '}' if !in_quotes => {
                    self.words(&text[start..at], place);
                    start = at + 1;
                    match character {
                        '{' => self.builder.open(place, self.problems),
                        _ => self.builder.close(place, self.problems),
                    }
                }
                _ => {}
            }
        }
        self.words(&text[start..], place);
    }

    fn words(&mut self, text: &str, place: &Place) {
        let raw = text.trim();
        let goes_on = self.builder.words(place, words(raw), raw, self.problems);
        self.stopped |= !goes_on;
    }

    fn include(&mut self, pattern: &str, place: &Place) {
        self.includes += 1;
        if self.includes > MAX_FILES {
            let what = format!("more than {MAX_FILES} lines with include");
            self.problems.add(place, what, "import the file in parts");
            self.stopped = true;
            return;
        }
        let pattern = pattern.trim_matches('"');
        if pattern.is_empty() || pattern.contains(['{', '}', '$', '\\']) {
            let what = format!("include {pattern:?} is not understood");
            let remedy = "name a file, or files by *, ? and […]; write out what { } stand for";
            self.problems.add(place, what, remedy);
            return;
        }
        let directory = place.file.parent().unwrap_or(Path::new(""));
        let path = directory.join(pattern);
        if !files::is_pattern(pattern) {
            self.file(&path, Some(place));
            return;
        }
        match files::expand(self.files, &path) {
            Ok(matches) if matches.is_empty() => {
                self.empty_patterns
                    .push((place.clone(), pattern.to_owned()));
            }
            Ok(matches) => {
                for path in matches {
                    if self.stopped {
                        break;
                    }
                    self.file(&path, Some(place));
                }
            }
            Err(error) => {
                let what = format!("cannot find out what {pattern} stands for: {error}");
                self.problems.add(place, what, "name the files one by one");
            }
        }
    }
}

/// A line without its comment.
struct Line {
    text: String,
    /// A quotation is not closed.
    in_quotes: bool,
    /// The line ends in a backslash, which is not part of the text.
    goes_on: bool,
}

/// Removes the comment: from `!` or `#` on, unless quoted by `"`, or escaped by a backslash, which
/// then goes too.
fn bare(line: &str) -> Line {
    let line = line.trim_end_matches('\r');
    let mut text = String::with_capacity(line.len());
    let mut in_quotes = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                in_quotes = !in_quotes;
                text.push('"');
            }
            '\\' => match characters.next() {
                None => {
                    return Line {
                        text,
                        in_quotes,
                        goes_on: true,
                    };
                }
                Some(marker @ ('#' | '!')) if !in_quotes => text.push(marker),
                Some(escaped) => text.extend(['\\', escaped]),
            },
            '!' | '#' if !in_quotes => break,
            other => text.push(other),
        }
    }
    Line {
        text,
        in_quotes,
        goes_on: false,
    }
}

/// Whether a line is `$NAME=…`.
fn is_definition(text: &str) -> bool {
    let name = text
        .strip_prefix('$')
        .and_then(|rest| rest.split_once('='))
        .map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
    })
}

/// What follows `include`, or one of its variants, which differ in what is a fault to keepalived.
fn included(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("include")?;
    let rest = rest.strip_prefix(['r', 'm', 'w', 'b', 'a']).unwrap_or(rest);
    rest.starts_with([' ', '\t']).then(|| rest.trim())
}

/// Words, and what stands between `"`, which is a word of its own.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, quoted) in text.split('"').zip([false, true].into_iter().cycle()) {
        if quoted {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_ascii_whitespace().map(str::to_owned));
        }
    }
    words
}

#[cfg(test)]
mod tests;
