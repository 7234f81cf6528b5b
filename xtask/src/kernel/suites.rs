//! The test binaries: which there are, what they need in the machine, which tests are no use there, and
//! how the others are dealt out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use crate::{
    binary,
    machine::{self, Job, Kernel, Outcome},
    process::{cargo, executables, run_quietly},
    setup,
    test::KERNEL_TESTS,
};

/// Where the tests are in the machine.
const TESTS: &str = "/tests";

/// How many tests of a suite go into one machine at most, so that there is something to deal out, and so
/// that one which stops a machine takes few others with it.
const SHARE: usize = 20;

/// Has the tests built for an emulated machine, with gentler loads, and tells them that they are in one.
const EMULATED: &str = "DNS_LB_EMULATED";

/// How long a share may take by our time, several times what it needs.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The same by the machine's time, in seconds. Waiting takes none of ours: what hangs is found soon.
const LIMIT_INSIDE: u32 = 2 * 60 * 60;

/// Modules that are loaded at the start: nobody asks for them by name.
const MODULES: [&str; 8] = [
    "bonding", "dummy", "ifb", "macvlan", "overlay", "tun", "veth", "vxlan",
];

/// Test binaries that are no [`Suite`]: what Prometheus makes of our files, and Debian's package.
#[cfg(test)]
const ASK_NO_KERNEL: [&str; 2] = ["monitoring", "package"];

/// A test binary of the lab's crate that asks something of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Suite {
    Packet,
    Lab,
    Link,
    Neighbor,
    Probe,
    #[value(name = "end_to_end")]
    EndToEnd,
}

/// Tests that are left out, by the suite and what their names begin with, and why.
const LEFT_OUT: [(Suite, &str, &str); 3] = [
    (
        Suite::EndToEnd,
        "flood::",
        "a flood is what the machine cannot carry",
    ),
    (
        Suite::EndToEnd,
        "page::",
        "a browser would take the machine hours to start, and knows no kernel",
    ),
    (
        Suite::EndToEnd,
        "docs::every_command_of_the_documentation_runs",
        "it asks cargo, which is not in the machine",
    ),
];

impl Suite {
    /// What cargo calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Lab => "lab",
            Self::Link => "link",
            Self::Neighbor => "neighbor",
            Self::Probe => "probe",
            Self::EndToEnd => "end_to_end",
        }
    }

    /// The packages whose programs its tests run.
    fn packages(self) -> Vec<&'static str> {
        let mut packages = setup::lab_packages();
        // A hundred megabytes.
        packages.retain(|&package| self == Self::EndToEnd || package != "prometheus");
        packages
    }
}

/// A test that is not run, and why not.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct LeftOut {
    pub(super) test: String,
    pub(super) why: &'static str,
}

/// The tests of a suite.
pub(super) struct Tests {
    pub(super) to_run: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Tests of one suite that one machine runs.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) suite: Suite,
    number: usize,
    pub(super) tests: Vec<String>,
}

impl Share {
    /// Deals the tests out like cards: neighbours, which are alike, come into different shares.
    pub(super) fn deal(suite: Suite, tests: Vec<String>) -> Vec<Self> {
        let number = tests.len().div_ceil(SHARE);
        let mut shares: Vec<Self> = (1..=number)
            .map(|number| Self {
                suite,
                number,
                tests: Vec::new(),
            })
            .collect();
        for (place, test) in tests.into_iter().enumerate() {
            shares[place % number].tests.push(test);
        }
        shares
    }

    /// What it is called, which no other is.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.suite.name(), self.number)
    }
}

/// The binaries that are run in the machine, built like those that are shipped: an emulated machine is
/// slow, and its figures are to be theirs.
pub(super) struct Built {
    agent: PathBuf,
    /// By the name of the target.
    executables: BTreeMap<String, PathBuf>,
    /// The root of the tree, where tests find what they read.
    tree: PathBuf,
}

impl Built {
    pub(super) fn build(suites: &[Suite]) -> anyhow::Result<Self> {
        let agent = binary::build()?;
        let mut build = cargo();
        build.args(["test", "--no-run", "--locked", "--release"]);
        build.args(["--package", KERNEL_TESTS]);
        build.env(EMULATED, "1");
        for suite in suites {
            build.args(["--test", suite.name()]);
        }
        Ok(Self {
            agent,
            executables: executables(&mut build)?,
            tree: std::path::absolute(".")?,
        })
    }

    fn executable(&self, suite: Suite) -> anyhow::Result<&Path> {
        let path = self.executables.get(suite.name());
        path.map(PathBuf::as_path)
            .with_context(|| format!("cargo named no test binary {}", suite.name()))
    }

