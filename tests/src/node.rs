//! One host of the lab: a network namespace and a mount namespace, and the thread that lives there.

use std::{
    any::Any,
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Uid, gettid},
};

use crate::{
    mounts,
    process::{self, Process},
};

type Job = Box<dyn FnOnce() + Send>;

/// A host. Clones are handles of the same host; with the last one it is gone.
///
/// Its namespaces are those of one thread of this process. What runs on the host is started from
/// that thread and so inherits them: closures, further threads, child processes. They have no
/// other name than `/proc/<tid>/ns/…` and vanish with the process, however that ends.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    name: String,
    tid: i32,
    jobs: Option<mpsc::Sender<Job>>,
    resident: Option<JoinHandle<()>>,
}

impl Node {
    /// Makes a host with nothing but a loopback interface.
    ///
    /// # Errors
    /// Not root, or the kernel refuses namespaces or mounts.
    pub fn new(name: &str) -> Result<Self> {
        if !Uid::effective().is_root() {
            bail!("the lab makes network namespaces and needs root: run this with sudo");
        }
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, moved_in) = mpsc::channel();
        let resident = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if ready.send(move_in().map(|()| gettid().as_raw())).is_ok() {
                    queue.into_iter().for_each(|job| job());
                }
            })
            .context("starting a host's thread")?;
        let tid = moved_in
            .recv()
            .map_err(|_| anyhow!("the thread of host {name} died"))?
            .with_context(|| format!("making the namespaces of host {name}"))?;
        let node = Self(Arc::new(Inner {
            name: name.to_owned(),
            tid,
            jobs: Some(jobs),
            resident: Some(resident),
        }));
        node.ip("link set lo up")?;
        Ok(node)
    }

    /// What errors and logs call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A thread id whose namespaces are this host's: `nsenter -t <tid> -n -m` enters it.
    #[must_use]
    pub fn tid(&self) -> i32 {
        self.0.tid
    }

    /// Runs a short closure on the host and waits for it.
    ///
    /// # Panics
    /// If the closure panics, with its payload.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = mpsc::channel::<Result<T, Box<dyn Any + Send>>>();
        let job: Job = Box::new(move || {
            // The caller waits below and unwinds with the payload; it cannot have gone away.
            let _ = send.send(panic::catch_unwind(AssertUnwindSafe(job)));
        });
        let jobs = self.0.jobs.as_ref();
        jobs.and_then(|jobs| jobs.send(job).ok())
            .and_then(|()| receive.recv().ok())
            .expect("a host's thread outlives its handles")
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Starts a thread on the host, for work that takes its time.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        // A new thread begins in the namespaces of the one that starts it.
        self.run(move || thread::spawn(work))
    }

    /// Starts a program on the host. What it prints goes to its log, unless the command says
    /// otherwise for standard output.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self, name: &str, mut command: Command, output: Stdout) -> Result<Process> {
        let label = format!("{name} on {}", self.name());
        let process_label = label.clone();
        self.run(move || process::spawn(process_label, &mut command, output))
            .with_context(|| format!("starting {label}"))
    }

    /// Runs a program on the host to its end and collects what it prints.
    ///
    /// # Errors
    /// The program cannot be started. That it fails is for the caller to see in the output.
    pub fn output(&self, command: Command) -> Result<Output> {
        self.output_with_input(command, "")
    }

    /// As [`Node::output`], with text on the program's standard input.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn output_with_input(&self, mut command: Command, input: &str) -> Result<Output> {
        let label = format!("{command:?} on {}", self.name());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process::die_with_parent(&mut command);
        let child = self.run(move || command.spawn());
        child
            .and_then(|mut child| {
                process::feed(&mut child, input)?;
                child.wait_with_output()
            })
            .with_context(|| format!("running {label}"))
    }

    /// Runs `ip` on the host, one command a line.
    ///
    /// # Errors
    /// `ip` is missing or refuses a line; the error has its words.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut command = process::program("ip");
        command.args(["-batch", "-"]);
        let output = self.output_with_input(command, lines)?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("ip on {}: {}\n{lines}", self.name(), complaint.trim());
        }
        Ok(())
    }

    /// Has `nft` take these rules on the host, all or none.
    ///
    /// # Errors
    /// `nft` is missing or refuses them; the error has its words.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut command = process::program("nft");
        command.args(["-f", "-"]);
        let output = self.output_with_input(command, rules)?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("nft on {}: {}\n{rules}", self.name(), complaint.trim());
        }
        Ok(())
    }

    /// Sets kernel settings of the host's network, each `net/…=value`.
    ///
    /// # Errors
    /// The kernel has no such setting or refuses the value.
    pub fn sysctl(&self, settings: &'static [&'static str]) -> Result<()> {
        self.run(move || {
            settings.iter().try_for_each(|setting| {
                let (key, value) = setting.split_once('=').context("a setting is KEY=VALUE")?;
                fs::write(Path::new("/proc/sys").join(key), value)
                    .with_context(|| format!("setting {setting}"))
            })
        })
    }

    /// Puts one of the machine's programs under this name into `/usr/sbin` of this host only.
    ///
    /// # Errors
    /// There is no such program.
    pub fn install(&self, program: &Path, name: &str) -> Result<()> {
        let (program, name) = (program.to_owned(), name.to_owned());
        self.run(move || mounts::install(&program, &name))
            .with_context(|| format!("installing a program on {}", self.name()))
    }

    /// Writes a file that only this host sees: under `/run`, `/etc/dns-lb` or
    /// `/var/lib/dns-lb`, or `/etc/resolv.conf`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, contents: &str) -> Result<()> {
        let path = path.as_ref().to_owned();
        let contents = contents.to_owned();
        self.run(move || -> io::Result<()> {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::write(path, contents)
        })
        .with_context(|| format!("writing a file on {}", self.name()))
    }
}

/// Where a program's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// To its log, with its standard error.
    Log,
    /// Through a pipe to whoever started it.
    Pipe,
}

/// Gives the calling thread namespaces of its own.
fn move_in() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("unshare")?;
    mounts::make_private()
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a sender the thread's loop ends, and with the thread the host.
        self.jobs = None;
        if let Some(resident) = self.resident.take()
            && resident.thread().id() != thread::current().id()
        {
            // Jobs catch their panics, so the thread ends without one.
            let _ = resident.join();
        }
    }
}
