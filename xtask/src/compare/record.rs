//! The records of a comparison: a file a part, kept beside the page that is drawn from them.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::Path,
};

use anyhow::Context as _;
use dns_lb_tests::comparison::{CostRow, FailoverRow, MailRow, Part, Skipped};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// All that has been measured; `None` is what has not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Records {
    /// On the machine that this was run on.
    pub(super) here: Place,
    /// In an emulated machine, with another kernel.
    pub(super) emulated: Place,
    pub(super) scale: Option<Scale>,
}

/// What the benchmark `compare` and the tests have shown in one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) mail: Option<Part<MailRow>>,
    pub(super) failover: Option<Part<FailoverRow>>,
    pub(super) cost: Option<Part<CostRow>>,
    pub(super) kernel: Option<Kernel>,
}

/// What dns-lb costs with few and many servers and services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    /// Processor and kernel, a line each.
    pub(super) machine: Vec<String>,
    /// Whether it was as short as can be.
    pub(super) quick: bool,
    /// What was not measured.
    #[serde(default)]
    pub(super) skipped: Vec<Skipped>,
    pub(super) agent: Vec<AgentRow>,
    pub(super) packets: Vec<PacketRow>,
    /// Nanoseconds a packet of the least program that could steer, in the rounds of the packets.
    pub(super) floor_ns: Vec<f64>,
}

/// The agent with a farm of some size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AgentRow {
    pub(super) servers: u32,
    pub(super) services: u32,
    /// Servers, once for each service that they are of.
    pub(super) backends: u32,
    pub(super) probes_per_second: f64,
    /// Percent of one core.
    pub(super) cpu_percent: f64,
    /// The most since it was started.
    pub(super) most_resident_mb: f64,
    /// How late the latest probe began.
    pub(super) latest_probe_ms: f64,
    /// From a change until packets went by the new tables, one each time.
    pub(super) table_ms: Vec<f64>,
}

/// What a packet costs with the tables of such a farm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PacketRow {
    pub(super) servers: u32,
    pub(super) services: u32,
    pub(super) backends: u32,
    /// Nanoseconds a packet of one flow, one a round.
    pub(super) one_flow_ns: Vec<f64>,
    /// Nanoseconds a packet of many flows, one a round.
    pub(super) many_flows_ns: Vec<f64>,
}

/// The test suites on a kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kernel {
    /// As it names itself.
    pub(super) kernel: String,
    /// Whether only the packet tests were run.
    #[serde(default)]
    pub(super) quick: bool,
    pub(super) suites: Vec<Suite>,
}

/// A test suite on a kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) passed: usize,
    pub(super) failed: usize,
    #[serde(default)]
    pub(super) left_out: Vec<LeftOut>,
    /// The names of those that failed.
    #[serde(default)]
    pub(super) failures: Vec<String>,
}

/// A test that was not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) test: String,
    pub(super) why: String,
}

impl Records {
    /// Reads those that there are in a folder.
    ///
    /// # Errors
    /// One is there, and cannot be read.
    pub(super) fn load(folder: &Path) -> anyhow::Result<Self> {
        let place = |place: &str| -> anyhow::Result<Place> {
            Ok(Place {
                mail: load(folder, &format!("{place}-mail"))?,
                failover: load(folder, &format!("{place}-failover"))?,
                cost: load(folder, &format!("{place}-cost"))?,
                kernel: load(folder, &format!("{place}-kernel"))?,
            })
        };
        Ok(Self {
            here: place("here")?,
            emulated: place("emulated")?,
            scale: load(folder, "scale")?,
        })
    }

    /// The tests that have failed on either kernel, by its name.
    pub(super) fn failed_tests(&self) -> Vec<String> {
        let places = self.places();
        let kernels = places.iter().filter_map(|(_, place)| place.kernel.as_ref());
        kernels
            .flat_map(|kernel| {
                let failures = kernel.suites.iter().flat_map(|suite| &suite.failures);
                failures.map(|test| format!("{test} on {}", kernel.kernel))
            })
            .collect()
    }

    /// The places, as the page names them.
    pub(super) fn places(&self) -> [(&'static str, &Place); 2] {
        [("host", &self.here), ("emulated", &self.emulated)]
    }
}

fn load<T: DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<Option<T>> {
    let path = folder.join(name).with_extension("json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let record = serde_json::from_str(&text).with_context(|| {
        let path = path.display();
        format!("{path} is no record of this version: measure it anew, or remove it")
    })?;
    Ok(Some(record))
}

/// Writes a record, rounded so that it is short.
pub(super) fn save(folder: &Path, name: &str, record: &impl Serialize) -> anyhow::Result<()> {
    let mut text = String::new();
    write_value(&mut text, &serde_json::to_value(record)?, 0);
    text.push('\n');
    replace(&folder.join(name).with_extension("json"), &text)
}

/// Writes a file as a whole or not at all.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.persist(path)?;
        anyhow::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Objects a field a line, lists of numbers in one line, numbers with four digits: a record measured
/// anew differs in few lines, and a time line of a thousand steps is one.
fn write_value(text: &mut String, value: &Value, depth: usize) {
    let (open, close, items): (_, _, Vec<(Option<&str>, &Value)>) = match value {
        Value::Object(fields) if !fields.is_empty() => {
            let named = fields
                .iter()
                .map(|(name, value)| (Some(name.as_str()), value));
            ('{', '}', named.collect())
        }
        Value::Array(values) if values.iter().any(|value| !value.is_number()) => {
            ('[', ']', values.iter().map(|value| (None, value)).collect())
        }
        Value::Array(values) => {
            let numbers: Vec<String> = values.iter().map(number).collect();
            *text += &format!("[{}]", numbers.join(", "));
            return;
        }
        scalar => {
            *text += &number(scalar);
            return;
        }
    };
    text.push(open);
    for (place, (name, value)) in items.into_iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        *text += &format!("{comma}\n{}", "  ".repeat(depth + 1));
        if let Some(name) = name {
            *text += &format!("{}: ", Value::from(name));
        }
        write_value(text, value, depth + 1);
    }
    *text += &format!("\n{}{close}", "  ".repeat(depth));
}

/// A number with four significant digits if it is no whole one; anything else as it is.
fn number(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) => {
            let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
            Value::from(rounded).to_string()
        }
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_short_and_read_as_what_they_were() {
        let record = json!({
            "machine": ["a", "b"],
            "timeline": [1.0, 0.123_456, 0.0],
            "rate": 1_234_567.8,
            "count": 1_234_567,
            "rows": [],
            "nothing": {},
        });
        let mut text = String::new();
        write_value(&mut text, &record, 0);
        assert_eq!(
            text,
            "{\n  \"machine\": [\n    \"a\",\n    \"b\"\n  ],\n  \"timeline\": [1.0, 0.1235, 0.0],\n  \
             \"rate\": 1235000.0,\n  \"count\": 1234567,\n  \"rows\": [],\n  \"nothing\": {}\n}"
        );
        serde_json::from_str::<Value>(&text).expect("JSON");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(
            Records::load(folder.path()).expect("none"),
            Records::default()
        );
        replace(&folder.path().join("here-mail.json"), "{}").expect("written");
        let error = Records::load(folder.path()).expect_err("no record");
        assert!(error.to_string().contains("here-mail.json"), "{error}");
    }
}
