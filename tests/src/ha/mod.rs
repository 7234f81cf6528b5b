//! Farms with more than one balancer: each with its agent, and with the daemon that decides who gets
//! the packets.

mod absence;
pub mod fan;
pub mod pair;
mod takeover;

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

pub use self::{
    absence::{Absence, absence},
    fan::Fan,
    pair::Pair,
    takeover::{Fault, Takeover, takeover},
};
use crate::{
    agent::Agent,
    lab::{VIP, VIP_V6},
    machine,
    node::{Node, Stdout},
    process::{self, Process},
};

/// The key of all balancers: with different ones, they would send a flow to different servers.
const HASH_KEY: &str = "0123456789abcdef0123456789abcdef";

/// How long a daemon may take to end when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long init may take to reap what a killed one leaves.
const REAP_LIMIT: Duration = Duration::from_secs(20);

/// A daemon that decides who gets the packets, with its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// Debian's keepalived.
    Keepalived(String),
    /// Debian's BIRD 2.
    Bird(String),
}

impl Daemon {
    /// Starts it on a host.
    ///
    /// # Errors
    /// It is not installed.
    pub fn start(&self, node: &Node) -> Result<Process> {
        let (name, file, text, arguments): (_, _, _, &[&str]) = match self {
            Self::Keepalived(text) => (
                "keepalived",
                "/run/keepalived/keepalived.conf",
                text,
                // Without a syslog it would write to the machine's console.
                &["--dont-fork", "--log-console", "--no-syslog", "--use-file"],
            ),
            Self::Bird(text) => ("bird", "/run/bird/bird.conf", text, &["-f", "-c"]),
        };
        node.write(file, text)?;
        let mut command = process::program(name);
        command.args(arguments).arg(file);
        node.spawn(name, command, Stdout::Log)
            .with_context(|| format!("{name} is missing: run cargo xtask setup"))
    }
}

/// A host with an agent and a daemon.
pub struct Balancer {
    /// The host.
    pub node: Node,
    /// Its agent.
    pub agent: Agent,
    /// The router's end of its link.
    port: String,
    daemon: Daemon,
    process: Option<Process>,
    /// The process group of the daemon that was killed last.
    killed: Option<u32>,
}

impl Balancer {
    /// Starts both, without waiting for either.
    ///
    /// # Errors
    /// One of them cannot be started.
    pub fn start(
        node: &Node,
        port: &str,
        binary: &Path,
        configuration: &str,
        daemon: Daemon,
    ) -> Result<Self> {
        node.write("/etc/dns-lb/hash.key", HASH_KEY)?;
        node.install(binary, "dns-lb")?;
        let mut balancer = Self {
            agent: Agent::start(node, Path::new("/usr/sbin/dns-lb"), configuration)?,
            node: node.clone(),
            port: port.to_owned(),
            daemon,
            process: None,
            killed: None,
        };
        balancer.start_daemon()?;
        Ok(balancer)
    }

