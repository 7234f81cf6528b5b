//! dns-lb itself, as the lab sees it: a binary, a file, and a status document.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::{
    backend::Backend,
    lab::{VIP, VIP_V6},
    machine,
    node::{Node, Stdout},
    process::Process,
};

/// Where the agent looks for its configuration.
pub const CONFIG: &str = "/etc/dns-lb/dns-lb.toml";

/// How long everything may take to come up on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long the agent may take to end when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The part of `dns-lb status --json` that the lab looks at.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// How often the steering tables have been rewritten.
    pub generation: u64,
    /// The services.
    pub services: Vec<ServiceStatus>,
}

/// A service in the status document.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Packets for it, however they ended.
    pub packets: u64,
    /// Octets of the frames that were steered.
    pub bytes: u64,
    /// TCP to it.
    pub tcp: TcpStatus,
    /// Its backends.
    pub backends: Vec<BackendStatus>,
}

/// TCP of a service in the status document.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct TcpStatus {
    /// Segments that were steered.
    pub packets: u64,
    /// Those that open a connection.
    pub connections: u64,
}

/// A backend in the status document.
#[derive(Clone, Debug, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// `unknown`, `up` or `down`.
    pub health: String,
    /// Its part of the steering table, 0 to 1.
    pub share: f64,
    /// Packets steered to it.
    pub packets: u64,
    /// Its MAC address, if it has been found on the link.
    pub mac: Option<String>,
    /// What the operator wants: `enabled`, `draining` or `disabled`.
    pub admin: String,
    /// Its weight now.
    pub weight: u16,
    /// Why it cannot be found on the link.
    pub unresolved: Option<String>,
    /// Since when its health is what it is, as text.
    pub since: String,
    /// Why it is down.
    pub reason: Option<String>,
    /// Why nothing can be found out about it.
    pub frozen: Option<String>,
    /// The newest probe.
    pub last_probe: Option<ProbeStatus>,
}

/// A probe in the status document.
#[derive(Clone, Debug, Deserialize)]
pub struct ProbeStatus {
    /// How it ended, in a few words.
    pub outcome: String,
}

impl BackendStatus {
    /// All that is said of why it is as it is.
    #[must_use]
    pub fn words(&self) -> String {
        let probe = self.last_probe.as_ref().map(|probe| &probe.outcome);
        let words = [self.reason.as_ref(), probe, self.unresolved.as_ref()];
        let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
        words.join("; ")
    }
}

impl Status {
    /// A backend of any service.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&BackendStatus> {
        let mut backends = self.services.iter().flat_map(|service| &service.backends);
        backends.find(|status| status.name == name)
    }

    /// The health of a backend of any service; `None` if there is no such backend.
    #[must_use]
    pub fn health(&self, backend: &str) -> Option<&str> {
        self.backend(backend).map(|status| status.health.as_str())
    }

    /// Whether every backend is up and takes queries: the verdict is a moment ahead of the maps.
    #[must_use]
    pub fn all_up(&self) -> bool {
        let mut backends = self.services.iter().flat_map(|service| &service.backends);
        backends.all(|status| status.health == "up" && status.share > 0.0)
    }
}

/// The agent on a host.
pub struct Agent {
    node: Node,
    binary: PathBuf,
    process: Option<Process>,
}

/// A configuration with one service for the lab's VIP, or VIPs if the backends have IPv6, all else at
/// its defaults; the backends' MAC addresses are left to the agent to find.
#[must_use]
pub fn configuration(interfaces: &[&str], policy: &str, backends: &[&Backend]) -> String {
    let mut vips = vec![VIP.to_string()];
    if backends.iter().any(|backend| backend.address_v6.is_some()) {
        vips.push(VIP_V6.to_string());
    }
    let mut text = format!(
        "interfaces = {interfaces:?}\n\n\
         [api]\nlisten = \"127.0.0.1:8053\"\n\n\
         [[service]]\nname = \"resolvers\"\nvips = {vips:?}\nport = 53\n\
         protocols = [\"udp\", \"tcp\"]\npolicy = \"{policy}\"\n"
    );
    for Backend { name, address, .. } in backends {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n"
        );
    }
    text
}

