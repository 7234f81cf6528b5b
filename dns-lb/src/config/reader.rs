//! Takes keys from a TOML document one by one and remembers everything that is wrong on the way.
//!
//! Knows the shape of TOML and how to report; knows no key by name. A reading function returns
//! `None` exactly when a fault has been reported, so that the caller goes on and finds the rest.

use std::{cell::RefCell, fmt, ops::RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::{
    Choice,
    faults::{Fault, Faults, Lines},
    syntax::make_legible,
};

/// Where a value or a table stands.
#[derive(Clone)]
pub(super) struct Place {
    offset: usize,
    key: String,
}

/// Collects faults.
pub(super) struct Sink<'t> {
    lines: Lines<'t>,
    faults: RefCell<Vec<(Place, String, String)>>,
}

/// Reads a whole text: `read` takes what it wants from the root table.
///
/// # Errors
/// Every fault: of syntax, and those that `read` finds in what can be understood regardless.
///
/// # Panics
/// If `read` returns `None` without a report.
pub(super) fn read_document<T>(
    text: &str,
    read: impl FnOnce(Table<'_, '_>) -> Option<T>,
) -> Result<T, Faults> {
    let (legible, syntax_faults) = make_legible(text);
    let whole = syntax_faults.is_empty();
    let document = DeTable::parse_recoverable(&legible).0;
    let sink = Sink {
        lines: Lines::new(&legible),
        faults: RefCell::default(),
    };
    let root = Table {
        sink: &sink,
        place: Place {
            offset: 0,
            key: String::new(),
        },
        whole,
        entries: document.into_inner(),
        asked: Vec::new(),
    };
    let value = read(root);
    let faults = [syntax_faults, sink.into_faults()].concat();
    if faults.is_empty() {
        Ok(value.expect("a reading function that gives nothing reports why"))
    } else {
        Err(Faults::new(faults))
    }
}

impl Sink<'_> {
    pub(super) fn report(
        &self,
        place: &Place,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        let fault = (place.clone(), problem.into(), allowed.into());
        self.faults.borrow_mut().push(fault);
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, place: &Place) -> usize {
        self.lines.line(place.offset)
    }

    fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|(place, _, _)| place.offset);
        let columns = self
            .lines
            .columns(faults.iter().map(|fault| fault.0.offset));
        faults
            .into_iter()
            .zip(columns)
            .map(|((place, problem, allowed), column)| Fault {
                line: self.lines.line(place.offset),
                column,
                key: place.key,
                problem,
                allowed,
            })
            .collect()
    }
}

/// A table whose keys are being taken.
pub(super) struct Table<'r, 'i> {
    sink: &'r Sink<'r>,
    place: Place,
    /// Whether the text could be parsed: else a key that is missing may be one that was misspelt.
    whole: bool,
    entries: DeTable<'i>,
    asked: Vec<&'static str>,
}

impl<'r, 'i> Table<'r, 'i> {
    /// The value of a key that must be there. `example` shows how the key is written.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(Value<'r, 'i>) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key);
        if value.is_none() && self.whole {
            let place = Place {
                offset: self.place.offset,
                key: self.path(key),
            };
            self.sink
                .report(&place, "missing", format!("such as {example}"));
        }
        value.and_then(read)
    }

    /// The value of a key, or the default where the key is not there.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'r, 'i>) -> Option<T>,
    ) -> Option<T> {
        match self.take(key) {
            Some(value) => read(value),
            None => Some(default),
        }
    }

    /// Reports a fault of a key that has been read, once more is known than its value.
    pub(super) fn report(&self, key: &str, problem: &str, allowed: &str) {
        let place = Place {
            offset: self.place.offset,
            key: self.path(key),
        };
        self.sink.report(&place, problem, allowed);
    }

    /// The table under a key; an empty one where the key is not there.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'r, 'i>> {
        let absent = Table {
            sink: self.sink,
            place: Place {
                offset: self.place.offset,
                key: self.path(key),
            },
            whole: self.whole,
            entries: DeTable::new(),
            asked: Vec::new(),
        };
        self.optional(key, absent, Value::table)
    }

    /// Refuses the keys that nobody has asked for.
    pub(super) fn finish(self) {
        let allowed = format!("the keys {}", self.asked.join(", "));
        for name in self.entries.keys() {
            let place = Place {
                offset: name.span().start,
                key: self.path(&written(name.get_ref())),
            };
            let problem = match nearest(name.get_ref(), &self.asked) {
                Some(key) => format!("unknown key, perhaps {key} is meant"),
                None => "unknown key".to_owned(),
            };
            self.sink.report(&place, problem, &allowed);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value<'r, 'i>> {
        self.asked.push(key);
        let value = self.entries.remove(key)?;
        Some(Value {
            sink: self.sink,
            place: Place {
                offset: value.span().start,
                key: self.path(key),
            },
            whole: self.whole,
            value: value.into_inner(),
        })
    }

    fn path(&self, key: &str) -> String {
        if self.place.key.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.place.key)
        }
    }
}

