//! The programs that the lab, the tests, the demo, `cargo xtask check` and `cargo xtask kernel` run.

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

pub(super) const TOOLS: [Tool; 28] = [
    daemon("nsd", "nsd", "nsd"),
    daemon("knotd", "knot", "knot"),
    daemon("unbound", "unbound", "unbound"),
    daemon("named", "bind9", "named"),
    daemon("pdns_recursor", "pdns-recursor", "pdns-recursor"),
    // They move and announce VIPs where there is more than one balancer.
    daemon("keepalived", "keepalived", "keepalived"),
    daemon("bird", "bird2", "bird"),
    // What dns-lb is compared with, beside keepalived.
    daemon("dnsdist", "dnsdist", "dnsdist"),
    daemon("ipvsadm", "ipvsadm", "ipvsadm"),
    tool("dig", "bind9-dnsutils"),
    tool("bpftool", "bpftool"),
    tool("ethtool", "ethtool"),
    tool("ip", "iproute2"),
    // Commands of the documentation, which a test runs.
    tool("curl", "curl"),
    tool("jq", "jq"),
    tool("sysctl", "procps"),
    tool("nft", "nftables"),
    tool("tcpdump", "tcpdump"),
    // With promtool.
    daemon("prometheus", "prometheus", "prometheus"),
    // Opens the page.
    tool("chromium", "chromium"),
    // The unit and the package: with systemd's sets of system calls, and a root to install into.
    tool("systemd-analyze", "systemd"),
    tool("strace", "strace"),
    tool("setpriv", "util-linux"),
    tool("mmdebstrap", "mmdebstrap"),
    tool("dpkg-shlibdeps", "dpkg-dev"),
    tool("strip", "binutils"),
    // rustup brings both; Debian's cargo-web does not.
    tool("cargo-fmt", "rustfmt-web"),
    tool("cargo-clippy", "rust-web-clippy"),
];

/// Packages of [`TOOLS`] for the page, the package and the checks.
const NOT_OF_THE_LAB: [&str; 6] = [
    "chromium",
    "mmdebstrap",
    "dpkg-dev",
    "binutils",
    "rustfmt-web",
    "rust-web-clippy",
];

/// What makes and runs the machine of `cargo xtask kernel`, beside the above.
pub(super) const EMULATOR: [Tool; 5] = [
    tool("qemu-system-x86_64", "qemu-system-x86"),
    tool("busybox", "busybox-static"),
    tool("depmod", "kmod"),
    tool("insmod", "kmod"),
    tool("modprobe", "kmod"),
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

pub(super) fn missing(tools: &[Tool]) -> Vec<Tool> {
    let is_there = |tool: &Tool| find_command(tool.command).is_some();
    tools
        .iter()
        .copied()
        .filter(|tool| !is_there(tool))
        .collect()
}

/// Where a command is, also one that only root is expected to run.
fn find_command(name: &str) -> Option<PathBuf> {
    // A user's PATH need not have the sbin directories.
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(sbin)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
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

/// The packages of the lab that have something to do with a kernel: neither browser nor compiler.
pub(crate) fn lab_packages() -> Vec<&'static str> {
    let mut packages = packages(&TOOLS);
    packages.retain(|package| !NOT_OF_THE_LAB.contains(package));
    packages
}

fn packages(tools: &[Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    packages.dedup();
    packages
}

fn services(tools: &[Tool]) -> impl Iterator<Item = &'static str> {
    tools.iter().filter_map(|tool| tool.daemon)
}