    /// The tests of a suite whose names have one of these in them; without any, all.
    ///
    /// # Errors
    /// Of those that are to be left out there are none.
    pub(super) fn tests(&self, suite: Suite, filters: &[String]) -> anyhow::Result<Tests> {
        let listed = run_quietly(Command::new(self.executable(suite)?).arg("--list"))?;
        let tests: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .collect();
        sort(suite, &tests, filters)
    }

    /// Runs a share of the tests in a machine.
    pub(super) fn run(
        &self,
        kernel: &Kernel,
        share: &Share,
        print: impl FnMut(&str),
    ) -> anyhow::Result<Outcome> {
        let there = Path::new(TESTS).join(share.suite.name());
        let mut command = vec![
            "timeout".to_owned(),
            "--signal=KILL".to_owned(),
            LIMIT_INSIDE.to_string(),
            there.display().to_string(),
            "--color=never".to_owned(),
            // There is one CPU; what waits, waits for nothing.
            "--test-threads=1".to_owned(),
            "--exact".to_owned(),
        ];
        command.extend(share.tests.iter().cloned());
        let mut files = vec![
            (self.executable(share.suite)?.to_owned(), there),
            (self.agent.clone(), self.agent.clone()),
            (self.tree.clone(), self.tree.clone()),
        ];
        // The binary beside the tests, by the place that is compiled into them.
        files.extend(
            self.executables
                .iter()
                .filter(|(name, _)| name.as_str() == "lab-child")
                .map(|(_, path)| (path.clone(), path.clone())),
        );
        let agent = self.agent.display().to_string();
        let job = Job {
            name: &share.name(),
            packages: &share.suite.packages(),
            files,
            modules: &MODULES,
            command: &command,
            folder: &self.tree.join("tests"),
            environment: &[
                ("DNS_LB_BINARY".to_owned(), agent),
                (EMULATED.to_owned(), "1".to_owned()),
            ],
            limit: LIMIT,
        };
        machine::run(kernel, &job, print)
    }
}

fn sort(suite: Suite, tests: &[&str], filters: &[String]) -> anyhow::Result<Tests> {
    let mut sorted = Tests {
        to_run: Vec::new(),
        left_out: Vec::new(),
    };
    let rules = LEFT_OUT.iter().filter(|(of, ..)| *of == suite);
    for (_, begin, _) in rules.clone() {
        ensure!(
            tests.iter().any(|test| test.starts_with(begin)),
            "{begin} is left out of {}, which has no such test any more",
            suite.name()
        );
    }
    for &test in tests {
        if !filters.is_empty() && !filters.iter().any(|filter| test.contains(filter)) {
            continue;
        }
        match rules.clone().find(|(_, begin, _)| test.starts_with(begin)) {
            Some((.., why)) => sorted.left_out.push(LeftOut {
                test: test.to_owned(),
                why,
            }),
            None => sorted.to_run.push(test.to_owned()),
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_in_one_share() {
        let tests: Vec<String> = (0..2 * SHARE + 1).map(|test| test.to_string()).collect();
        let shares = Share::deal(Suite::Lab, tests.clone());
        let names: Vec<String> = shares.iter().map(Share::name).collect();
        assert_eq!(names, ["lab-1", "lab-2", "lab-3"]);
        let mut dealt: Vec<String> = shares.into_iter().flat_map(|share| share.tests).collect();
        dealt.sort_by_key(|test| test.parse::<usize>().unwrap());
        assert_eq!(dealt, tests);
        assert!(Share::deal(Suite::Lab, Vec::new()).is_empty());
    }

    #[test]
    fn every_test_binary_that_asks_a_kernel_is_a_suite() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        let there = std::fs::read_dir(tests).unwrap();
        let mut there: Vec<String> = there
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        there.sort();
        let suites = Suite::value_variants().iter().map(|suite| suite.name());
        let mut known: Vec<&str> = suites.chain(ASK_NO_KERNEL).collect();
        known.sort_unstable();
        assert_eq!(there, known);
    }

    #[test]
    fn what_is_left_out_is_named_and_must_be_there() {
        let commands = "docs::every_command_of_the_documentation_runs";
        let tests = ["death::all", "page::made::all", commands, "flood::all"];
        let sorted = sort(Suite::EndToEnd, &tests, &[]).unwrap();
        assert_eq!(sorted.to_run, tests[..1]);
        assert_eq!(sorted.left_out[0].test, tests[1]);
        assert_eq!(sorted.left_out.len(), 3);
        let filtered = sort(Suite::EndToEnd, &tests, &["made".to_owned()]).unwrap();
        assert!(filtered.to_run.is_empty() && filtered.left_out.len() == 1);
        assert!(sort(Suite::EndToEnd, &tests[..3], &[]).is_err());
    }
}
