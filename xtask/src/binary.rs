//! The agent's binary, fresh from source.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::process::{cargo, executables};

/// Builds the agent with its XDP program in release mode, and returns the binary.
pub(crate) fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "dns-lb"]);
    executables(&mut build)?
        .remove("dns-lb")
        .context("cargo does not say where it put dns-lb")
}
