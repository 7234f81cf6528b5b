//! Statements and blocks: the shape of a `keepalived.conf`, before anything is made of its words.

use crate::import::problem::{Place, Problems};

/// Deepest nesting of blocks; keepalived has five levels.
const MAX_DEPTH: usize = 16;
/// Most statements of a configuration and what it includes: a farm of 4,096 servers has some 40,000.
const MAX_STATEMENTS: usize = 200_000;

/// Words of one line, and the block that follows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    /// At least one; without quotes.
    pub(super) words: Vec<String>,
    /// The line as it stands, without comment and braces: commands have a quoting of their own.
    pub(super) raw: String,
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    /// The word that says what it is.
    pub(super) fn keyword(&self) -> &str {
        &self.words[0]
    }

    /// What follows the keyword.
    pub(super) fn arguments(&self) -> &[String] {
        &self.words[1..]
    }

    /// The statements in its block.
    pub(super) fn statements(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Puts statements together from what lines consist of.
#[derive(Default)]
pub(super) struct Builder {
    /// Blocks that are open, the outermost first.
    open: Vec<Statement>,
    top: Vec<Statement>,
    count: usize,
    /// Blocks beyond the deepest, which are not kept.
    beyond: usize,
}

impl Builder {
    /// Takes the words of a line. `false`: there are too many, and nothing more is to be read.
    pub(super) fn words(
        &mut self,
        place: &Place,
        words: Vec<String>,
        raw: &str,
        problems: &mut Problems,
    ) -> bool {
        if words.is_empty() || self.beyond > 0 {
            return true;
        }
        if self.count == MAX_STATEMENTS {
            let what = format!("more than {MAX_STATEMENTS} statements");
            problems.add(place, what, "import the file in parts");
            return false;
        }
        self.count += 1;
        self.level().push(Statement {
            place: place.clone(),
            words,
            raw: raw.to_owned(),
            block: None,
        });
        true
    }

    /// Takes a `{`: what follows belongs to the statement before it.
    pub(super) fn open(&mut self, place: &Place, problems: &mut Problems) {
        if self.beyond > 0 || self.open.len() == MAX_DEPTH {
            if self.beyond == 0 {
                let what = format!("blocks in blocks, more than {MAX_DEPTH} deep");
                problems.add(place, what, "remove braces that are too many");
            }
            self.beyond += 1;
            return;
        }
        let before = self.level().pop_if(|statement| statement.block.is_none());
        let mut opener = before.unwrap_or_else(|| {
            let what = "a { with nothing before it";
            problems.add(place, what, "name the block, or remove the braces");
            Statement {
                place: place.clone(),
                words: vec![String::new()],
                raw: String::new(),
                block: None,
            }
        });
        opener.block = Some(Vec::new());
        self.open.push(opener);
    }

    /// Takes a `}`.
    pub(super) fn close(&mut self, place: &Place, problems: &mut Problems) {
        if self.beyond > 0 {
            self.beyond -= 1;
            return;
        }
        match self.open.pop() {
            // What had no name has been reported, and is of no use.
            Some(closed) if closed.words[0].is_empty() => {}
            Some(closed) => self.level().push(closed),
            None => problems.add(place, "a } that closes nothing", "remove it"),
        }
    }

    /// The statements at the top, when there is no more to read.
    pub(super) fn finish(mut self, problems: &mut Problems) -> Vec<Statement> {
        while let Some(unclosed) = self.open.pop() {
            // What had no name has been reported, and is of no use.
            if !unclosed.keyword().is_empty() {
                let what = format!("{} {{ is not closed", unclosed.keyword());
                problems.add(&unclosed.place, what, "add the missing }");
                self.level().push(unclosed);
            }
        }
        self.top
    }

    fn level(&mut self) -> &mut Vec<Statement> {
        match self.open.last_mut() {
            Some(opener) => opener.block.get_or_insert_default(),
            None => &mut self.top,
        }
    }
}
