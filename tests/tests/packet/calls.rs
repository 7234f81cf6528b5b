//! What the loaded program calls, as the kernel has it after verification.

use std::{collections::BTreeSet, fs, process::Command};

use crate::{fixture::with_program, rows};

/// The lines of a function in what `bpftool prog dump xlated` prints: a header ends with a colon,
/// instructions are indented.
fn function(dump: &str, name: &str) -> Vec<String> {
    let header = format!(" {name}(");
    dump.lines()
        .skip_while(|line| !line.contains(&header) || !line.ends_with(':'))
        .skip(1)
        .take_while(|line| !line.ends_with("):"))
        .map(str::to_owned)
        .collect()
}

/// The first two numbers of the running kernel's release.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    number()
        .zip(number())
        .unwrap_or_else(|| panic!("no release of a kernel: {release}"))
}

/// The redirect, as `bpftool` names it.
const REDIRECT: &str = "dev_map_redirect";

/// Look-ups that this kernel leaves as calls: from Linux 6.10 on those of per-CPU arrays are plain
/// instructions too (commit db69718b8efa).
fn left_over() -> Option<String> {
    (kernel() < (6, 10)).then(|| "percpu_array_map_lookup_elem".to_owned())
}

/// What the way of a plain UDP packet goes through beside the main function, with a name that counts
/// or is looked at.
const STEPS: [&str; 7] = [
    "by_policy",
    "query",
    "long_query",
    "labels",
    "bounded",
    "take_turns",
    "take_turn",
];

/// Helpers that a function calls, and whether it calls functions of the program's own.
fn calls(dump: &str, name: &str) -> (BTreeSet<String>, bool) {
    let lines = function(dump, name);
    assert!(lines.len() > 20, "no function {name} in\n{dump}");
    let calls = lines.iter().filter_map(|line| line.split_once(" call "));
    let (own, helpers): (Vec<_>, Vec<_>) = calls
        .map(|(_, callee)| callee)
        .partition(|callee| callee.starts_with("pc"));
    // Behind the number sign there is where the helper is.
    let helpers = helpers
        .iter()
        .map(|helper| {
            helper
                .split_once('#')
                .map_or(*helper, |(name, _)| name)
                .to_owned()
        })
        .collect();
    (helpers, !own.is_empty())
}

/// On the way of a plain UDP packet the kernel has turned every look-up into plain instructions, on
/// older ones but those of per-CPU arrays: what is left are calls of the program's own functions, and
/// the redirect to another interface.
#[test]
fn the_way_of_a_plain_query_calls_no_helper_but_the_redirect() {
    with_program(rows::services(), |mut fixture| {
        let id = fixture.datapath.program_id().expect("the program's id");
        let output = Command::new("bpftool")
            .args(["prog", "dump", "xlated", "id", &id.to_string()])
            .output()
            .expect("bpftool (cargo xtask setup installs it)");
        let dump = String::from_utf8_lossy(&output.stdout);
        let (main, calls_steps) = calls(&dump, "dns_lb");
        assert!(calls_steps, "no call at all: is this the whole function?");
        let mut expected = BTreeSet::from([REDIRECT.to_owned()]);
        expected.extend(left_over());
        assert_eq!(main, expected);
        for step in STEPS {
            let (helpers, _) = calls(&dump, step);
            let left_over = BTreeSet::from_iter(left_over());
            assert!(helpers.is_subset(&left_over), "{step}: {helpers:?}");
        }
    });
}
