//! The demo's lab with all that runs in it, and the panel that shows it.

use std::{
    env,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use dns_lb_tests::{
    Agent, Backend, Host, Lab, Load, Ports, Relay, Report, Segment, Software, Topology,
    agent::{self, Status},
    lab::VIP,
    load::Tally,
    relay::Delivery,
};

use super::{
    figures::{thousands, time},
    screen::{Colour, Screen},
};

/// Queries a second.
pub(super) const RATE: u32 = 2_000;

/// Servers behind the VIP; the first is the one that dies.
pub(super) const SERVERS: [Software; 3] = [Software::Nsd, Software::Knot, Software::Unbound];

/// How long agent and servers may take to find each other.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How often the panel changes.
const FRAME: Duration = Duration::from_millis(200);

/// Width of a full bar, in characters.
const BAR: usize = 30;

/// The lab and what runs in it.
pub(super) struct Stage {
    pub(super) lab: Lab,
    pub(super) agent: Agent,
    pub(super) relays: Relays,
    load: Option<Load>,
    begun: Instant,
}

/// The mail relays, each on a client of its own.
pub(super) struct Relays {
    /// Asks the VIP.
    pub(super) vip: Relay,
    /// Its first nameserver line is the server that dies: the port refuses.
    pub(super) refused: Relay,
    /// Its first nameserver line is a host that is silent.
    pub(super) silent: Relay,
    pub(super) begun: Instant,
}

impl Stage {
    /// Builds the lab and starts everything.
    pub(super) fn set(screen: &mut Screen, binary: &Path) -> Result<Self> {
        let start = Instant::now();
        let mut topology = Topology::of(&SERVERS);
        // One for the load and one for each relay.
        topology.clients = 4;
        topology.backends.push(Host {
            software: None,
            segment: Segment::First,
        });
        let lab = Lab::start(&topology)?;
        let (silent, servers) = lab.backends.split_last().context("the lab has hosts")?;
        silent.set_silent(true)?;
        screen.step(&format!(
            "the lab is up in {}: clients, router, balancer, and nsd, knot and unbound on hosts of their own",
            time(start.elapsed())
        ));

        let servers: Vec<_> = servers.iter().collect();
        let configuration = agent::configuration(&["eth0"], "hash", &servers);
        let mut agent = Agent::start(&lab.balancer, binary, &configuration)?;
        agent.wait_until_all_up(READY_LIMIT)?;
        screen.step(&format!(
            "dns-lb runs, and steers queries for {VIP} to all three"
        ));

        let relays = Relays::start(&lab)?;
        let load = Load::start(&lab.clients[0].node, VIP, RATE, Ports::Fresh)?;
        Ok(Self {
            lab,
            agent,
            relays,
            load: Some(load),
            begun: Instant::now(),
        })
    }

    /// The server that dies.
    pub(super) fn victim(&self) -> &Backend {
        &self.lab.backends[0]
    }

    /// The server that dies.
    pub(super) fn victim_mut(&mut self) -> &mut Backend {
        &mut self.lab.backends[0]
    }

    /// Shows the panel for so long.
    pub(super) fn watch(&mut self, screen: &mut Screen, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let status = self.agent.status()?;
            let load = self.load.as_ref().context("the load has ended")?;
            let second = Duration::from_secs(1);
            let recent = load.tally(Instant::now() - second);
            let lines = self.panel(screen, &status, &recent, &load.tally(self.begun));
            screen.panel(&lines, &self.summary(&recent));
            thread::sleep(FRAME);
        }
        Ok(())
    }

    /// Queries that reached a server but not its process.
    pub(super) fn overflowed(&self) -> Result<u64> {
        self.lab.backends.iter().map(Backend::overflowed).sum()
    }

    /// Ends the load and returns its report.
    pub(super) fn end_load(&mut self) -> Result<Report> {
        self.load.take().context("the load has ended")?.stop()
    }

    fn panel(&self, screen: &Screen, status: &Status, recent: &Tally, all: &Tally) -> Vec<String> {
        let lost = format!("{} lost", thousands(all.overdue));
        let lost = if all.overdue == 0 {
            lost
        } else {
            screen.paint(&lost, Colour::Red)
        };
        let mut lines = vec![
            String::new(),
            format!(
                "  {:>3} s   {} queries answered, {lost}",
                self.begun.elapsed().as_secs(),
                thousands(all.answered),
            ),
        ];
        for backend in &self.lab.backends[..SERVERS.len()] {
            let identity = backend.identity();
            let health = status.health(&backend.name).unwrap_or("unknown");
            let colour = if health == "up" {
                Colour::Green
            } else {
                Colour::Red
            };
            let answers = recent.by.get(&identity).copied().unwrap_or_default();
            let full = (BAR * answers).div_ceil(recent.sent.max(1)).min(BAR);
            let bar = screen.paint(&"█".repeat(full), Colour::Cyan) + &"·".repeat(BAR - full);
            let health = screen.paint(&format!("{health:<7}"), colour);
            lines.push(format!(
                "  {identity:<14}{health} {bar} {:>5} a second",
                thousands(answers)
            ));
        }
        lines.push(String::new());
        for (name, delivery) in self.relays.so_far() {
            let mails = thousands(delivery.mails);
            let longest = match delivery.longest_lookup {
                Duration::ZERO => String::new(),
                longest => format!(", longest look-up {}", time(longest)),
            };
            lines.push(format!("  {name:<40}{mails:>6} mails{longest}"));
        }
        lines
    }

    /// The panel in a line.
    fn summary(&self, recent: &Tally) -> String {
        let shares: Vec<_> = self.lab.backends[..SERVERS.len()]
            .iter()
            .map(|backend| {
                let identity = backend.identity();
                let answers = recent.by.get(&identity).copied().unwrap_or_default();
                format!("{identity} {answers}")
            })
            .collect();
        let mails = self.relays.so_far().map(|(_, delivery)| delivery.mails);
        let [vip, refused, silent] = mails;
        format!(
            "{:>3} s  answers in the last second: {}; mails so far: {vip} by the VIP, \
             {refused} and {silent} by nameserver lines",
            self.begun.elapsed().as_secs(),
            shares.join(", ")
        )
    }
}

impl Relays {
    fn start(lab: &Lab) -> Result<Self> {
        let victim = lab.backends[0].address;
        let second = lab.backends[1].address;
        let silent = lab.backends[SERVERS.len()].address;
        let relay = |client: usize, nameservers: &[_]| {
            let mut program = Command::new(env::current_exe()?);
            program.arg("mail-relay");
            Relay::start(&lab.clients[client].node, program, nameservers)
        };
        let begun = Instant::now();
        Ok(Self {
            vip: relay(1, &[VIP])?,
            refused: relay(2, &[victim, second])?,
            silent: relay(3, &[silent, second])?,
            begun,
        })
    }

    /// What each relay has done since it began.
    fn so_far(&self) -> [(&'static str, Delivery); 3] {
        let time = self.begun..Instant::now();
        [
            ("mail relay, asks dns-lb", self.vip.delivery(time.clone())),
            (
                "mail relay, nameserver dns1, then dns2",
                self.refused.delivery(time.clone()),
            ),
            (
                "mail relay, nameserver silent, then dns2",
                self.silent.delivery(time),
            ),
        ]
    }
}
