//! `cargo xtask fuzz`: what takes octets from anybody, compiled for the host, under libFuzzer and
//! AddressSanitizer.
//!
//! cargo-fuzz builds and runs it; it is installed below the target folder if it is not there. What it
//! has found by way of interesting octets is kept there too, from one run to the next.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::process::{cargo, run_quietly, run_visibly, target_dir};

/// A fuzzer's package, whose fixtures the tests replay, and its targets.
struct Package {
    folder: &'static str,
    targets: &'static [Target],
}

struct Target {
    name: &'static str,
    /// Octets of the longest input that is tried: what longer ones are is seen in these.
    longest: usize,
}

const PACKAGES: [Package; 2] = [
    // Nine headers of an IPv6 packet as long as can be are longer.
    Package {
        folder: "dns-lb-ebpf/fuzz",
        targets: &[target("frame", 1_024)],
    },
    Package {
        folder: "dns-lb/fuzz",
        targets: &[
            target("reply", 1_024),
            target("link", 1_024),
            target("connection", 1_024),
            // The example has some 5 KiB.
            target("config", 8_192),
            target("admin", 2_048),
            target("admin_http", 2_048),
            target("state_file", 2_048),
        ],
    },
];

const CARGO_FUZZ: &str = "0.13.2";
/// Seconds after which one input is said to hang.
const HANGS: u32 = 5;

const fn target(name: &'static str, longest: usize) -> Target {
    Target { name, longest }
}

/// The names of all targets.
pub(crate) fn targets() -> impl Iterator<Item = &'static str> {
    let of_all = PACKAGES.iter().flat_map(|package| package.targets);
    of_all.map(|target| target.name)
}

/// Fuzzes one target, or each in turn until one finds something.
pub(crate) fn run(wanted: Option<&str>, seconds: u32) -> anyhow::Result<()> {
    let target_dir = std::path::absolute(target_dir())?.join("fuzz");
    let cargo_fuzz = install(&target_dir)?.join("cargo-fuzz");
    let mut ran = false;
    for Package { folder, targets } in &PACKAGES {
        for target in *targets {
            if wanted.is_none_or(|wanted| wanted == target.name) {
                fuzz(folder, target, seconds, &cargo_fuzz, &target_dir)?;
                ran = true;
            }
        }
    }
    ensure!(ran, "no such target");
    Ok(())
}

fn fuzz(
    folder: &str,
    &Target { name, longest }: &Target,
    seconds: u32,
    cargo_fuzz: &Path,
    target_dir: &Path,
) -> anyhow::Result<()> {
    let corpus = target_dir.join("corpus").join(name);
    let artifacts = target_dir.join("artifacts").join(name);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let fixtures = Path::new(folder).join("fixtures").join(name);
    eprintln!("fuzz: {name}, of {folder}, for {seconds} s");
    let outcome = run_visibly(
        Command::new(cargo_fuzz)
            .args(["run", "--fuzz-dir", folder, "--target-dir"])
            .arg(target_dir)
            .arg(name)
            .args([&corpus, &fixtures])
            .arg("--")
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_len={longest}"))
            .arg(format!("-timeout={HANGS}"))
            .arg(format!("-max_total_time={seconds}"))
            .arg("-print_final_stats=1")
            // The sanitizer is asked for by an option that a stable compiler only takes so.
            .env("RUSTC_BOOTSTRAP", "1")
            // The agent is fuzzed without the program that it loads.
            .env("AYA_BUILD_SKIP", "1"),
    );
    outcome.with_context(|| {
        format!(
            "if {name} found something it is below {}: move it to {} and the tests replay it from \
             then on",
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
