//! `cargo xtask compare`: measures dns-lb and what people run today side by side, keeps the records, and
//! draws the page of results from them.
//!
//! The page and its plots are made of the records alone, so that they can be drawn again, and a test can
//! tell that nobody has edited a figure.

mod emulated;
mod figures;
mod measure;
mod page;
mod plot;
mod record;
mod scale;
mod statistics;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use self::{measure::Places, record::Records};
use crate::{
    process::target_dir,
    setup::{self, is_root},
};

/// The folder of records and plots beside the page.
const RESULTS: &str = "results";

/// Measure dns-lb beside what people run today, and write a page of it; needs root
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured anew; all of it, if nothing is named
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// As short as can be, and kept apart: to see that it works. On this machine alone, if nothing is said
    #[arg(long)]
    quick: bool,
    /// Only what is measured on this machine
    #[arg(long, conflicts_with = "emulated")]
    here: bool,
    /// Only what is measured in the emulated machine
    #[arg(long)]
    emulated: bool,
    /// Measure nothing: draw the page from the records
    #[arg(long)]
    draw: bool,
    /// Where the page goes, and the records into a folder beside it [default: docs; target/compare with --quick]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A mail relay's look-ups, while a server dies and comes back
    Mail,
    /// Queries lost when a server dies
    Failover,
    /// What a packet costs
    Cost,
    /// The agent and a packet with few and many servers
    Scale,
    /// The test suites on other kernels
    Kernel,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None if args.quick => target_dir().join("compare"),
        None => "docs".into(),
    };
    let begun = Instant::now();
    let parts = match &args.parts[..] {
        [] => Part::value_variants(),
        named => named,
    };
    let mut failed = Vec::new();
    if args.draw {
        ensure!(
            args.parts.is_empty(),
            "--draw measures nothing: name no part with it"
        );
    } else {
        ensure!(
            is_root(),
            "labs are made of network namespaces: run it as root"
        );
        // A peer that is not to be had is skipped, and costs nobody else's figures.
        if let Err(error) = setup::ensure() {
            eprintln!("NOT MEASURED: whatever needs what is missing: {error:#}");
        }
        let places = Places {
            here: args.here || !args.emulated,
            emulated: args.emulated || !(args.here || args.quick),
        };
        // One part that fails costs no other its record, of hours perhaps.
        for group in measure::plan(parts, places) {
            failed.extend(measure::take(&group, &folder.join(RESULTS), args.quick));
        }
    }
    let records = Records::load(&folder.join(RESULTS))?;
    write(&folder, &draw(&records)?)?;
    println!("\n{}", page::in_short(&records));
    for line in page::skipped_lines(&records) {
        eprintln!("NOT MEASURED: {line}");
    }
    let page = folder.join("results.md");
    match args.draw {
        true => println!("{}", page.display()),
        false => println!("{}, after {:.0?}", page.display(), begun.elapsed()),
    }
    if !failed.is_empty() {
        let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
        bail!(
            "not measured anew, so that the page has what was there before: {}",
            failed.join("; ")
        );
    }
    let broken = records.failed_tests();
    if !broken.is_empty() && !args.draw && parts.contains(&Part::Kernel) {
        bail!("tests failed: {}", broken.join("; "));
    }
    Ok(())
}

/// The page and its plots, by their place in the folder.
fn draw(records: &Records) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let plots = plot::draw(records).context("cannot draw the plots")?;
    let page = page::write(records, &plots);
    let plots = plots
        .into_iter()
        .map(|plot| (Path::new(RESULTS).join(plot.file), plot.svg));
    Ok(plots.chain([("results.md".into(), page)]).collect())
}

/// Writes them, and removes plots that there are no more.
fn write(folder: &Path, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
    for (path, text) in files {
        record::replace(&folder.join(path), text)?;
    }
    for plot in plots_in(folder)? {
        if !files.contains_key(&plot) {
            let path = folder.join(plot);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The plots that a folder has, by their place in it.
fn plots_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let results = folder.join(RESULTS);
    if !results.exists() {
        return Ok(Vec::new());
    }
    let entries =
        fs::read_dir(&results).with_context(|| format!("cannot read {}", results.display()))?;
    let mut plots = Vec::new();
    for entry in entries {
        let path = Path::new(RESULTS).join(entry?.file_name());
        if path.extension().is_some_and(|it| it == "svg") {
            plots.push(path);
        }
    }
    plots.sort();
    Ok(plots)
}