/// The configuration of a host that is balancer and server at once: the backend at `place` is itself.
#[must_use]
pub fn farm_configuration(backends: &[Backend], place: usize) -> String {
    let mut text =
        format!("interfaces = [\"eth0\"]\n[[service]]\nname = \"resolvers\"\nvips = [\"{VIP}\"]\n");
    for (other, Backend { name, address, .. }) in backends.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"\nlocal = {}\n",
            other == place
        );
    }
    text
}

impl Agent {
    /// Writes the configuration to its default place on the host and starts `dns-lb run`.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(node: &Node, binary: &Path, configuration: &str) -> Result<Self> {
        node.write(CONFIG, configuration)?;
        let mut agent = Self::beside(node, binary);
        agent.restart()?;
        Ok(agent)
    }

    /// The command line alone, for who starts the agent in a way of his own.
    #[must_use]
    pub fn beside(node: &Node, binary: &Path) -> Self {
        Self {
            node: node.clone(),
            binary: binary.to_owned(),
            process: None,
        }
    }

    /// Starts `dns-lb run` again, after [`Agent::kill`] or [`Agent::terminate`].
    ///
    /// # Errors
    /// It runs already, or the binary cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the agent runs already");
        }
        let mut command = self.command();
        command.arg("run");
        self.process = Some(self.node.spawn("dns-lb", command, Stdout::Log)?);
        Ok(())
    }

    /// The agent's command line on its host, to which a verb is to be added.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.binary)
    }

    /// Runs the binary with these arguments on the host, to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command();
        command.args(arguments);
        self.node.output(command)
    }

    /// What `dns-lb status --json` says.
    ///
    /// # Errors
    /// It fails, or says something else than the design promises.
    pub fn status(&self) -> Result<Status> {
        let output = self.run(&["status", "--json"])?;
        if !output.status.success() {
            bail!(
                "dns-lb status: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "dns-lb status: {}",
                String::from_utf8_lossy(&output.stdout).trim()
            )
        })
    }

    /// Asks for the status over and over until it is as wanted; returns it, and when it was asked
    /// for.
    ///
    /// # Errors
    /// The agent ends, or the status is not so within `limit`; the error shows the agent's log.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<(Status, Instant)> {
        let deadline = Instant::now() + limit;
        loop {
            let asked = Instant::now();
            let status = self.status();
            match status {
                Ok(status) if wanted(&status) => return Ok((status, asked)),
                status if asked > deadline => {
                    bail!(
                        "not within {limit:?}: {what}\nstatus: {status:?}\nthe agent's log:\n{}",
                        self.log()
                    );
                }
                _ => {}
            }
            if let Some(process) = &mut self.process {
                process.fail_if_ended()?;
            }
            thread::sleep(machine::pause());
        }
    }

    /// Waits until the agent calls every backend up, and has every one take queries.
    ///
    /// # Errors
    /// As [`Agent::wait_until`].
    pub fn wait_until_all_up(&mut self, limit: Duration) -> Result<Status> {
        let (status, _) = self.wait_until("every backend is up", limit, Status::all_up)?;
        Ok(status)
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.take()?.kill()
    }

    /// Ends it (SIGTERM) and returns how it ended.
    ///
    /// # Errors
    /// It does not run, or does not end within 5 s.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.take()?.terminate(STOP_LIMIT)
    }

    /// Its process id.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process()?.pid())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal)
    }

    /// Stops it from running (SIGSTOP), without ending it.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.process()?.freeze()
    }

    /// Lets it run again after [`Agent::freeze`].
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the agent does not run")
    }

    /// What it has printed since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    fn take(&mut self) -> Result<Process> {
        self.process.take().context("the agent does not run")
    }
}
