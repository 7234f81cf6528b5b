//! What it costs when one of many balancers goes, and when it comes back.

use std::{
    collections::BTreeSet,
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use super::{
    Fan, Takeover,
    fan::{BALANCERS, routes},
    wait_for,
};
use crate::{
    agent::PATIENCE,
    lab::VIP,
    load::{ANSWER_LIMIT, Load, Ports},
};

/// How long the load runs before, and after all is well again.
const CALM: Duration = Duration::from_secs(1);

/// A query on its way when it happens was sent a little before.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// How a balancer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Its power is gone.
    Power,
    /// BIRD has been killed (SIGKILL).
    Bird,
    /// The agent is stopped (SIGTERM), and takes the VIPs back first.
    Stopped,
}

impl Absence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Power, Self::Bird, Self::Stopped];
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Power => "power gone",
            Self::Bird => "BIRD killed",
            Self::Stopped => "agent stopped",
        })
    }
}

/// Has the last balancer go under a load of so many queries a second, waits until the router sends it no
/// packets, has it come back, and waits until the router sends it some.
///
/// # Errors
/// Something of the lab fails, or the router does not see it.
pub fn absence(fan: &mut Fan, absence: Absence, rate: u32) -> Result<Takeover> {
    let lost_by_lab = fan.lab.own_losses()?;
    let router = fan.lab.router.clone();
    let load = Load::start(&fan.lab.clients[0].node, VIP, rate, Ports::Fresh)?;
    thread::sleep(CALM);
    // Beside what follows, since a balancer that is stopped takes its time.
    let watched = router.clone();
    let noticed = thread::spawn(move || {
        let others: BTreeSet<u8> = (1..BALANCERS).collect();
        wait_for("no route to it", PATIENCE, || {
            Ok(routes(&watched)? == others)
        })
    });
    let last = usize::from(BALANCERS) - 1;
    let balancer = &mut fan.balancers[last];
    let mut gone = Instant::now();
    match absence {
        Absence::Power => gone = balancer.cut_power(&router)?,
        Absence::Bird => balancer.kill_daemon()?,
        Absence::Stopped => ensure!(balancer.agent.terminate()?.success(), "it fails"),
    }
    let noticed = noticed.join();
    let noticed = noticed.map_err(|_| anyhow!("the thread that watches routes panicked"))??;
    thread::sleep(ANSWER_LIMIT);

    let returning = Instant::now();
    let balancer = &mut fan.balancers[last];
    match absence {
        Absence::Power => balancer.restore_power(&router)?,
        Absence::Bird => balancer.start_daemon()?,
        Absence::Stopped => balancer.agent.restart()?,
    }
    fan.settle(false)?;
    thread::sleep(CALM);
    let report = load.stop()?;

    let from = gone - ON_THE_WAY;
    let of_absence = report.between(from..returning);
    let last = of_absence.losses().last();
    Ok(Takeover {
        until_moved: noticed.saturating_duration_since(gone),
        until_last_loss: last.map_or(Duration::ZERO, |last| last.saturating_duration_since(gone)),
        lost: of_absence.lost(),
        lost_before: report.losses().filter(|&sent| sent < from).count(),
        lost_on_return: report.losses().filter(|&sent| sent >= returning).count(),
        own_losses: fan.lab.own_losses()? - lost_by_lab,
    })
}
