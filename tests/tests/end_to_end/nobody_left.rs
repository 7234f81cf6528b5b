//! All servers die, one after the other, and come back, one after the other: what `on_no_backend`
//! says happens when nobody is left, and only then.

use std::{
    io::ErrorKind,
    net::UdpSocket,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Load, Ports, Report, Software, Topology,
    agent::{self, Status},
    dns,
    lab::VIP,
};

use crate::stage::{Stage, ended};

/// Queries a second, and for how long, each time that something has changed.
const RATE: u32 = 1_000;
const TIME: Duration = Duration::from_millis(300);

/// How long the agent may take to find a change out, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

const SERVERS: [Software; 3] = [Software::Nsd, Software::Knot, Software::Unbound];

/// The order in which they die, and in which they come back.
const DEATHS: [usize; 3] = [0, 1, 2];
const RETURNS: [usize; 3] = [1, 2, 0];

fn ask(stage: &Stage) -> Report {
    let load = Load::start(&stage.lab.clients[0].node, VIP, RATE, Ports::Fresh).expect("a load");
    load.run_for(TIME).expect("a report")
}

fn shares(status: &Status) -> Vec<f64> {
    let backends = status.services[0].backends.iter();
    backends.map(|backend| backend.share).collect()
}

/// Waits until exactly those who are up take queries, in equal parts.
fn await_shares_of(stage: &mut Stage, up: &[usize]) {
    let what = format!("those take queries: {up:?}");
    let part = 1.0 / up.len() as f64;
    let wanted = |status: &Status| {
        let backends = status.services[0].backends.iter().enumerate();
        backends
            .into_iter()
            .all(|(place, backend)| match up.contains(&place) {
                true => backend.health == "up" && (backend.share - part).abs() < 0.01,
                false => backend.health == "down" && backend.share == 0.0,
            })
    };
    stage
        .agent
        .wait_until(&what, LIMIT, wanted)
        .expect("the agent finds out");
}

/// Has all die and come back. `nobody_is_left` is called when all are down; whoever is up answers all.
fn play(on_no_backend: &str, share_of_the_dead: f64, nobody_is_left: impl FnOnce(&Stage)) {
    let mut stage = Stage::set_configured(&Topology::of(&SERVERS), |backends| {
        let configuration = agent::configuration(&["eth0"], "hash", backends);
        let policy = "policy = \"hash\"\n";
        configuration.replace(
            policy,
            &format!("{policy}on_no_backend = \"{on_no_backend}\"\n"),
        )
    });
    let assert_answered_by = |stage: &Stage, up: &[usize]| {
        let report = ask(stage);
        assert_eq!(report.lost(), 0, "{up:?}: {:?}", report.loss_windows());
        assert_eq!(report.by_identity().len(), up.len(), "{up:?}");
    };

    let mut up = DEATHS.to_vec();
    for dead in DEATHS {
        stage.lab.backends[dead].kill().expect("it runs");
        up.retain(|&place| place != dead);
        if !up.is_empty() {
            await_shares_of(&mut stage, &up);
            assert_answered_by(&stage, &up);
        }
    }
    stage
        .agent
        .wait_until("nobody is left", LIMIT, |status| {
            let backends = &status.services[0].backends;
            backends.iter().all(|backend| backend.health == "down")
                && shares(status)
                    .iter()
                    .all(|share| (share - share_of_the_dead).abs() < 0.01)
        })
        .expect("the agent finds out");
    nobody_is_left(&stage);

    for back in RETURNS {
        stage.lab.backends[back].start().expect("it starts again");
        up.push(back);
        await_shares_of(&mut stage, &up);
        assert_answered_by(&stage, &up);
    }
    let log = stage.agent.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Asserts that all queries of a load end like this, and returns how many.
fn assert_all_end(stage: &Stage, ending: &str) -> u64 {
    let before = ended(&stage.agent, ending);
    let report = ask(stage);
    assert_eq!(report.answered(), 0, "somebody answers");
    let count = ended(&stage.agent, ending) - before;
    assert_eq!(count, report.sent() as u64, "{ending}");
    count
}

#[test]
fn fail_open_steers_to_all_of_them() {
    play("fail-open", 1.0 / 3.0, |stage| {
        let packets = |stage: &Stage| {
            let status = stage.agent.status().expect("a status");
            let backends = status.services[0].backends.iter();
            backends.map(|backend| backend.packets).collect::<Vec<_>>()
        };
        let before = packets(stage);
        let sent = assert_all_end(stage, "transmitted");
        for (before, after) in before.into_iter().zip(packets(stage)) {
            assert!(after - before > sent / 6, "a third each: {before}, {after}");
        }
    });
}

#[test]
fn pass_leaves_queries_to_the_host() {
    play("pass", 0.0, |stage| {
        let host = stage.lab.balancer.clone();
        let socket = host.run(|| UdpSocket::bind((VIP, dns::PORT)).expect("the host's port"));
        assert_all_end(stage, "no_backend_passed");
        socket.set_nonblocking(true).expect("a socket");
        let mut received = 0;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            match socket.recv(&mut [0; 512]) {
                Ok(_) => received += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(received > 0, "the host has received none");
    });
}

#[test]
fn drop_drops() {
    play("drop", 0.0, |stage| {
        assert_all_end(stage, "no_backend_dropped");
    });
}
