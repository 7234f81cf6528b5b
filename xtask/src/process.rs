//! Child processes: cargo itself, and commands whose output matters only when they fail.

use std::{
    env,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// How much of a failed command's output is shown.
const LINES_SHOWN: usize = 15;

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
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
