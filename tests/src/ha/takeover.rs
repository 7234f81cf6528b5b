//! What it costs when something is wrong with the host that has the VIP, and when it is well again.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{Pair, has_vip, wait_for};
use crate::{
    agent::PATIENCE,
    lab::VIP,
    load::{ANSWER_LIMIT, Load, Ports},
};

/// How long the load runs before, and after all is well again: longer than until keepalived says a
/// second time who has the VIP.
const CALM: Duration = Duration::from_millis(2_500);

/// A query on its way when it happens was sent a little before.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// The table of nftables that the servers drop the active balancer's probes by.
const CUT_OFF: &str = "inet cut_off";

/// What is wrong with the host that has the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its power is gone.
    Power,
    /// keepalived is stopped (SIGTERM), as before a reboot: no fault at all.
    Stopped,
    /// keepalived has been killed (SIGKILL), and has left the VIP where it was.
    Keepalived,
    /// The agent has been killed (SIGKILL), and does not come back.
    Agent,
    /// Somebody has taken the program off the interface.
    Detached,
    /// Every server is down as it sees it, but not as the other does.
    CutOff,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Power,
        Self::Stopped,
        Self::Keepalived,
        Self::Agent,
        Self::Detached,
        Self::CutOff,
    ];

    fn strike(self, pair: &mut Pair) -> Result<Instant> {
        let Pair { balancers, lab } = pair;
        let active = &mut balancers[0];
        match self {
            Self::Power => return active.cut_power(&lab.router),
            Self::Stopped => {
                let stopping = Instant::now();
                active.stop_daemon()?;
                return Ok(stopping);
            }
            Self::Keepalived => active.kill_daemon()?,
            Self::Agent => active.agent.kill()?,
            Self::Detached => active.detach_by_hand()?,
            Self::CutOff => {
                for backend in &lab.backends {
                    backend.node.nft(&format!(
                        "table {CUT_OFF} {{\n chain in {{
                            type filter hook prerouting priority raw
                            ip saddr 192.168.0.1 udp dport 53 drop
                            ip saddr 192.168.0.1 tcp dport 53 drop
                            ip6 saddr 2001:db8::1 udp dport 53 drop
                            ip6 saddr 2001:db8::1 tcp dport 53 drop
                        }}\n }}"
                    ))?;
                }
            }
        }
        Ok(Instant::now())
    }

    fn mend(self, pair: &mut Pair) -> Result<()> {
        let Pair { balancers, lab } = pair;
        let active = &mut balancers[0];
        match self {
            Self::Power => active.restore_power(&lab.router),
            Self::Stopped | Self::Keepalived => active.start_daemon(),
            Self::Agent => active.agent.restart(),
            Self::Detached => {
                active.agent.terminate()?;
                active.agent.restart()
            }
            Self::CutOff => {
                let mut backends = lab.backends.iter();
                backends
                    .try_for_each(|backend| backend.node.nft(&format!("delete table {CUT_OFF}")))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Power => "power gone",
            Self::Stopped => "keepalived stopped",
            Self::Keepalived => "keepalived killed",
            Self::Agent => "agent killed",
            Self::Detached => "program detached",
            Self::CutOff => "no server seen",
        })
    }
}

/// How the VIP's packets went to other balancers and back.
#[derive(Clone, Debug)]
pub struct Takeover {
    /// From the fault to when another host was seen to have the VIP, or the router no route to this one.
    pub until_moved: Duration,
    /// From the fault to when the last query was sent that was lost; zero if none was.
    pub until_last_loss: Duration,
    /// Queries lost of those sent from just before the fault on, until it was mended.
    pub lost: usize,
    /// Queries lost of those sent before that.
    pub lost_before: usize,
    /// Queries lost of those sent since the mending began.
    pub lost_on_return: usize,
    /// Queries that the lab lost by itself: see [`crate::Lab::own_losses`].
    pub own_losses: u64,
}

/// Has something go wrong with the first host under a load of so many queries a second, waits until the
/// other has the VIP, mends it, and waits until the first has the VIP again.
///
/// # Errors
/// Something of the lab fails, or the VIP does not move.
pub fn takeover(pair: &mut Pair, fault: Fault, rate: u32) -> Result<Takeover> {
    let lost_by_lab = pair.lab.own_losses()?;
    let client = pair.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, rate, Ports::Fresh)?;
    thread::sleep(CALM);
    // Beside what follows: a daemon that is stopped takes its time.
    let other = pair.balancers[1].node.clone();
    let moved = thread::spawn(move || {
        wait_for("the other has the VIP", PATIENCE, || {
            has_vip(&other, "eth0")
        })
    });
    let struck = fault.strike(pair)?;
    let moved = moved.join();
    let moved = moved
        .map_err(|_| anyhow!("the thread that watches the VIP panicked"))?
        .with_context(|| pair.logs())?;
    thread::sleep(ANSWER_LIMIT);
    let tally = load.tally(moved + ANSWER_LIMIT / 2);
    ensure!(tally.answered > 0, "{fault}: nobody answers: {tally:?}");

    let mending = Instant::now();
    fault.mend(pair)?;
    pair.settle()?;
    thread::sleep(CALM);
    let report = load.stop()?;

    let from = struck - ON_THE_WAY;
    let of_fault = report.between(from..mending);
    let last = of_fault.losses().last();
    Ok(Takeover {
        until_moved: moved.saturating_duration_since(struck),
        until_last_loss: last.map_or(Duration::ZERO, |last| {
            last.saturating_duration_since(struck)
        }),
        lost: of_fault.lost(),
        lost_before: report.losses().filter(|&sent| sent < from).count(),
        lost_on_return: report.losses().filter(|&sent| sent >= mending).count(),
        own_losses: pair.lab.own_losses()? - lost_by_lab,
    })
}
