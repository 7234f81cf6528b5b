//! Running the emulator: its options, handing on what the job prints, and what it leaves in the end.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use dns_lb_tests::process::{die_with_parent, program};

use super::{OUTPUT, Outcome, root::STATUS};
use crate::process::{lines, run_quietly};

/// Emulation in software alone: where KVM is to be had it cannot be relied on. One instruction takes one
/// nanosecond (2⁰) of the machine's time, and while it waits its time jumps to the next timer.
const HARDWARE: [&str; 20] = [
    "-machine",
    "q35",
    "-accel",
    "tcg,thread=single,tb-size=1024",
    "-icount",
    "shift=0,sleep=off",
    "-rtc",
    "base=utc,clock=vm",
    // Without the string instructions that the emulator counts by the octet: the kernel then copies and
    // clears eight at a time.
    "-cpu",
    "max,-erms,-fsrm",
    "-smp",
    "1",
    "-m",
    "4096",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-append",
];

/// A panic ends the machine; warnings are printed. The seed of random numbers is the emulator's.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr audit=0 random.trust_cpu=on";

/// What of the kernel is not as Debian has it, and changes what packets cost. Debian has it clear each page
/// before it hands it out, which the emulator counts by the octet, as 4,096 instructions where a processor
/// has some dozens of nanoseconds to do: it would be most of a packet's cost.
pub(crate) const UNLIKE_DEBIAN: &str = "mitigations=off init_on_alloc=0";

/// How much the job's files may be together. The file has no more octets than are written.
const DISK_SIZE: u64 = 1 << 30;

/// How long what was printed before the emulator was stopped may take to come.
const END: Duration = Duration::from_secs(10);

/// How many of the last lines an error has, of the kernel and of the job each.
const LAST_LINES: usize = 20;

/// Boots the kernel, hands on what the job prints, and returns what it left. The folder is for files of
/// this run.
pub(super) fn run(
    kernel: &Path,
    image: &Path,
    folder: &Path,
    limit: Duration,
    mut print: impl FnMut(&str),
) -> anyhow::Result<Outcome> {
    let console = folder.join("console.log");
    let disk = folder.join("disk");
    File::create(&disk)
        .and_then(|file| file.set_len(DISK_SIZE))
        .with_context(|| format!("cannot make {}", disk.display()))?;
    let mut machine = start(kernel, image, &console, &disk)?;

    let job = machine.0.stdout.take().context("stdout is piped")?;
    let (sender, printed_lines) = mpsc::channel();
    // It ends with the machine, or as soon as nobody listens.
    thread::spawn(move || {
        lines(job)
            .map(|line| sender.send(line))
            .take_while(Result::is_ok)
            .for_each(drop);
    });

    let end = Instant::now() + limit;
    let mut printed = String::new();
    let mut in_time = true;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Also a job that never stops printing is stopped.
        if in_time && left.is_zero() {
            in_time = false;
            machine.0.kill().context("cannot stop the emulator")?;
        }
        let patience = if in_time { left } else { END };
        match printed_lines.recv_timeout(patience) {
            Ok(line) => {
                let line = line.context("cannot read what the job prints")?;
                print(&line);
                printed.push_str(&line);
                printed.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if in_time => {}
            // What has been printed of a line comes when there is no more.
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    ensure!(
        in_time,
        "not done within {limit:.0?}, and stopped{}",
        last_words(&printed, &console)
    );
    let status = machine.0.wait().context("cannot wait for the emulator")?;
    let left = folder.join("left");
    match unpack(&disk, &left) {
        Ok((exit_status, files)) => Ok(Outcome {
            exit_status,
            printed,
            files,
        }),
        Err(error) => bail!(
            "it ended ({status}) before the job did ({error:#}){}",
            last_words(&printed, &console)
        ),
    }
}

fn start(kernel: &Path, image: &Path, console: &Path, disk: &Path) -> anyhow::Result<Machine> {
    let mut command = program("qemu-system-x86_64");
    command
        .args(HARDWARE)
        .arg(format!("{COMMAND_LINE} {UNLIKE_DEBIAN}"))
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio", "-drive"])
        .arg(format!(
            "file={},format=raw,if=virtio,cache=unsafe",
            disk.display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    die_with_parent(&mut command);
    let child = command.spawn().context("cannot run qemu-system-x86_64")?;
    Ok(Machine(child))
}

/// The job's exit status and its files, from the archive that is on the disk.
fn unpack(disk: &Path, left: &Path) -> anyhow::Result<(u8, BTreeMap<PathBuf, Vec<u8>>)> {
    fs::create_dir_all(left).with_context(|| format!("cannot make {}", left.display()))?;
    run_quietly(
        Command::new("tar")
            .args(["-x", "--no-same-owner", "-f"])
            .arg(disk)
            .arg("-C")
            .arg(left),
    )?;
    let status = fs::read_to_string(left.join(STATUS)).context("it left no exit status")?;
    let status = status
        .trim()
        .parse()
        .with_context(|| format!("it left {status:?} for an exit status"))?;
    let output = left.join(OUTPUT.trim_start_matches('/'));
    let mut files = BTreeMap::new();
    collect(&output, &output, &mut files)?;
    Ok((status, files))
}

fn collect(
    root: &Path,
    folder: &Path,
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            let contents =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(path.strip_prefix(root)?.to_owned(), contents);
        }
    }
    Ok(())
}

/// The last lines of both, for an error.
fn last_words(job: &str, console: &Path) -> String {
    let console = fs::read(console).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    format!(
        "\nthe kernel's last words:\n{}the job's last words:\n{}",
        tail(&console),
        tail(job)
    )
}

fn tail(text: &str) -> String {
    let mut last = VecDeque::new();
    for line in text.lines() {
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.iter().map(|line| format!("    {line}\n")).collect()
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
