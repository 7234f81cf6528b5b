//! Child processes: cargo itself, commands that are run to their end, and what a child prints.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

/// How much of a failed command's output is shown.
const LINES_SHOWN: usize = 15;

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where cargo builds, and where chores keep what can be made again.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .unwrap_or_else(|| "target".into())
        .into()
}

/// Runs a command to its end and shows nothing of it, unless it fails.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n    ");
    bail!("{name} failed ({}):\n    {tail}", output.status)
}

/// Runs a command with its output on the terminal.
pub(crate) fn run_visibly(command: &mut Command) -> anyhow::Result<()> {
    let words: Vec<String> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| word.display().to_string())
        .collect();
    let words = words.join(" ");
    let status = command
        .status()
        .with_context(|| format!("cannot run {words}"))?;
    ensure!(status.success(), "{words} failed ({status})");
    Ok(())
}

/// What a child prints, line by line as it comes. It may print anything: what is no text is replaced.
pub(crate) fn lines(output: impl Read) -> impl Iterator<Item = io::Result<String>> {
    BufReader::new(output)
        .split(b'\n')
        .map(|line| line.map(|octets| String::from_utf8_lossy(&octets).into_owned()))
}
