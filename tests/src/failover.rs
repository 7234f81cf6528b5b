//! What a death costs: queries lost until the others answer for the dead, and when it returns.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    agent::{Agent, PATIENCE},
    backend::Backend,
    death::Death,
    lab::{Lab, VIP},
    load::{ANSWER_LIMIT, Load, Ports},
};

/// How long the load runs before the death, and after all is well again.
const CALM: Duration = Duration::from_secs(1);

/// How one server's death and return went.
#[derive(Clone, Debug)]
pub struct Failover {
    /// From the death to when the last query was sent that was lost; zero if none was.
    pub until_last_loss: Duration,
    /// Queries lost of those sent from just before the death on, until the return.
    pub lost: usize,
    /// Queries lost of those sent before that.
    pub lost_before: usize,
    /// Queries lost of those sent since the return began.
    pub lost_on_return: usize,
    /// Queries that the lab lost by itself: see [`Lab::own_losses`].
    pub own_losses: u64,
    /// What the status said of the dead, in words.
    pub words: String,
}

/// A query on its way when the server dies was sent a little before.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// Has a backend die under a load of so many queries a second, waits until the agent has it out and
/// names the reason, brings it back, and waits until it is in again.
///
/// # Errors
/// Something of the lab fails, or the agent does not find out within 20 s.
///
/// # Panics
/// There is no such backend.
pub fn failover(
    lab: &mut Lab,
    agent: &mut Agent,
    victim: usize,
    death: Death,
    rate: u32,
) -> Result<Failover> {
    let doom = death.prepare(&lab.backends[victim])?;
    let name = lab.backends[victim].name.clone();
    let lost_by_lab = lab.own_losses_but_of(victim)?;
    let load = Load::start(&lab.clients[0].node, VIP, rate, Ports::Fresh)?;
    thread::sleep(CALM);
    let died = doom.strike(&mut lab.backends[victim])?;
    let backend = &lab.backends[victim];
    let words = await_out(agent, backend, death)?;
    // What a hung server has taken in and answers when it goes on again must have been lost by then.
    thread::sleep(ANSWER_LIMIT);
    let returning = Instant::now();
    doom.undo(&mut lab.backends[victim])?;
    agent.wait_until_all_up(PATIENCE)?;
    let back = Instant::now();
    thread::sleep(CALM);
    let report = load.stop()?;

    let again = report.between(back..Instant::now()).by_identity();
    ensure!(
        again.contains_key(&lab.backends[victim].identity()),
        "{name} is up and answers nobody: {again:?}"
    );
    let from = died - ON_THE_WAY;
    let of_death = report.between(from..returning);
    let last = of_death.losses().last();
    Ok(Failover {
        until_last_loss: last.map_or(Duration::ZERO, |last| last.saturating_duration_since(died)),
        lost: of_death.lost(),
        lost_before: report.losses().filter(|&sent| sent < from).count(),
        lost_on_return: report.losses().filter(|&sent| sent >= returning).count(),
        own_losses: lab.own_losses_but_of(victim)? - lost_by_lab,
        words,
    })
}

/// Waits until a backend is down and has no queries, and the status names the reason.
fn await_out(agent: &mut Agent, backend: &Backend, death: Death) -> Result<String> {
    let what = format!("{} is out, {death}", backend.name);
    let (status, _) = agent.wait_until(&what, PATIENCE, |status| {
        status.backend(&backend.name).is_some_and(|found| {
            found.health == "down"
                && found.share == 0.0
                && death.is_named_in(&found.words(), backend)
        })
    })?;
    Ok(status
        .backend(&backend.name)
        .map(|found| found.words())
        .unwrap_or_default())
}