/// A value that is about to be read.
pub(super) struct Value<'r, 'i> {
    pub(super) sink: &'r Sink<'r>,
    pub(super) place: Place,
    whole: bool,
    value: DeValue<'i>,
}

impl<'r, 'i> Value<'r, 'i> {
    /// A string that `parse` takes; what it says otherwise follows the string in the report.
    pub(super) fn text<T>(
        self,
        allowed: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let DeValue::String(text) = &self.value else {
            return self.refuse_type(allowed);
        };
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                let problem = format!("{} {problem}", quoted(text));
                self.sink.report(&self.place, problem, allowed);
                None
            }
        }
    }

    /// One of the words that a type has.
    pub(super) fn choice<T: Choice>(self) -> Option<T> {
        self.word(T::CHOICES)
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = words.iter().map(|(name, _)| quoted(name)).collect();
        self.text(&names.join(", "), |text| {
            let known = words.iter().find(|(name, _)| *name == text);
            known.map(|&(_, value)| value).ok_or("is not known")
        })
    }

    /// An integer within a range.
    pub(super) fn integer<T>(self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + fmt::Display,
    {
        let allowed = format!("an integer from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = &self.value else {
            return self.refuse_type(&allowed);
        };
        let parsed = i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number));
        if parsed.is_none() {
            // The parser lets more than digits pass for an integer.
            let problem = format!("{} is out of range", written(&integer.to_string()));
            self.sink.report(&self.place, problem, allowed);
        }
        parsed
    }

    /// True or false.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(boolean) => Some(boolean),
            _ => self.refuse_type("true or false"),
        }
    }

    /// A list of at least one value, each of which `read` takes.
    pub(super) fn each<T>(
        self,
        allowed: &str,
        mut read: impl FnMut(Value<'r, 'i>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(values) = self.value else {
            return self.refuse_type(allowed);
        };
        if values.is_empty() {
            self.sink.report(&self.place, "empty", allowed);
            return None;
        }
        // All are read before the first failure counts.
        let read: Vec<Option<T>> = values
            .into_iter()
            .enumerate()
            .map(|(index, value)| {
                read(Value {
                    sink: self.sink,
                    place: Place {
                        offset: value.span().start,
                        key: format!("{}[{}]", self.place.key, index + 1),
                    },
                    whole: self.whole,
                    value: value.into_inner(),
                })
            })
            .collect();
        read.into_iter().collect()
    }

    /// A table.
    pub(super) fn table(self) -> Option<Table<'r, 'i>> {
        let DeValue::Table(entries) = self.value else {
            return self.refuse_type("a table");
        };
        Some(Table {
            sink: self.sink,
            place: self.place,
            whole: self.whole,
            entries,
            asked: Vec::new(),
        })
    }

    fn refuse_type<T>(&self, allowed: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.sink
            .report(&self.place, format!("{found} is of no use here"), allowed);
        None
    }
}

/// How much of a text from the file a report repeats, in characters.
const REPEATED: usize = 64;

/// A text in quotes, on one line and of bounded length.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A key or an integer as it is written in TOML; in quotes if it could not be bare.
fn written(text: &str) -> String {
    let bare = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'-';
    if !text.is_empty() && text.len() <= REPEATED && text.bytes().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// The key that was probably meant.
fn nearest<'k>(name: &str, keys: &[&'k str]) -> Option<&'k str> {
    let close = |key: &&str| {
        name.len() <= REPEATED && strsim::damerau_levenshtein(name, key) <= 1 + key.len() / 5
    };
    keys.iter()
        .copied()
        .filter(close)
        .min_by_key(|key| strsim::damerau_levenshtein(name, key))
}
