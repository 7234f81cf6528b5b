//! The programs that the lab, the tests, the demo and `cargo xtask check` run.

use std::{env, fs, path::PathBuf};

use super::debian::{self, Debian};

/// A command, and the Debian package that holds it.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) command: &'static str,
    package: &'static str,
    /// The service that the package would start on the host.
    daemon: Option<&'static str>,
}

const TOOLS: [Tool; 10] = [
    daemon("nsd", "nsd", "nsd"),
    daemon("knotd", "knot", "knot"),
    daemon("unbound", "unbound", "unbound"),
    tool("dig", "bind9-dnsutils"),
    tool("bpftool", "bpftool"),
    tool("ethtool", "ethtool"),
    tool("ip", "iproute2"),
    tool("tcpdump", "tcpdump"),
    // rustup brings both; Debian's cargo-web does not.
    tool("cargo-fmt", "rustfmt-web"),
    tool("cargo-clippy", "rust-web-clippy"),
];

const fn tool(command: &'static str, package: &'static str) -> Tool {
    Tool {
        command,
        package,
        daemon: None,
    }
}

const fn daemon(command: &'static str, package: &'static str, service: &'static str) -> Tool {
    Tool {
        command,
        package,
        daemon: Some(service),
    }
}

pub(super) fn missing_tools() -> Vec<Tool> {
    // A user's PATH need not have the sbin directories.
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let dirs: Vec<PathBuf> = env::split_paths(&path).chain(sbin).collect();
    let is_there = |tool: &Tool| dirs.iter().any(|dir| dir.join(tool.command).is_file());
    TOOLS.into_iter().filter(|tool| !is_there(tool)).collect()
}

pub(super) fn by_hand(tools: &[Tool]) -> Vec<String> {
    let packages = packages(tools).join(" ");
    if !debian::is_debian() {
        return vec![format!(
            "# what your distribution calls Debian's {packages}"
        )];
    }
    let masks = services(tools).map(|service| format!("systemctl mask {service}"));
    let install = debian::by_hand(&packages);
    masks.chain([install]).collect()
}

pub(super) fn bring(tools: &[Tool], debian: &mut Debian) -> anyhow::Result<()> {
    let mut masks = Vec::new();
    for service in services(tools) {
        masks.extend(debian::mask(service)?);
    }
    debian.install(&packages(tools)).inspect_err(|_| {
        for mask in masks {
            // The error that counts is the installation's; a mask left over says what it is.
            drop(fs::remove_file(mask));
        }
    })?;
    services(tools).try_for_each(debian::disable)
}

fn packages(tools: &[Tool]) -> Vec<&'static str> {
    tools.iter().map(|tool| tool.package).collect()
}

fn services(tools: &[Tool]) -> impl Iterator<Item = &'static str> {
    tools.iter().filter_map(|tool| tool.daemon)
}
