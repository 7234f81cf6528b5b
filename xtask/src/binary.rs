//! The agent's binary, fresh from source.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process;

/// The part of cargo's messages that says where a binary is.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the agent with its XDP program in release mode, and returns the binary.
pub(crate) fn build() -> Result<PathBuf> {
    let output = process::cargo()
        .args(["build", "--release", "--package", "dns-lb"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(
        output.status.success(),
        "cargo build --package dns-lb failed"
    );
    // Messages of other kinds do not have these fields.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.name == "dns-lb")
        .find_map(|artifact| artifact.executable)
        .context("cargo does not say where it put dns-lb")
}
