//! systemd's own opinion of the unit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/dns-lb.service");

/// The most that `systemd-analyze security` may find, of 10.
const EXPOSURE: f64 = 3.0;

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit).env("LC_ALL", "C");
    command
        .output()
        .expect("systemd-analyze (cargo xtask setup installs it)")
}

/// The unit, with a program in the place of the agent that is there.
fn unit_of_this_machine(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).expect("a directory");
    let unit = directory.join("dns-lb.service");
    let text = fs::read_to_string(UNIT).expect("the unit");
    let text = text.replace("/usr/sbin/dns-lb", "/bin/true");
    assert!(text.contains("ExecStart=/bin/true run"), "{text}");
    fs::write(&unit, text).expect("a unit");
    // Found beside it.
    let needed = UNIT.replace("dns-lb.service", "dns-lb-bpffs.service");
    fs::copy(needed, directory.join("dns-lb-bpffs.service")).expect("the unit that it needs");
    unit
}

#[test]
fn it_is_a_valid_unit() {
    let unit = unit_of_this_machine("valid");
    let output = analyze(&["verify", "--man=no"], &unit);
    // What it does not know it only says.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");

    let text = fs::read_to_string(&unit).expect("the unit");
    fs::write(&unit, text.replace("WatchdogSec=", "WatchdogSecs=")).expect("a unit");
    let output = analyze(&["verify", "--man=no"], &unit);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("WatchdogSecs"), "{said}");
}

/// Under systemd 252 its view of `/sys/fs/bpf` takes the place of the unit's own, and no agent starts.
#[test]
fn nothing_is_in_the_way_of_its_pins() {
    let text = fs::read_to_string(UNIT).expect("the unit");
    let settings: Vec<&str> = text.lines().collect();
    assert!(settings.contains(&"BindPaths=/sys/fs/bpf/dns-lb"));
    assert!(!settings.contains(&"ProtectKernelTunables=yes"));
}

#[test]
fn it_exposes_little() {
    let threshold = format!("--threshold={}", EXPOSURE * 10.0);
    let arguments = ["security", "--offline=true", "--no-pager", &threshold];
    let output = analyze(&arguments, Path::new(UNIT));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let overall = said.lines().find(|line| line.contains("Overall exposure"));
    let exposure =
        overall.and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse().ok());
    assert!(
        exposure.is_some_and(|exposure: f64| exposure <= EXPOSURE),
        "{overall:?}"
    );
}
