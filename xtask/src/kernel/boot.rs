//! The emulated machine: starting it, passing on what it prints, and what it says in the end.

use std::{
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use dns_lb_tests::process::{die_with_parent, program};

use super::image::END;
use crate::{
    process::lines,
    test::{Count, parse_result},
};

/// How long the machine may take, several times what it needs on two cores.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Emulation in software alone: where KVM is to be had it cannot be relied on.
const HARDWARE: [&str; 18] = [
    "-machine",
    "q35",
    "-accel",
    "tcg,thread=multi,tb-size=512",
    "-cpu",
    "max",
    "-smp",
    "2",
    "-m",
    "3072",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-serial",
    "stdio",
    "-append",
];

/// A panic ends the machine; warnings are printed. The seed of random numbers is the emulator's.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr audit=0 \
                            random.trust_cpu=on";

/// Boots the kernel, passes on what the machine prints, and returns what the tests counted.
pub(super) fn run(kernel: &Path, image: &Path) -> anyhow::Result<Count> {
    let mut command = program("qemu-system-x86_64");
    command
        .args(HARDWARE)
        .arg(COMMAND_LINE)
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    die_with_parent(&mut command);
    let mut machine = Machine(command.spawn().context("cannot run qemu-system-x86_64")?);

    let serial = machine.0.stdout.take().expect("stdout is piped");
    let (sender, printed) = mpsc::channel();
    // It ends with the machine, or as soon as nobody listens.
    thread::spawn(move || {
        lines(serial)
            .map(|line| sender.send(line))
            .take_while(Result::is_ok)
            .for_each(drop);
    });

    let end = Instant::now() + LIMIT;
    let mut count = None;
    let mut exit_status = None;
    loop {
        match printed.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let line = line.context("cannot read what the machine prints")?;
                let line = line.trim_end_matches('\r');
                println!("{line}");
                count = parse_result(line).or(count);
                exit_status = line.strip_prefix(END).map(str::to_owned).or(exit_status);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!(
                "the machine was not done within {} minutes and was stopped",
                LIMIT.as_secs() / 60
            ),
        }
    }
    let status = machine.0.wait().context("cannot wait for the machine")?;
    conclude(count, exit_status.as_deref())
        .with_context(|| format!("the machine ended ({status}) without a result to rely on"))
}

/// What the tests counted, if they came to their end and said the same twice.
fn conclude(count: Option<Count>, exit_status: Option<&str>) -> anyhow::Result<Count> {
    let exit_status = exit_status.context("the tests did not come to their end")?;
    let count = count.with_context(|| {
        format!("the tests ended with status {exit_status} and printed no result")
    })?;
    ensure!(
        (exit_status == "0") == (count.failed == 0),
        "the tests ended with status {exit_status} and {} of them failed",
        count.failed
    );
    Ok(count)
}

/// The running emulator, which is killed when it is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Of one that has ended neither does anything.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_run_counts() {
        let count = |failed| {
            Some(Count {
                passed: 3,
                failed,
                skipped: 0,
            })
        };
        assert_eq!(conclude(count(0), Some("0")).ok(), count(0));
        assert_eq!(conclude(count(1), Some("101")).ok(), count(1));
        for (count, status) in [
            (count(0), None),
            (None, Some("0")),
            (count(0), Some("139")),
            (count(1), Some("0")),
        ] {
            assert!(conclude(count, status).is_err(), "{count:?}, {status:?}");
        }
    }
}
