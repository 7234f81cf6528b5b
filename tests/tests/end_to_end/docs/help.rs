//! Commands that are not run: whether they have the options that a page gives them.

use std::{
    path::Path,
    process::{Command, Output},
};

use dns_lb_tests::monitoring::shipped;

use crate::stage::binary;

/// What may stand in the source tree beside `cargo`, and is not looked up.
const OTHERS: [&str; 3] = ["install", "git", "cd"];

/// Whether a command of the source tree exists.
///
/// # Errors
/// What is wrong with it.
pub(super) fn look_up_build(command: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["cargo", "xtask", verb, ..] => {
            let mut help = Command::new(env!("CARGO"));
            help.args(["--quiet", "xtask", verb, "--help"]);
            has_options(&words, help.current_dir(shipped("")))
        }
        ["cargo", ..] => {
            let mut pairs = words.windows(2).filter(|pair| pair[0] == "--package");
            match pairs.find(|pair| !shipped(pair[1]).join("Cargo.toml").is_file()) {
                Some(pair) => Err(format!("there is no package {}", pair[1])),
                None => Ok(()),
            }
        }
        [program, ..] if OTHERS.contains(program) => Ok(()),
        _ => Err(format!(
            "`{command}` is not of the source tree: run it in the lab, or say why it is not run"
        )),
    }
}

/// Whether a command of dns-lb exists; of others nothing is known.
///
/// # Errors
/// What is wrong with it.
pub(super) fn look_up(command: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["dns-lb", verb, ..] => has_options(&words, Command::new(binary()).args([verb, "--help"])),
        _ => Ok(()),
    }
}

fn has_options(words: &[&str], help: &mut Command) -> Result<(), String> {
    let Output {
        status,
        stdout,
        stderr,
    } = help.output().expect("a program that is there");
    if !status.success() {
        return Err(String::from_utf8_lossy(&stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let options = words
        .iter()
        .take_while(|word| !["--", "|", ">"].contains(word));
    for option in options.filter(|word| word.starts_with("--")) {
        let name = option.split('=').next().unwrap_or(option);
        let is_word =
            |word: &str| word.trim_end_matches([',', ']']).trim_start_matches('[') == name;
        if !text.split_whitespace().any(is_word) {
            let program = words.first().map(Path::new).unwrap_or(Path::new(""));
            return Err(format!("{} knows no {name}:\n{text}", program.display()));
        }
    }
    Ok(())
}
