//! `cargo xtask fuzz`: the program, compiled for the host, under libFuzzer and AddressSanitizer.
//!
//! cargo-fuzz builds and runs it; it is installed below the target folder if it is not there. What it
//! has found by way of interesting frames is kept there too, from one run to the next.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use crate::process::{cargo, run_quietly, run_visibly, target_dir};

/// The fuzzer's package, whose fixtures the tests replay.
const FOLDER: &str = "dns-lb-ebpf/fuzz";
const CARGO_FUZZ: &str = "0.13.2";
/// Octets of the longest frame that is tried: nine headers of an IPv6 packet as long as can be are
/// longer, but what they are is seen in shorter ones.
const LONGEST: usize = 1_024;
/// Seconds after which one frame is said to hang.
const HANGS: u32 = 5;

pub(crate) fn run(target: &str, seconds: u32) -> anyhow::Result<()> {
    let target_dir = std::path::absolute(target_dir())?.join("fuzz");
    let tools = install(&target_dir)?;
    let corpus = target_dir.join("corpus").join(target);
    let artifacts = target_dir.join("artifacts").join(target);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let fixtures = Path::new(FOLDER).join("fixtures").join(target);
    let outcome = run_visibly(
        Command::new(tools.join("cargo-fuzz"))
            .args(["run", "--fuzz-dir", FOLDER, "--target-dir"])
            .arg(&target_dir)
            .arg(target)
            .args([&corpus, &fixtures])
            .arg("--")
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-timeout={HANGS}"))
            .arg(format!("-max_total_time={seconds}"))
            .arg("-print_final_stats=1")
            // The sanitizer is asked for by an option that a stable compiler only takes so.
            .env("RUSTC_BOOTSTRAP", "1"),
    );
    outcome.with_context(|| {
        format!(
            "a frame was found, below {}: move it to {} and the tests replay it from then on",
            artifacts.display(),
            fixtures.display()
        )
    })
}

/// The folder of a cargo-fuzz of the right version.
fn install(target_dir: &Path) -> anyhow::Result<std::path::PathBuf> {
    let root = target_dir.join("tools");
    let folder = root.join("bin");
    let version = run_quietly(Command::new(folder.join("cargo-fuzz")).arg("--version"));
    if !version.is_ok_and(|version| version.trim_end().ends_with(CARGO_FUZZ)) {
        eprintln!(
            "fuzz: installing cargo-fuzz {CARGO_FUZZ} below {}",
            root.display()
        );
        run_quietly(
            cargo()
                .args([
                    "install",
                    "cargo-fuzz",
                    "--locked",
                    "--version",
                    CARGO_FUZZ,
                    "--root",
                ])
                .arg(&root),
        )?;
    }
    Ok(folder)
}
