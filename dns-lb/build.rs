//! Builds the XDP program from source and lays the object beside the agent's own code, as
//! `$OUT_DIR/dns-lb-program`.
//!
//! It does what aya-build does, but also without rustup and without changing the environment of
//! this process, and it ends with one message where the toolchain is missing.

#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use toolchain::Toolchain;

const PROGRAM: &str = "dns-lb-program";

fn main() -> ExitCode {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let object = out_dir.join(PROGRAM);
    // What is printed before a failure, cargo repeats below it: instructions come after success.
    if env::var("AYA_BUILD_SKIP").is_ok_and(|it| it == "1" || it.eq_ignore_ascii_case("true")) {
        println!("cargo::rerun-if-env-changed=AYA_BUILD_SKIP");
        println!("cargo::warning=AYA_BUILD_SKIP is set: this dns-lb has no XDP program to load");
        return exit(fs::write(&object, []), "write", &object);
    }
    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => {
            // This makes cargo fail and show nothing else, as long as the script itself succeeds.
            println!(
                "cargo::error=cannot build the XDP program: {missing}; run `cargo xtask setup`"
            );
            return ExitCode::SUCCESS;
        }
    };

    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let endian = env::var("CARGO_CFG_TARGET_ENDIAN").expect("cargo sets it");
    // A target directory of its own: the running cargo holds the lock of the usual one.
    let target_dir = out_dir.join("target");
    let mut build = toolchain.command("cargo", "build", &arch, &endian);
    build.args(["--release", "--target-dir"]).arg(&target_dir);
    if let Err(diagnostics) = run(&mut build) {
        eprintln!("{diagnostics}");
        return ExitCode::FAILURE;
    }
    watch(&toolchain);
    let built = target_dir
        .join(toolchain::triple(&endian))
        .join("release")
        .join(PROGRAM);
    exit(fs::copy(&built, &object).map(drop), "copy", &built)
}

/// Has cargo run this script again when an input changes, and not otherwise.
fn watch(toolchain: &Toolchain) {
    for variable in ["AYA_BUILD_SKIP", toolchain::OVERRIDE] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for source in [
        "build",
        "build.rs",
        "../dns-lb-ebpf",
        "../dns-lb-common",
        "../Cargo.toml",
        "../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={source}");
    }
    for tool in [&toolchain.compiler.tool("rustc"), &toolchain.linker] {
        println!("cargo::rerun-if-changed={}", tool.display());
    }
}

/// Runs the child build. Warnings of the program become warnings of this crate; errors are
/// returned, as the compiler lays them out.
fn run(build: &mut Command) -> Result<(), String> {
    let output = build
        .output()
        .map_err(|error| format!("cannot run {build:?}: {error}"))?;
    let diagnostics = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(diagnostics.into_owned());
    }
    for line in diagnostics.trim_end().lines() {
        println!("cargo::warning={line}");
    }
    Ok(())
}

fn exit(result: io::Result<()>, verb: &str, path: &Path) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot {verb} {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
