//! What clients have had between them and DNS servers all along, and dns-lb: each arrangement as it runs
//! in a lab of two servers.

pub(crate) mod dnsdist;
pub(crate) mod ipvs;
mod vrrp;

use std::{
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use dns_lb_tests::{
    Agent, Backend, Lab, Software,
    agent::{self, PATIENCE},
    comparison::{Arrangement, Skipped},
    dns,
    lab::VIP,
    process,
};

use self::{dnsdist::Dnsdist, ipvs::Ipvs, vrrp::Vrrp};

/// The servers: `dns1` and `dns2`, the same for every arrangement.
pub(crate) const SERVERS: [Software; 2] = [Software::Nsd, Software::Nsd];

/// Settings of `[service.health]` by which a server is out as soon as one probe has failed.
const FAST: &str = "[service.health]\ninterval = \"50ms\"\ntimeout = \"50ms\"\nfall = 1\n";

/// An arrangement that runs. Dropping it ends all of it.
pub(crate) struct Peer {
    arrangement: Arrangement,
    running: Running,
}

enum Running {
    /// Clients ask the servers themselves.
    Nothing,
    Vrrp(Vrrp),
    Ipvs(Ipvs),
    Dnsdist(Dnsdist),
    DnsLb(Agent),
}

/// What of an arrangement is not to be had here; none if all is. It is said on standard error too.
pub(crate) fn missing(arrangement: Arrangement) -> Option<Skipped> {
    let programs: &[&str] = match arrangement {
        Arrangement::VrrpScript
        | Arrangement::IpvsTextbook
        | Arrangement::IpvsExpire
        | Arrangement::IpvsTuned => &["keepalived", "dig"],
        Arrangement::Dnsdist | Arrangement::DnsdistTuned => &["dnsdist"],
        Arrangement::NameserverLines
        | Arrangement::NameserverLinesTuned
        | Arrangement::DnsLb
        | Arrangement::DnsLbTuned => &[],
    };
    let why = if let Some(program) = programs.iter().find(|program| !is_installed(program)) {
        format!("{program} is not installed: run cargo xtask setup")
    } else if needs_ipvs(arrangement) && !ipvs::is_there() {
        "this kernel has no IPVS, or has not loaded it (modprobe ip_vs): there is no \
         /proc/net/ip_vs"
            .to_owned()
    } else {
        return None;
    };
    let skipped = Skipped {
        what: arrangement.to_string(),
        why,
    };
    eprintln!("SKIPPED: {}: {}", skipped.what, skipped.why);
    Some(skipped)
}

const fn needs_ipvs(arrangement: Arrangement) -> bool {
    matches!(
        arrangement,
        Arrangement::IpvsTextbook | Arrangement::IpvsExpire | Arrangement::IpvsTuned
    )
}

/// Whether a program is where [`process::program`] looks for it.
fn is_installed(program: &str) -> bool {
    let command = process::program(program);
    let path = command
        .get_envs()
        .find_map(|(name, value)| value.filter(|_| name == "PATH"));
    path.is_some_and(|path| env::split_paths(path).any(|folder| folder.join(program).is_file()))
}

impl Peer {
    /// Starts an arrangement in a lab of [`SERVERS`] that has no other, without waiting for it.
    ///
    /// # Errors
    /// Something of it cannot be started: see [`missing`].
    pub(crate) fn start(arrangement: Arrangement, lab: &Lab, binary: &Path) -> Result<Self> {
        let running = match arrangement {
            Arrangement::NameserverLines | Arrangement::NameserverLinesTuned => Running::Nothing,
            Arrangement::VrrpScript => Running::Vrrp(Vrrp::start(lab)?),
            Arrangement::IpvsTextbook | Arrangement::IpvsExpire | Arrangement::IpvsTuned => {
                Running::Ipvs(Ipvs::start(arrangement, lab)?)
            }
            Arrangement::Dnsdist | Arrangement::DnsdistTuned => {
                Running::Dnsdist(Dnsdist::start(arrangement, lab)?)
            }
            Arrangement::DnsLb => Running::DnsLb(start_agent(lab, binary, "")?),
            Arrangement::DnsLbTuned => Running::DnsLb(start_agent(lab, binary, FAST)?),
        };
        Ok(Self {
            arrangement,
            running,
        })
    }

    /// Waits until it serves with all that it has: by what it says of itself, and by who answers a client.
    ///
    /// # Errors
    /// It does not within [`PATIENCE`]; the error has its log.
    pub(crate) fn wait_until_ready(&mut self, lab: &Lab) -> Result<()> {
        match &mut self.running {
            Running::Nothing => return Ok(()),
            Running::Vrrp(vrrp) => vrrp.wait_until_ready(lab)?,
            Running::Ipvs(ipvs) => ipvs.wait_until_ready(lab)?,
            Running::Dnsdist(_) => {}
            Running::DnsLb(agent) => drop(agent.wait_until_all_up(PATIENCE)?),
        }
        self.wait_until_answering(lab)
            .map_err(|error| error.context(self.log()))
    }

    /// Waits until a client has had answers by the VIP from each server that is in use.
    fn wait_until_answering(&mut self, lab: &Lab) -> Result<()> {
        let mut silent = match self.arrangement {
            // The other stands by.
            Arrangement::VrrpScript => [lab.backends[0].identity()].into(),
            _ => lab.identities(),
        };
        let deadline = Instant::now() + PATIENCE;
        while !silent.is_empty() {
            if let Running::Dnsdist(dnsdist) = &mut self.running {
                dnsdist.fail_if_ended()?;
            }
            if Instant::now() > deadline {
                bail!("{}: no answer from {silent:?}", self.arrangement);
            }
            let client = &lab.clients[0].node;
            match client.run(|| dns::ask_identity(VIP, Duration::from_millis(100))) {
                Ok(identity) => drop(silent.remove(&identity)),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
        Ok(())
    }

    /// Makes sure that it has taken a dead server out, long after it should have. What is lost by checks that
    /// do not run would be no figure of the arrangement's: IPVS's connections lose on without an end either way.
    ///
    /// # Errors
    /// The server is in use.
    pub(crate) fn ensure_is_out(&self, lab: &Lab, dead: usize) -> Result<()> {
        let server = &lab.backends[dead];
        let is_used = match &self.running {
            Running::Nothing => false,
            Running::Vrrp(vrrp) => vrrp.uses(server)?,
            Running::Ipvs(ipvs) => ipvs.uses(lab, server)?,
            Running::Dnsdist(dnsdist) => !dnsdist.has_taken_out(server),
            Running::DnsLb(agent) => agent.status()?.health(&server.name) != Some("down"),
        };
        ensure!(
            !is_used,
            "{} is dead, and {} uses it all the same",
            server.name,
            self.arrangement
        );
        Ok(())
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        match &self.running {
            Running::Nothing => String::new(),
            Running::Vrrp(vrrp) => vrrp.log(),
            Running::Ipvs(ipvs) => ipvs.log(),
            Running::Dnsdist(dnsdist) => dnsdist.log(),
            Running::DnsLb(agent) => agent.log(),
        }
    }
}

fn start_agent(lab: &Lab, binary: &Path, timing: &str) -> Result<Agent> {
    let backends: Vec<&Backend> = lab.backends.iter().collect();
    let configuration = agent::configuration(&["eth0"], "hash", &backends) + timing;
    Agent::start(&lab.balancer, binary, &configuration)
}
