//! `cargo xtask dist`: what is delivered, in `target/dist`: a Debian package, an archive of the same
//! files, and their sums.

mod root;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use clap::Args as Arguments;

use crate::{
    binary,
    process::{cargo, run_quietly},
    setup,
};

/// Makes the package of what the manifest of `dns-lb` says of it.
const CARGO_DEB: &str = "3.8.0";

/// Below the tree, wherever cargo builds: the manifest names it.
const DIST: &str = "target/dist";

/// Make the Debian package, an archive of the same files, and their sums, in target/dist
///
/// The package holds the agent, its unit, man pages, shell completions, documentation and examples.
#[derive(Arguments)]
pub(crate) struct Args {
    /// Package this agent, instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Version of the package, instead of the agent's own and -1
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,

    /// Compress less, for a package that does not go far
    #[arg(long)]
    fast: bool,

    /// Where the results go
    #[arg(long, value_name = "DIR", default_value = DIST)]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    setup::ensure()?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => binary::build()?,
    };
    let cargo_deb = install()?;
    let dist = Path::new(DIST);
    fs::create_dir_all(dist).with_context(|| format!("cannot make {DIST}"))?;
    // Two at a time would mix up their files.
    let lock = fs::File::create(dist.join(".lock")).context("cannot make the lock")?;
    lock.lock().context("cannot wait for another dist")?;
    let root = dist.join("root");
    root::lay(&binary, &root)?;

    let own = format!("{}-1", env!("CARGO_PKG_VERSION"));
    let version = args.deb_version.as_ref().unwrap_or(&own);
    let date = commit_date();
    fs::write(dist.join("changelog"), changelog(version, &date))
        .context("cannot write the package's changelog")?;

    let output = &args.output;
    fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    // A relative path would be one from the package's folder.
    let folder = fs::canonicalize(output)?;
    let package = folder.join(format!("dns-lb_{version}_{}.deb", architecture()?));
    run_quietly(
        Command::new(&cargo_deb)
            .args([
                "--package",
                "dns-lb",
                "--no-build",
                "--no-strip",
                "--locked",
            ])
            .args(args.fast.then_some("--fast"))
            .args(["--deb-version", version, "--output"])
            .arg(&package),
    )?;
    let archive = folder.join(format!(
        "dns-lb-{}-{}-linux.tar.gz",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    ));
    pack(
        &root,
        &archive,
        &date,
        if args.fast { "gzip -1n" } else { "gzip -9n" },
    )?;
    let sums = sum(&folder, &[&package, &archive])?;
    for made in [&package, &archive, &sums] {
        println!(
            "{}",
            output.join(made.file_name().unwrap_or_default()).display()
        );
    }
    Ok(())
}

/// The path of a cargo-deb of the right version.
fn install() -> anyhow::Result<PathBuf> {
    let tools = crate::process::target_dir().join("tools");
    let program = tools.join("bin/cargo-deb");
    let version = run_quietly(Command::new(&program).arg("--version"));
    if !version.is_ok_and(|version| version.trim_end().ends_with(CARGO_DEB)) {
        eprintln!(
            "dist: installing cargo-deb {CARGO_DEB} below {}",
            tools.display()
        );
        run_quietly(
            cargo()
                .args(["install", "cargo-deb", "--locked", "--force"])
                .args(["--version", CARGO_DEB, "--root"])
                .arg(&tools)
                .env_remove("CARGO_TARGET_DIR"),
        )?;
    }
    Ok(program)
}

/// Debian's name of the architecture that is built for.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("nobody has said what Debian calls {other}"),
    }
}

/// When the newest commit was made, as a changelog has it; the epoch outside of a repository.
fn commit_date() -> String {
    run_quietly(Command::new("git").args(["log", "-1", "--format=%cD"])).map_or_else(
        |_| "Thu, 01 Jan 1970 00:00:00 +0000".to_owned(),
        |date| date.trim().to_owned(),
    )
}

/// The package's own changelog (deb-changelog(5)).
fn changelog(version: &str, date: &str) -> String {
    format!(
        "dns-lb ({version}) unstable; urgency=medium\n\n  \
         * What has changed is in /usr/share/doc/dns-lb/changelog.gz.\n\n \
         -- The dns-lb developers <dns-lb@users.noreply.github.com>  {date}\n"
    )
}

/// An archive to be unpacked at `/`, the same octets for the same files.
fn pack(root: &Path, archive: &Path, date: &str, compressor: &str) -> anyhow::Result<()> {
    run_quietly(
        Command::new("tar")
            .args(["--sort=name", "--owner=root:0", "--group=root:0"])
            .arg(format!("--mtime={date}"))
            .args(["--use-compress-program", compressor, "--create", "--file"])
            .arg(archive)
            .arg("--directory")
            .args([root, Path::new("usr")]),
    )
    .map(drop)
}

/// Writes the sums of files, as `sha256sum --check` reads them.
fn sum(folder: &Path, files: &[&PathBuf]) -> anyhow::Result<PathBuf> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = run_quietly(Command::new("sha256sum").args(names).current_dir(folder))?;
    let path = folder.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_is_debians() {
        let text = changelog("0.1.0-1", "Wed, 25 Nov 2026 22:00:00 +0000");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "dns-lb (0.1.0-1) unstable; urgency=medium");
        assert!(lines[2].starts_with("  * "));
        assert!(lines[4].starts_with(" -- ") && lines[4].contains(">  Wed, 25 Nov"));
    }
}
