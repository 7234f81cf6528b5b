//! What is shipped for Prometheus and Grafana, as tests read it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// What the names of all metrics begin with.
const PREFIX: &str = "dns_lb_";

/// A file of the repository.
#[must_use]
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text of a file of the repository.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &str) -> Result<String> {
    fs::read_to_string(shipped(path)).with_context(|| format!("reading {path}"))
}

/// A metric that `docs/monitoring.md` has in its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Its whole name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
}

/// All of them.
///
/// # Errors
/// The file cannot be read.
pub fn documented() -> Result<BTreeSet<Metric>> {
    let text = read("docs/monitoring.md")?;
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next()?.trim_matches('`');
        let kind = cells.next()?;
        name.starts_with(PREFIX).then(|| Metric {
            name: name.to_owned(),
            kind: kind.to_owned(),
        })
    });
    Ok(rows.collect())
}

/// The names of the series that these metrics come as.
#[must_use]
pub fn series(metrics: &BTreeSet<Metric>) -> BTreeSet<String> {
    let names = metrics.iter().flat_map(|Metric { name, kind }| {
        let parts: &[&str] = match kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        parts.iter().map(move |part| format!("{name}{part}"))
    });
    names.collect()
}

/// The names of metrics that a text speaks of.
#[must_use]
pub fn spoken_of(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter))
        .filter(|word| word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

/// What the dashboard asks Prometheus, by the title of the panel, with a choice of everything and this
/// interval for rates.
///
/// # Errors
/// The dashboard is no JSON, or has a panel without a question.
pub fn dashboard(rate_interval: &str) -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&read("examples/grafana/dns-lb.json")?)?;
    let mut questions = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        let title = panel["title"].as_str().context("a title")?;
        let targets = panel["targets"].as_array();
        let targets = targets.filter(|targets| !targets.is_empty());
        for target in targets.with_context(|| format!("{title}: no targets"))? {
            let question = target["expr"].as_str().context("an expression")?;
            let question = question
                .replace("$__rate_interval", rate_interval)
                .replace("$job", ".*")
                .replace("$instance", ".*")
                .replace("$service", ".*");
            questions.push((title.to_owned(), question));
        }
    }
    Ok(questions)
}
