//! What operators do to a balancer at work loses no query and resets no connection.
//!
//! Each test sends at least 200,000 queries at 5,000 a second over UDP, and has 500 connections that
//! ask once a second. `cargo xtask test --soak` has them send 1,000,000 (`DNS_LB_SOAK`).

mod agent;
mod all_at_once;
mod control;
mod reload;

use std::{
    collections::BTreeSet,
    env, fs, thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Backend, Host, Load, Ports, Report, Software, Talks, Topology, agent::Status, lab::VIP,
    load::ANSWER_LIMIT, talk::Talk,
};

use crate::stage::{GENTLER, LOUD, Stage, assert_lost};

/// Queries that a test sends at least.
const QUERIES: u32 = 200_000;
const QUERIES_OF_SOAK: u32 = 1_000_000;

/// Connections that stay open.
const CONNECTIONS: usize = 500;

/// How long the agent may take for a change, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// The servers, all of which take hundreds of connections; most tests begin with the first three.
const SERVERS: [Software; 4] = [Software::Nsd, Software::Knot, Software::Nsd, Software::Knot];

/// A farm under load: queries over UDP from one host, connections from three.
struct Traffic {
    stage: Stage,
    load: Option<Load>,
    talks: Option<Talks>,
    started: Instant,
    lost_by_lab: u64,
    hash_key: Vec<u8>,
}

/// What became of it.
struct Outcome {
    report: Report,
    talks: Vec<Talk>,
}

impl Traffic {
    /// Sets the stage with the configuration that this makes of all that run, and starts to ask.
    fn start(configuration: impl FnOnce(&[&Backend]) -> String) -> Self {
        let topology = Topology {
            // One for the load, and three for the connections.
            clients: 4,
            backends: SERVERS.map(Host::running).into(),
            ..Topology::of(&[])
        };
        let stage = Stage::set_alone(&topology, configuration);
        let lost_by_lab = stage.lab.own_losses().expect("counters");
        let clients = &stage.lab.clients;
        let hosts: Vec<_> = clients[1..]
            .iter()
            .map(|client| client.node.clone())
            .collect();
        let talks = Talks::open(&hosts, VIP, CONNECTIONS).expect("connections");
        let load = Load::start(&clients[0].node, VIP, LOUD, Ports::Fresh).expect("a load");
        Self {
            load: Some(load),
            talks: Some(talks),
            started: Instant::now(),
            lost_by_lab,
            hash_key: hash_key(&stage),
            stage,
        }
    }

    /// Queries that are sent at least.
    fn queries() -> u32 {
        match env::var_os("DNS_LB_SOAK") {
            Some(_) => QUERIES_OF_SOAK / GENTLER,
            None => QUERIES / GENTLER,
        }
    }

    /// The time that the queries take.
    fn duration() -> Duration {
        // A moment more: the last query of a second may leave after it.
        Duration::from_secs(u64::from(Self::queries() / LOUD) + 1)
    }

    /// Waits until this part of the time has gone by: the first of two of 40 s after 20 s.
    fn await_part(&self, part: u32, of: u32) {
        let until = self.started + Self::duration() * part / of;
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    /// Waits until the agent's status is as wanted.
    fn await_status(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let waited = self.stage.agent.wait_until(what, PATIENCE, wanted);
        waited.expect("the agent does it").0
    }

    /// Runs a verb of the agent's, which must not fail.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.stage.agent.run(arguments).expect("it can be run");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Connections that are broken or have moved by now, of those that have not reached `but`.
    fn assert_talks_stay(&self, but: Option<&str>, when: &str) {
        let talks = self.talks.as_ref().expect("they talk").so_far();
        assert_stay(&talks, but, when);
    }

    /// Waits until all queries are sent, and sees that nothing was lost and no connection is broken,
    /// save those that have reached `removed`, if anybody was.
    fn finish(mut self, removed: Option<&str>) -> Outcome {
        self.await_part(1, 1);
        let report = self.load.take().expect("it runs").stop().expect("a report");
        let talks = self.talks.take().expect("they talk").stop().expect("ended");
        let own_losses = self.stage.lab.own_losses().expect("counters") - self.lost_by_lab;
        assert!(
            report.sent() >= Self::queries() as usize,
            "the load sent {} queries in {:?}",
            report.sent(),
            Self::duration()
        );
        assert_lost(report.lost(), own_losses, || {
            format!(
                "of {}: {:?}\nthe agent's log:\n{}",
                report.sent(),
                report.loss_windows(),
                self.stage.agent.log()
            )
        });
        assert_eq!(hash_key(&self.stage), self.hash_key, "another hash key");
        assert_eq!(talks.len(), CONNECTIONS);
        assert_stay(&talks, removed, "at the end");
        let seconds = Self::duration().as_secs() as usize;
        for talk in talks.iter().filter(|talk| removed != Some(&talk.identity)) {
            assert!(talk.answered >= seconds / 2, "it fell silent: {talk:?}");
        }
        println!(
            "{} queries over UDP, {} over TCP, none lost; answers within {:?}",
            report.sent(),
            talks.iter().map(|talk| talk.answered).sum::<usize>(),
            report.latency(1.0).unwrap_or(ANSWER_LIMIT)
        );
        Outcome { report, talks }
    }
}

fn hash_key(stage: &Stage) -> Vec<u8> {
    let read = || fs::read("/etc/dns-lb/hash.key").expect("the agent has made it");
    stage.lab.balancer.run(read)
}

/// Asserts that no connection is broken or has moved, save those that have reached `but`.
fn assert_stay(talks: &[Talk], but: Option<&str>, when: &str) {
    let failed: Vec<&Talk> = talks
        .iter()
        .filter(|talk| talk.failure.is_some() && but != Some(&talk.identity))
        .collect();
    let failures: BTreeSet<_> = failed
        .iter()
        .map(|talk| (&talk.identity, &talk.failure))
        .collect();
    assert!(
        failed.is_empty(),
        "{when}: {} of {} connections do not go on: {failures:?}",
        failed.len(),
        talks.len()
    );
}
