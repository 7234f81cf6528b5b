//! A program that runs on a host of the lab, and ends with it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::{
        fs::FileExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl::set_pdeathsig,
        signal::{Signal, killpg},
    },
    unistd::{Pid, getpid, getppid},
};

use crate::node::Stdout;

/// How long a signal may take to reach every thread.
const SIGNAL_LIMIT: Duration = Duration::from_secs(20);

/// A running program and what it has printed. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    /// In memory: a file on disk would outlive a killed lab.
    log: File,
}

/// A command that is looked for in sbin too, where daemons and network tools are and many a user's
/// path does not lead.
#[must_use]
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command
}

/// Starts a program in the namespaces of the calling thread, which must live as long as it.
pub(crate) fn spawn(name: String, command: &mut Command, stdout: Stdout) -> Result<Process> {
    let log = File::from(memfd_create(c"log", MFdFlags::MFD_CLOEXEC)?);
    command
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(match stdout {
            Stdout::Log => Stdio::from(log.try_clone()?),
            Stdout::Pipe => Stdio::piped(),
        })
        // A group of its own: signals reach all of its processes, and Ctrl-C none.
        .process_group(0);
    die_with_parent(command);
    let child = command.spawn()?;
    Ok(Process { name, child, log })
}

/// Has the program killed when the thread that starts it ends.
pub fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let before_exec = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended between fork and here; then no signal will ever come.
        if getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::from(Errno::ESRCH))
        }
    };
    // SAFETY: between fork and exec, the closure makes two system calls; it takes no lock and
    // allocates nothing.
    unsafe { command.pre_exec(before_exec) };
}

/// Writes a child's standard input and closes it.
pub(crate) fn feed(child: &mut Child, input: &str) -> io::Result<()> {
    match child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()))
    {
        // It ended without reading to the end; its exit status tells why.
        Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Some(result) => result,
        None => Ok(()),
    }
}

impl Process {
    /// Its process id, which is also its process group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The reading end of its standard output, once, if it was started with a pipe.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends a signal to it and its own children.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Stops it and its own children (SIGSTOP) and waits until none of their threads runs.
    ///
    /// # Errors
    /// It has ended, or a thread does not stop within 20 s.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        self.wait_for_threads("Tt")
    }

    /// Kills it and its own children (SIGKILL) and waits until they are gone.
    ///
    /// # Errors
    /// It had already ended, or a child does not go within 20 s.
    pub fn kill(mut self) -> Result<()> {
        self.fail_if_ended()?;
        self.signal(Signal::SIGKILL)?;
        self.child.wait()?;
        self.wait_for_threads("")
    }

    /// Waits until each thread of its process group that has not ended is in one of these states
    /// (proc_pid_stat(5)): a signal takes effect only when a thread next runs.
    fn wait_for_threads(&self, states: &str) -> Result<()> {
        let deadline = Instant::now() + SIGNAL_LIMIT;
        while threads_of_group(self.pid())?
            .iter()
            .any(|&state| !"ZX".contains(state) && !states.contains(state))
        {
            if Instant::now() > deadline {
                bail!("{} goes on after a signal for {SIGNAL_LIMIT:?}", self.name);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// It had already ended, or does not end within `limit`; the error shows its log.
    pub fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        self.fail_if_ended()?;
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} ignores SIGTERM for {limit:?}\n{}",
                    self.name,
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails with its log if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn fail_if_ended(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let how = match status.signal() {
                Some(signal) => format!("was killed by signal {signal}"),
                None => format!("ended ({status})"),
            };
            bail!("{} {how}\n{}", self.name, self.log());
        }
        Ok(())
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        // Read by place: the program writes through the same open file, whose offset it needs.
        let length = self.log.metadata().map_or(0, |metadata| metadata.len());
        let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
        match self.log.read_exact_at(&mut text, 0) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }
}

/// The state of each thread in a process group.
fn threads_of_group(group: u32) -> Result<Vec<char>> {
    let group = group.to_string();
    let mut states = Vec::new();
    for process in fs::read_dir("/proc")? {
        let Ok(threads) = fs::read_dir(process?.path().join("task")) else {
            continue; // Not a process, or one that has just ended.
        };
        for thread in threads.flatten() {
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else {
                continue;
            };
            // Id, name in parentheses, state, parent, group; a name may hold anything.
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
            let state = fields.nth(1).and_then(|state| state.chars().next());
            if fields.nth(1) == Some(&group) {
                states.extend(state);
            }
        }
    }
    Ok(states)
}

/// Whether nobody of a process group has a process id any more. Whoever outlived the program that it was a
/// child of is reaped by init, which takes its time.
pub(crate) fn is_reaped(group: u32) -> bool {
    killpg(Pid::from_raw(group.cast_signed()), None) == Err(Errno::ESRCH)
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        let _ = self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
