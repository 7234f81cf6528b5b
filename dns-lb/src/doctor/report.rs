//! What the checks have found, in order.

use std::fmt;

use serde::Serialize;

use super::{Agent, Id};

/// How bad it is. Ordered: the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients get no answer, or will not.
    Error,
    /// It works now, or for some, or more slowly than it might.
    Warning,
    /// The check could not be made: nothing is known.
    Skipped,
    /// Worth knowing.
    Info,
    /// Looked at, and right.
    Ok,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
            Self::Info => "info",
            Self::Ok => "ok",
        })
    }
}

/// A check that was made, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub id: Id,
    /// What came of it.
    pub severity: Severity,
    /// What it is about, such as `host`, `eth0`, `resolvers/dns1`, `192.0.2.53`.
    pub subject: String,
    /// What was seen, or why nothing was; one line.
    pub evidence: String,
    /// What to do, in one line; `None`: nothing.
    pub remedy: Option<String>,
    /// Where it is explained.
    pub doc: String,
}

/// All checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of this command.
    pub version: String,
    /// Whether an agent runs here.
    pub agent_runs: bool,
    /// The worst first, and then in the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// How many checks came to this.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.severity == severity).count()
    }
}

/// What is being filled in.
#[derive(Debug, Default)]
pub(super) struct Sheet(Vec<Check>);

impl Sheet {
    pub(super) fn find(
        &mut self,
        id: Id,
        severity: Severity,
        subject: impl ToString,
        evidence: impl ToString,
        remedy: impl ToString,
    ) {
        let remedy = Some(remedy.to_string());
        self.write(id, severity, subject, evidence, remedy);
    }

    /// It was looked at, and is right.
    pub(super) fn pass(&mut self, id: Id, subject: impl ToString, evidence: impl ToString) {
        self.write(id, Severity::Ok, subject, evidence, None);
    }

    /// It could not be looked at.
    pub(super) fn skip(&mut self, id: Id, subject: impl ToString, why: impl ToString) {
        self.write(id, Severity::Skipped, subject, why, None);
    }

    fn write(
        &mut self,
        id: Id,
        severity: Severity,
        subject: impl ToString,
        evidence: impl ToString,
        remedy: Option<String>,
    ) {
        self.0.push(Check {
            id,
            severity,
            subject: subject.to_string(),
            evidence: one_line(&evidence.to_string()),
            remedy: remedy.map(|remedy| one_line(&remedy)),
            doc: id.doc(),
        });
    }

    pub(super) fn report(mut self, agent: &Agent) -> Report {
        self.0.sort_by_key(|check| check.severity);
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_runs: agent.runs(),
            checks: self.0,
        }
    }

    #[cfg(test)]
    pub(super) fn found(&self) -> Vec<(Severity, &'static str, &str)> {
        let checks = self.0.iter();
        checks
            .filter(|check| check.severity != Severity::Ok)
            .map(|check| (check.severity, check.id.name(), check.subject.as_str()))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn passed(&self) -> Vec<&'static str> {
        let checks = self.0.iter();
        checks
            .filter(|check| check.severity == Severity::Ok)
            .map(|check| check.id.name())
            .collect()
    }
}

/// Some of it is a server's word, or a file's.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
