//! `dns-lb doctor` in a lab that is as it should be, and in the same with one thing broken at a time: it
//! finds that and nothing else.

mod balancer;
mod servers;

use std::{collections::BTreeSet, fmt, process::Command};

use dns_lb_tests::{Node, agent, machine, process};
use serde_json::Value;

use crate::stage::binary;

/// The machine's own, which no lab changes.
const OF_THE_MACHINE: &str = "clock-unsynchronised";

/// What the doctor goes by the kernel's word for, which says nothing of it before Linux 6.3.
const UNTOLD: [&str; 2] = ["xdp-cannot-send", "xdp-generic"];

/// What a check came to that did not pass.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    severity: String,
    id: String,
    subject: String,
}

impl Finding {
    fn new(severity: &str, id: &str, subject: &str) -> Self {
        Self {
            severity: severity.to_owned(),
            id: id.to_owned(),
            subject: subject.to_owned(),
        }
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity, self.id, self.subject)
    }
}

/// A host on which the doctor is called.
struct Practice {
    node: Node,
    /// What it finds when nothing is broken.
    usual: BTreeSet<Finding>,
}

impl Practice {
    /// Calls the doctor when nothing is broken.
    fn open(node: &Node, usual: &[(&str, &str, &str)]) -> Self {
        let practice = Self {
            node: node.clone(),
            usual: findings(usual),
        };
        practice.expect("nothing is broken", &[], &[]);
        practice
    }

    /// Calls the doctor: beside what is usual it finds these, and of that lacks those, by id and subject.
    fn expect(&self, what: &str, more: &[(&str, &str, &str)], less: &[(&str, &str)]) {
        self.expect_with(what, &[], more, less);
    }

    fn expect_with(
        &self,
        what: &str,
        arguments: &[&str],
        more: &[(&str, &str, &str)],
        less: &[(&str, &str)],
    ) {
        let mut command = Command::new(binary());
        command.args(["doctor", "--json"]).args(arguments);
        self.expect_of(what, command, more, less);
    }

    fn expect_of(
        &self,
        what: &str,
        command: Command,
        more: &[(&str, &str, &str)],
        less: &[(&str, &str)],
    ) {
        let output = self.node.output(command).expect("the doctor");
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let document: Value = serde_json::from_str(&words).unwrap_or_else(|error| {
            panic!(
                "{what}: {error}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        let checks = document["checks"].as_array().expect("checks");
        let mut found: BTreeSet<Finding> = checks
            .iter()
            .filter(|check| check["severity"] != "ok" && check["id"] != OF_THE_MACHINE)
            .map(|check| {
                let text = |field: &str| check[field].as_str().expect("text").to_owned();
                assert_eq!(text("doc"), format!("docs/doctor.md#{}", text("id")));
                Finding {
                    severity: text("severity"),
                    id: text("id"),
                    subject: text("subject"),
                }
            })
            .collect();

        let mut expected = self.usual.clone();
        expected.retain(|finding| !less.contains(&(&finding.id, &finding.subject)));
        expected.extend(findings(more));
        if machine::kernel_is_before(6, 3) {
            // Then it says that it has skipped them, and is right about those that it sees all the same.
            let is_untold = |finding: &Finding| UNTOLD.contains(&finding.id.as_str());
            found.retain(|finding| !is_untold(finding) || finding.severity != "skipped");
            expected.retain(|finding| !is_untold(finding) || found.contains(finding));
        }
        assert_eq!(found, expected, "{what}:\n{words}");

        let has_error = found.iter().any(|finding| finding.severity == "error");
        assert_eq!(output.status.code(), Some(i32::from(has_error)), "{what}");
    }
}

fn findings(rows: &[(&str, &str, &str)]) -> BTreeSet<Finding> {
    let rows = rows.iter();
    rows.map(|(severity, id, subject)| Finding::new(severity, id, subject))
        .collect()
}

/// The doctor, by somebody who lacks this capability.
fn without(capability: &str) -> Command {
    let mut command = process::program("setpriv");
    command.arg(format!("--bounding-set=-{capability}"));
    command.arg(binary()).args(["doctor", "--json"]);
    command
}

/// Writes another configuration on a host, and returns where.
fn other_configuration(node: &Node, text: &str) -> &'static str {
    const OTHER: &str = "/etc/dns-lb/other.toml";
    assert_ne!(OTHER, agent::CONFIG);
    node.write(OTHER, text).expect("a configuration file");
    OTHER
}
