//! `cargo xtask demo`: a DNS server dies while queries flow, and what that costs. About a minute.

mod figures;
mod look_around;
mod screen;
mod stage;
mod summary;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Args as ClapArgs;

use crate::{binary, setup};

use self::{
    screen::Screen,
    stage::{RATE, SERVERS, Stage},
    summary::{Moments, Summary},
};

/// Show a DNS server's death in a lab of network namespaces: who answers, what is lost, and what
/// the same death does to a mail relay with several nameserver lines
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Print the result as one JSON document; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// Leave the lab up afterwards, until Ctrl-C, and say how to look around in it
    #[arg(long)]
    keep: bool,
}

/// How long all servers are watched before one dies.
const STEADY: Duration = Duration::from_secs(6);

/// How long it stays dead: time for a relay that needs 10 s a mail to send three.
const DEAD: Duration = Duration::from_secs(35);

/// How long all servers are watched after it came back.
const BACK: Duration = Duration::from_secs(6);

/// How long the agent may take to see a death or a return.
const AGENT_LIMIT: Duration = Duration::from_secs(5);

/// Runs the demo.
///
/// # Errors
/// A step failed, or did not show what it should.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        setup::is_root(),
        "the demo makes network namespaces and loads an XDP program: run it as root"
    );
    let mut screen = Screen::new(args.json);
    let binary = binary::build()?;
    screen.step("the agent and its XDP program are built from source");
    let mut stage = Stage::set(&mut screen, &binary)?;
    let moments = play(&mut stage, &mut screen)?;
    let summary = Summary::new(&stage.end_load()?, &stage.relays, SERVERS.len(), &moments);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        screen.text(&summary.table());
    }
    let failed: Vec<_> = summary.failed().collect();
    if !failed.is_empty() {
        bail!(
            "the demo did not show what it should:\n  {}\n\
             {} queries came to a server that had no room for them: the machine may be too busy\n\
             the agent's log:\n{}",
            failed.join("\n  "),
            stage.overflowed()?,
            stage.agent.log()
        );
    }
    if args.keep {
        drop(stage.relays);
        screen.text(&look_around::text(&stage.lab, &binary));
        loop {
            thread::park();
        }
    }
    Ok(())
}

/// The three acts: all serve, one is dead, all serve again.
fn play(stage: &mut Stage, screen: &mut Screen) -> Result<Moments> {
    let begun = Instant::now();
    stage.watch(screen, STEADY)?;

    let victim = stage.victim().name.clone();
    let killed = Instant::now();
    stage.victim_mut().kill()?;
    let down = |status: &dns_lb_tests::agent::Status| status.health(&victim) == Some("down");
    let what = format!("the agent calls {victim} down");
    let (_, reported_down) = stage.agent.wait_until(&what, AGENT_LIMIT, down)?;
    screen.step(&format!(
        "{} killed (SIGKILL) at {RATE} queries a second; the agent took it out after {} ms",
        stage.victim().identity(),
        (reported_down - killed).as_millis()
    ));
    stage.watch(screen, DEAD)?;

    let restarted = Instant::now();
    stage.victim_mut().start()?;
    stage.agent.wait_until_all_up(AGENT_LIMIT)?;
    let reported_up = Instant::now();
    screen.step(&format!(
        "{} started again; back in rotation after {} ms",
        stage.victim().identity(),
        (reported_up - restarted).as_millis()
    ));
    stage.watch(screen, BACK)?;
    Ok(Moments {
        begun,
        killed,
        reported_down,
        restarted,
        reported_up,
        ended: Instant::now(),
    })
}
