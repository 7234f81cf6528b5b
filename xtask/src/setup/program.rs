//! The toolchain of the XDP program: a compiler with the sources of `core`, the development files
//! of its LLVM, and a bpf-linker built with these.

use std::{env, ops::RangeInclusive, path::Path, process::Command};

use anyhow::{Context as _, anyhow, bail};

use super::debian::{self, Debian};
use crate::{
    process::{cargo, run_quietly},
    toolchain::{self, Compiler, Missing, OVERRIDE, Toolchain},
};

/// Debian's compiler for web browsers: far newer than the release's own `rustc`.
const COMPILER_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];
/// For machines without these packages: a nightly that is known to build the program.
const NIGHTLY: &str = "nightly-2026-05-20";
/// What Debian 12's rustc-web and [`NIGHTLY`] are built with.
const LLVM: u32 = 22;

const LINKER_VERSION: &str = "0.13.0";
/// What that bpf-linker can be built for.
const LINKER_LLVMS: RangeInclusive<u32> = 21..=23;
/// rustup retries a dead network for many minutes.
const RUSTUP_LIMIT_SECONDS: &str = "120";

pub(super) fn by_hand(missing: &Missing) -> Vec<String> {
    if let (Missing::Compiler, Ok(name)) = (missing, env::var(OVERRIDE)) {
        return vec![format!(
            "rustup component add rust-src --toolchain {name}    # or: unset {OVERRIDE}"
        )];
    }
    let llvm = match missing {
        Missing::Linker { compiler, .. } if LINKER_LLVMS.contains(&compiler.llvm) => {
            Some(compiler.llvm)
        }
        Missing::Linker { .. } | Missing::Compiler => None,
    };
    let lacks_compiler = llvm.is_none();
    let llvm = llvm.unwrap_or(LLVM);
    let mut commands = Vec::new();
    if debian::is_debian() {
        let mut packages = Vec::new();
        if lacks_compiler {
            packages.extend(COMPILER_PACKAGES.map(str::to_owned));
        }
        if !has_llvm(llvm) {
            packages.push(llvm_package(llvm));
        }
        if !packages.is_empty() {
            commands.push(debian::by_hand(&packages.join(" ")));
        }
    } else {
        if lacks_compiler {
            let install = "rustup toolchain install --profile minimal --component rust-src";
            commands.push(format!("{install} {NIGHTLY}"));
        }
        commands.push(format!(
            "# install LLVM {llvm} with its development files; below, `llvm-config --prefix` for {}",
            llvm_dir(llvm)
        ));
    }
    let arguments = linker_arguments(llvm).join(" ");
    commands.push(format!("LLVM_PREFIX={} cargo {arguments}", llvm_dir(llvm)));
    commands
}

pub(super) fn bring(debian: &mut Debian) -> anyhow::Result<()> {
    let compiler = match usable_compiler(debian) {
        Some(compiler) => compiler,
        None => bring_compiler(debian)?,
    };
    eprintln!("setup: the compiler is {compiler}");
    if !has_llvm(compiler.llvm) {
        debian.install(&[&llvm_package(compiler.llvm)])?;
    }
    bring_linker(compiler.llvm)?;
    Toolchain::find()
        .map(drop)
        .map_err(|missing| anyhow!("{missing}, after all was installed"))
}

/// A compiler with sources for whose LLVM a linker can be built.
fn usable_compiler(debian: &mut Debian) -> Option<Compiler> {
    toolchain::compilers()
        .into_iter()
        .find(|compiler| can_get_llvm(compiler.llvm, debian))
}

fn bring_compiler(debian: &mut Debian) -> anyhow::Result<Compiler> {
    if let Ok(name) = env::var(OVERRIDE) {
        bail!("{OVERRIDE}={name} rules out every other compiler");
    }
    for sysroot in toolchain::nightlies() {
        let Some(nightly) = Compiler::at(&sysroot) else {
            continue;
        };
        if !can_get_llvm(nightly.llvm, debian) {
            continue;
        }
        match add_sources(&sysroot) {
            Ok(()) => return Ok(nightly),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim();
                eprintln!("setup: rustup could not ({reason}): taking Debian's compiler instead");
            }
        }
    }
    let version = debian
        .candidate(COMPILER_PACKAGES[0])
        .context("apt knows no rustc-web")?;
    if !toolchain::is_recent(&version) {
        bail!(
            "apt offers rustc-web {version}, and dns-lb needs {}: enable the security updates in \
             /etc/apt/sources.list",
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    debian.install(&COMPILER_PACKAGES)?;
    usable_compiler(debian).context("rustc-web is installed, but for its LLVM no linker can be had")
}

/// Adds `rust-src` to a nightly of rustup's.
fn add_sources(sysroot: &Path) -> anyhow::Result<()> {
    let name = sysroot.file_name().context("a toolchain has a name")?;
    eprintln!(
        "setup: adding the sources of `core` to rustup's {}",
        name.display()
    );
    run_quietly(
        Command::new("timeout")
            .args([
                RUSTUP_LIMIT_SECONDS,
                "rustup",
                "component",
                "add",
                "rust-src",
                "--toolchain",
            ])
            .arg(name),
    )
    .map(drop)
}

fn bring_linker(llvm: u32) -> anyhow::Result<()> {
    eprintln!(
        "setup: building bpf-linker {LINKER_VERSION} for LLVM {llvm}, which takes a minute or two"
    );
    run_quietly(
        cargo()
            .args(linker_arguments(llvm))
            .env("LLVM_PREFIX", llvm_dir(llvm))
            .env_remove("CARGO_TARGET_DIR"),
    )
    .map(drop)
}

/// `--force`: one of another LLVM is replaced.
fn linker_arguments(llvm: u32) -> Vec<String> {
    let features = format!("llvm-{llvm}");
    let arguments = [
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
        "--force",
    ];
    let features = ["--no-default-features", "--features", &features];
    arguments
        .into_iter()
        .chain(features)
        .map(str::to_owned)
        .collect()
}

fn can_get_llvm(llvm: u32, debian: &mut Debian) -> bool {
    LINKER_LLVMS.contains(&llvm)
        && (has_llvm(llvm) || debian.candidate(&llvm_package(llvm)).is_some())
}

fn has_llvm(llvm: u32) -> bool {
    Path::new(&llvm_dir(llvm))
        .join("include/llvm-c/Core.h")
        .is_file()
}

/// Where Debian lays it.
fn llvm_dir(llvm: u32) -> String {
    format!("/usr/lib/llvm-{llvm}")
}

fn llvm_package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}
