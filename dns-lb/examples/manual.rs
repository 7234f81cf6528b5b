//! Writes a man page for each verb, and shell completions, below the directory that is named: as they lie
//! below `/usr/share`. `cargo xtask dist` runs this.
//!
//! No part of the agent, which needs none of it, nor of xtask, which has to build before there is a
//! compiler for the XDP program.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

/// Commands for administrators (man-pages(7)).
const SECTION: &str = "8";

/// Where each shell looks for completions, and the name that it wants.
const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash-completion/completions", "dns-lb"),
    (Shell::Zsh, "zsh/vendor-completions", "_dns-lb"),
    (Shell::Fish, "fish/vendor_completions.d", "dns-lb.fish"),
];

fn main() -> Result<()> {
    let share = env::args_os().nth(1).context("usage: manual DIRECTORY")?;
    let share = Path::new(&share);
    for (shell, place, name) in COMPLETIONS {
        let directory = share.join(place);
        fs::create_dir_all(&directory)?;
        let made = generate_to(shell, &mut dns_lb::cli::command(), "dns-lb", &directory)?;
        fs::rename(made, directory.join(name))?;
    }
    let directory = share.join("man").join(format!("man{SECTION}"));
    fs::create_dir_all(&directory)?;
    let mut command = dns_lb::cli::command().disable_help_subcommand(true);
    // Gives each verb its whole name.
    command.build();
    write_pages(&command, &directory)
}

fn write_pages(command: &Command, directory: &Path) -> Result<()> {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    for verb in verbs {
        write_pages(verb, directory)?;
    }
    let page = Man::new(command.clone())
        .section(SECTION)
        .manual("System Administration");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let path = directory.join(page.get_filename());
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
