//! What the loaded program calls, as the kernel has it after verification.

use std::process::Command;

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

/// The way of a plain UDP packet lies in the program's main function. There the kernel has turned
/// every look-up into plain instructions: what is left are calls of the program's own functions, for
/// what is not plain, and the redirect.
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
        let unexpected: Vec<_> = helpers
            .iter()
            .filter(|helper| !helper.starts_with("dev_map_redirect#"))
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
        assert!(!helpers.is_empty(), "not even the redirect");
    });
}