    /// Starts the daemon again, after [`Balancer::kill_daemon`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_daemon(&mut self) -> Result<()> {
        // keepalived does not start while there is a process of the id that the last one left in a file.
        if let Some(killed) = self.killed.take() {
            let what = "init has reaped the last daemon";
            wait_for(what, REAP_LIMIT, || Ok(process::is_reaped(killed)))?;
        }
        self.process = Some(self.daemon.start(&self.node)?);
        Ok(())
    }

    /// Asks the daemon to end (SIGTERM), and waits.
    ///
    /// # Errors
    /// It does not run, or does not end within 5 s.
    pub fn stop_daemon(&mut self) -> Result<()> {
        let process = self.process.take().context("no daemon runs")?;
        process.terminate(STOP_LIMIT).map(drop)
    }

    /// Kills the daemon (SIGKILL), which can undo nothing of what it did.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_daemon(&mut self) -> Result<()> {
        let process = self.process.take().context("no daemon runs")?;
        self.killed = Some(process.pid());
        process.kill()
    }

    /// What the daemon has printed since it was last started.
    #[must_use]
    pub fn daemon_log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Whether the last that keepalived has said of its script is that it succeeded.
    fn is_called_ready(&self) -> bool {
        let log = self.daemon_log();
        let mut said = log.lines().filter(|line| line.contains("VRRP_Script("));
        said.next_back()
            .is_some_and(|line| line.ends_with("succeeded"))
    }

    /// Whether the VIP is an address of this interface, and who has IPv6 has that of IPv6.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn has_vip(&self, interface: &str) -> Result<bool> {
        has_vip(&self.node, interface)
    }

    /// Takes its power away: nothing comes out of its link from one moment to the next.
    ///
    /// # Errors
    /// `ip` fails, or something of it does not run.
    pub fn cut_power(&mut self, router: &Node) -> Result<Instant> {
        router.ip(&format!("link set {} down", self.port))?;
        let cut = Instant::now();
        self.agent.kill()?;
        self.kill_daemon()?;
        Ok(cut)
    }

    /// Has it boot, with nothing left of before in its kernel.
    ///
    /// # Errors
    /// `ip` fails, or something of it cannot be started.
    pub fn restore_power(&mut self, router: &Node) -> Result<()> {
        for interface in ["eth0", "lo"] {
            if self.has_vip(interface)? && !self.keeps_vip_on(interface) {
                self.node
                    .ip(&format!("addr del {VIP}/32 dev {interface}"))?;
                // Without IPv6 there is none.
                let _ = self
                    .node
                    .ip(&format!("addr del {VIP_V6}/128 dev {interface}"));
            }
        }
        let output = self.agent.run(&["unload"])?;
        ensure!(output.status.success(), "dns-lb unload: {output:?}");
        router.ip(&format!("link set {} up", self.port))?;
        self.agent.restart()?;
        self.start_daemon()
    }

    /// A DNS server's own VIP stays over a boot.
    fn keeps_vip_on(&self, interface: &str) -> bool {
        interface == "lo" && matches!(self.daemon, Daemon::Keepalived(_))
    }

    /// Takes the program off `eth0` behind the agent's back.
    ///
    /// # Errors
    /// `bpftool` is missing or refuses.
    pub fn detach_by_hand(&self) -> Result<()> {
        let status = self.agent.run(&["status", "--json"])?;
        let status: Value = serde_json::from_slice(&status.stdout).context("a status")?;
        let link = &status["dataplane"]["interfaces"][0]["link_id"];
        let mut command = process::program("bpftool");
        command.args(["link", "detach", "id", &link.to_string()]);
        let output = self.node.output(command)?;
        ensure!(output.status.success(), "bpftool: {output:?}");
        Ok(())
    }

    /// What `dns-lb doctor` calls an error.
    ///
    /// # Errors
    /// It cannot be run, or prints something else.
    pub fn errors_found(&self) -> Result<Vec<Value>> {
        let output = self.agent.run(&["doctor", "--json"])?;
        let document: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("dns-lb doctor: {output:?}"))?;
        let checks = document["checks"].as_array().context("no checks")?.iter();
        let errors = checks.filter(|check| check["severity"] == "error");
        Ok(errors.cloned().collect())
    }

    /// Whether `dns-lb ready` says so, and how long it took.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn ready(&self) -> Result<(bool, Duration)> {
        let asked = Instant::now();
        let output = self.agent.run(&["ready", "--quiet"])?;
        Ok((output.status.success(), asked.elapsed()))
    }
}

/// See [`Balancer::has_vip`].
fn has_vip(node: &Node, interface: &str) -> Result<bool> {
    let text = printed(
        node,
        "ip",
        &["-oneline", "address", "show", "dev", interface],
    )?;
    let has_v4 = text.contains(&format!(" {VIP}/32 "));
    let has_v6 = text.contains(&format!(" {VIP_V6}/128 "));
    Ok(has_v4 && (has_v6 || !text.contains("inet6")))
}

/// Has the router's bridge send a balancer only frames for addresses that it has been heard from, and to
/// all: a NIC would let no others up, but a veth does, and the program steers whatever it sees. So a
/// balancer would stand in for a dead one before any daemon had noticed.
fn filter_port(router: &Node, port: &str) -> Result<()> {
    router.ip(&format!("link set {port} type bridge_slave flood off"))
}

/// Asks over and over until it is so; returns when it was found to be.
///
/// # Errors
/// It is not within `limit`, or asking fails.
pub fn wait_for(
    what: &str,
    limit: Duration,
    mut wanted: impl FnMut() -> Result<bool>,
) -> Result<Instant> {
    let deadline = Instant::now() + limit;
    loop {
        let asked = Instant::now();
        if wanted()? {
            return Ok(asked);
        }
        if asked > deadline {
            bail!("not within {limit:?}: {what}");
        }
        thread::sleep(machine::pause());
    }
}

/// What a command prints on a host.
///
/// # Errors
/// It cannot be run, or fails.
pub fn printed(node: &Node, program: &str, arguments: &[&str]) -> Result<String> {
    let mut command: Command = process::program(program);
    command.args(arguments);
    let output = node.output(command)?;
    ensure!(output.status.success(), "{program}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
