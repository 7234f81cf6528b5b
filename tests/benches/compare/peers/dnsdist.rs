//! dnsdist on the balancer: a proxy, which answers clients itself.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use dns_lb_tests::{
    Backend, Lab, Node, Process, comparison::Arrangement, lab::VIP, node::Stdout, process,
};

/// Its file on the balancer.
const CONFIG: &str = "/run/dnsdist/dnsdist.conf";

/// Its shortest period is a second, and one failure is enough by default. What is left is how long an
/// answer may take, in milliseconds (1,000), and that no other answer will do.
const TUNED: &str = "checkName=\"id.lab.example.\", checkType=\"TXT\", mustResolve=true, \
                     checkInterval=1, maxCheckFailures=1, rise=1, checkTimeout=100";

/// dnsdist.
pub(super) struct Dnsdist {
    process: Process,
}

impl Dnsdist {
    pub(super) fn start(arrangement: Arrangement, lab: &Lab) -> Result<Self> {
        let settings = match arrangement {
            Arrangement::DnsdistTuned => TUNED,
            _ => "",
        };
        Ok(Self {
            process: start(&lab.balancer, &lab.backends, settings)?,
        })
    }

    /// That it runs is all that there is to see: its console is off, and a server is up or down from the
    /// first check on, before which nothing is answered.
    pub(super) fn fail_if_ended(&mut self) -> Result<()> {
        self.process.fail_if_ended()
    }

    /// Whether the last that it has said of a server is that it is down.
    pub(super) fn has_taken_out(&self, server: &Backend) -> bool {
        let said = format!("Marking downstream {}:53 as '", server.address);
        let log = self.process.log();
        log.rsplit_once(&said)
            .is_some_and(|(_, last)| last.starts_with("down'"))
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }
}

/// Starts dnsdist on a host that has the VIP, with these settings for each server.
pub(crate) fn start(node: &Node, servers: &[Backend], settings: &str) -> Result<Process> {
    // By default it serves private networks alone. And there is no way out of the lab, by which it
    // could ask about its own version.
    let mut text =
        format!("setLocal(\"{VIP}:53\")\nsetACL({{\"0.0.0.0/0\"}})\nsetSecurityPollSuffix(\"\")\n");
    for server in servers {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "newServer({{address=\"{}:53\", {settings}}})",
            server.address
        );
    }
    node.write(CONFIG, &text)?;
    let mut command = process::program("dnsdist");
    command.args(["--supervised", "--disable-syslog", "--config", CONFIG]);
    node.spawn("dnsdist", command, Stdout::Log)
        .context("dnsdist is missing: run cargo xtask setup")
}
