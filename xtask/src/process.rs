//! Child processes: cargo itself, commands that are run to their end, and what a child prints.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use dns_lb_tests::process::die_with_parent;

/// How much of a failed command's output is shown.
const LINES_SHOWN: usize = 15;

/// Variables that chores set for tests and benchmarks. One that is left from elsewhere would have tests send
/// less than they should, or ask yesterday's agent, and pass.
const OURS: [&str; 3] = ["DNS_LB_BINARY", "DNS_LB_EMULATED", "DNS_LB_FLOOR"];

/// The cargo that runs this program. Of [`OURS`] it is told what the chore itself sets.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in OURS {
        command.env_remove(name);
    }
    command
}

/// Where cargo builds, and where chores keep what can be made again.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .unwrap_or_else(|| "target".into())
        .into()
}

/// Runs a command to its end and shows nothing of it, unless it fails.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n    ");
    bail!("{name} failed ({}):\n    {tail}", output.status)
}

/// Runs a command to its end, and returns what it has printed on standard output; what it says on standard
/// error is shown as it comes. It is stopped after so long, and does not outlive the calling thread.
pub(crate) fn output_within(
    command: &mut Command,
    limit: Duration,
) -> anyhow::Result<(ExitStatus, Vec<u8>)> {
    die_with_parent(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().context("stdout is piped")?;
    let (sender, printed) = mpsc::channel();
    thread::spawn(move || {
        let mut octets = Vec::new();
        // Nobody listens any more if the limit was reached.
        let _ = sender.send(stdout.read_to_end(&mut octets).map(|_| octets));
    });
    let Ok(printed) = printed.recv_timeout(limit) else {
        child.kill()?;
        child.wait()?;
        bail!("it was not done within {limit:.0?}, and was stopped");
    };
    Ok((child.wait()?, printed?))
}

/// Has cargo build with this command, and returns what can be run of it, by the name of the target.
pub(crate) fn executables(build: &mut Command) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let printed = printed(build.arg("--message-format=json-render-diagnostics"))?;
    let messages = printed.split(|octet| *octet == b'\n');
    let executables = messages
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?;
            let path = message["executable"].as_str()?;
            Some((name.to_owned(), PathBuf::from(path)))
        });
    Ok(executables.collect())
}

/// Runs a command with its output on the terminal.
pub(crate) fn run_visibly(command: &mut Command) -> anyhow::Result<()> {
    let words = words(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run {words}"))?;
    ensure!(status.success(), "{words} failed ({status})");
    Ok(())
}

/// Runs a command with its errors on the terminal, and returns what it prints.
pub(crate) fn printed(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let words = words(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {words}"))?;
    let status = output.status;
    ensure!(status.success(), "{words} failed ({status})");
    Ok(output.stdout)
}

/// A command as it would be typed.
fn words(command: &Command) -> String {
    let words: Vec<String> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| word.display().to_string())
        .collect();
    words.join(" ")
}

/// What a child prints, line by line as it comes. It may print anything: what is no text is replaced.
pub(crate) fn lines(output: impl Read) -> impl Iterator<Item = io::Result<String>> {
    BufReader::new(output)
        .split(b'\n')
        .map(|line| line.map(|octets| String::from_utf8_lossy(&octets).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_hangs_is_stopped() {
        let hour = Duration::from_secs(3_600);
        let (status, printed) = output_within(&mut shell("echo said; exit 3"), hour).unwrap();
        assert_eq!((status.code(), &printed[..]), (Some(3), &b"said\n"[..]));
        let mut hanging = shell("echo said; exec sleep 3600");
        let error = output_within(&mut hanging, Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("stopped"), "{error}");
    }

    #[test]
    fn cargo_is_told_only_what_a_chore_sets() {
        let removed = |command: &Command, name: &str| {
            command
                .get_envs()
                .any(|(it, value)| it == name && value.is_none())
        };
        assert!(OURS.iter().all(|name| removed(&cargo(), name)));
        let mut set = cargo();
        set.env(OURS[0], "set");
        assert!(!removed(&set, OURS[0]));
    }
}
