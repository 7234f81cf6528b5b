//! `cargo xtask check`: holds the tree against its rules, without changing it.

mod licences;

use std::{env::consts, path::PathBuf, process::Stdio};

use anyhow::{anyhow, bail};

use crate::{
    process::{cargo, run_visibly, target_dir},
    toolchain::Toolchain,
};

/// A name for the last line, and the check itself.
type Check = (&'static str, fn() -> anyhow::Result<()>);

const CHECKS: [Check; 6] = [
    ("format", format),
    ("lints", lint_host),
    ("lints of the XDP program", lint_program),
    ("documentation", document),
    ("licences", licences::check),
    ("advisories", check_advisories),
];

/// Runs every check, also after one has failed: one run names all that is to be mended.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        println!("check: {name}");
        if let Err(error) = check() {
            eprintln!("error: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join(", "));
    }
    println!("check: passed");
    Ok(())
}

fn format() -> anyhow::Result<()> {
    run_visibly(cargo().args(["fmt", "--all", "--check"]))
}

/// The whole workspace, but of the eBPF crate only the part that the host can compile.
fn lint_host() -> anyhow::Result<()> {
    run_visibly(
        cargo()
            .args([
                "clippy",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-targets",
            ])
            .args(["--", "-D", "warnings"]),
    )
}

/// The program itself, on the BPF target.
fn lint_program() -> anyhow::Result<()> {
    let toolchain =
        Toolchain::find().map_err(|missing| anyhow!("{missing}; run `cargo xtask setup`"))?;
    let compiler = &toolchain.compiler;
    if ["cargo-clippy", "clippy-driver"]
        .iter()
        .any(|tool| !compiler.tool(tool).is_file())
    {
        println!(
            "check: NOT CHECKED: {compiler} has no clippy, so only the host-compilable part of \
             dns-lb-ebpf was linted"
        );
        return Ok(());
    }
    run_visibly(
        toolchain
            .command("cargo-clippy", "clippy", consts::ARCH, endian())
            .arg("--target-dir")
            .arg(program_target_dir())
            .args(["--", "-D", "warnings"]),
    )
}

/// Byte order of this machine, as the toolchain calls it.
pub(crate) fn endian() -> &'static str {
    if cfg!(target_endian = "big") {
        "big"
    } else {
        "little"
    }
}

/// Where the programs are built outside of the agent's build.
pub(crate) fn program_target_dir() -> PathBuf {
    target_dir().join("program")
}

fn document() -> anyhow::Result<()> {
    run_visibly(
        cargo()
            .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps"])
            // Most of the tree is private to a binary: links there are read, and held, too.
            .arg("--document-private-items")
            .env(
                "RUSTDOCFLAGS",
                "-D warnings -A rustdoc::private-intra-doc-links",
            ),
    )
}

/// Known vulnerabilities: asks a database on the network, by a program that need not be there.
fn check_advisories() -> anyhow::Result<()> {
    let version = cargo()
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        println!("check: advisories were not checked: cargo-deny is not installed");
        return Ok(());
    }
    run_visibly(cargo().args(["deny", "check"]))
}
