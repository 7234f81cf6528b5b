//! `dns-lb import`: a configuration made of another balancer's.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::{counted, print};
use crate::import::keepalived::{self, Disk, Options};

/// Make a configuration of another balancer's.
///
/// Reads files and writes one: needs no privileges, and touches neither the kernel nor a running
/// agent.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb import keepalived /etc/keepalived/keepalived.conf | less
  dns-lb import keepalived --help    what is translated, and how")]
pub(super) struct Arguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    Keepalived(Keepalived),
}

/// Translate a keepalived.conf with IPVS virtual servers in Direct Routing.
///
/// Files that it includes are read too. Wherever something is translated, approximated or dropped a
/// comment says what, why, and on which line it was; VRRP stays with keepalived. What is not
/// understood is an error, FILE:LINE first, all of them in one report, and nothing is written then.
///
/// What counts as a good answer stays as it was; servers are asked through the VIP, which is stricter.
/// When checks run becomes dns-lb's own, which is faster, unless --keep-timing says otherwise. Exit code 0 if it is done, 1 if the output cannot be written, 2 if the
/// input is not understood.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb import keepalived /etc/keepalived/keepalived.conf | less
  dns-lb import keepalived /etc/keepalived/keepalived.conf --output dns-lb.toml
  dns-lb check-config --config dns-lb.toml")]
struct Keepalived {
    /// The keepalived.conf.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where the configuration is written, all of it or nothing; without: to standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the output if it is there.
    #[arg(long, requires = "output")]
    force: bool,

    /// Translate intervals, time-outs and retries too.
    #[arg(long)]
    keep_timing: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let From::Keepalived(arguments) = &arguments.from;
    let options = Options {
        keep_timing: arguments.keep_timing,
    };
    let imported = keepalived::import(&arguments.file, &Disk, options)?;
    let Some(output) = &arguments.output else {
        print(&imported.text)?;
        return Ok(ExitCode::SUCCESS);
    };
    write_whole(output, imported.text.as_bytes(), arguments.force)?;
    print(&format!(
        "{}: {}, {}; {} in it say what has changed\n",
        output.display(),
        counted(imported.services, "service"),
        counted(imported.backends, "backend"),
        counted(imported.remarks, "comment"),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file: whatever happens, it is there as a whole or not at all. One that is there already
/// is kept unless `force`d.
fn write_whole(path: &Path, octets: &[u8], force: bool) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let Some(name) = path.file_name() else {
        bail!("{}: it names no file", cannot());
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut draft = name.to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = directory.join(draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&draft)
        .with_context(cannot)?;
    let written = (|| {
        file.write_all(octets)?;
        file.sync_all()?;
        match force {
            true => fs::rename(&draft, path)?,
            // Unlike a rename, a link does not replace what is there.
            false => fs::hard_link(&draft, path)?,
        }
        // The new name is on the disk when its directory is.
        File::open(directory)?.sync_all()
    })();
    // After a rename it is gone already.
    let _ = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{}: it is there already; --force replaces it", cannot())
        }
        written => written.with_context(cannot),
    }
}
