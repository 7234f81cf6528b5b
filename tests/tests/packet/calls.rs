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

/// Helpers that are called from the main function on this kernel, as `bpftool` names them.
fn expected() -> Vec<&'static str> {
    let mut names = vec!["dev_map_redirect"];
    // From Linux 6.10 on these look-ups are plain instructions too (commit db69718b8efa).
    if kernel() < (6, 10) {
        names.push("percpu_array_map_lookup_elem");
    }
    names
}

/// The way of a plain UDP packet lies in the program's main function. There the kernel has turned
/// every look-up into plain instructions, on older ones but those of per-CPU arrays: what is left are
/// calls of the program's own functions, for what is not plain, and the redirect.
#[test]
fn the_main_function_calls_no_helper_but_the_redirect() {
    with_program(rows::services(), |mut fixture| {
        let id = fixture.datapath.program_id().expect("the program's id");
        let output = Command::new("bpftool")
            .args(["prog", "dump", "xlated", "id", &id.to_string()])
            .output()
            .expect("bpftool (cargo xtask setup installs it)");
        let dump = String::from_utf8_lossy(&output.stdout);
        let main = function(&dump, "dns_lb");
        assert!(main.len() > 200, "no main function in\n{dump}");
        let calls = main.iter().filter_map(|line| line.split_once(" call "));
        let (own, helpers): (Vec<_>, Vec<_>) = calls
            .map(|(_, callee)| callee)
            .partition(|callee| callee.starts_with("pc"));
        assert!(
            !own.is_empty(),
            "no call at all: is this the whole function?"
        );
        // Behind the number sign there is where the helper is.
        let helpers: BTreeSet<_> = helpers
            .iter()
            .map(|helper| helper.split_once('#').map_or(*helper, |(name, _)| name))
            .collect();
        assert_eq!(helpers, BTreeSet::from_iter(expected()));
    });
}
