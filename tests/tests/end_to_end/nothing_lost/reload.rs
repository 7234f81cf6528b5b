//! The configuration changes.

use std::fmt::Write as _;

use dns_lb_tests::{Backend, agent};

use super::Traffic;

/// How often the file is changed.
const RELOADS: u32 = 20;

/// Backends that no maps made for a handful have room for.
const MANY: usize = 100;

impl Traffic {
    /// Writes a configuration and has the agent read it.
    pub(super) fn reload(&self, configuration: &str) {
        let balancer = &self.stage.lab.balancer;
        balancer
            .write(agent::CONFIG, configuration)
            .expect("a file");
        self.run(&["reload"]);
    }
}

fn configuration(backends: &[&Backend]) -> String {
    agent::configuration(&["eth0"], "hash", backends)
}

#[test]
fn by_20_reloads_that_add_and_remove_a_backend() {
    let mut traffic = Traffic::start(|backends| configuration(&backends[..3]));
    for reload in 1..=RELOADS {
        traffic.await_part(reload, RELOADS + 1);
        let is_there = reload % 2 == 1;
        let count = if is_there { 4 } else { 3 };
        let backends: Vec<_> = traffic.stage.lab.backends[..count].iter().collect();
        traffic.reload(&configuration(&backends));
        traffic.await_status("dns4 comes and goes", |status| {
            match status.backend("dns4") {
                Some(dns4) => is_there && dns4.health == "up" && dns4.share > 0.0,
                None => !is_there && status.all_up(),
            }
        });
        traffic.assert_talks_stay(None, "after a reload");
    }
    let added = traffic.stage.lab.backends[3].identity();
    let outcome = traffic.finish(None);
    let answers = outcome.report.by_identity();
    assert!(answers.contains_key(&added), "dns4 was in use: {answers:?}");
    assert!(outcome.talks.iter().all(|talk| talk.identity != added));
}

/// Maps cannot grow, so they are made anew, and the program with them; the links stay.
#[test]
fn by_a_reload_that_outgrows_the_maps() {
    let mut traffic = Traffic::start(|backends| configuration(&backends[..3]));
    let backends: Vec<_> = traffic.stage.lab.backends[..3].iter().collect();
    let small = configuration(&backends);
    let mut large = small.clone();
    for number in (10..).take(MANY) {
        // Writing to a string cannot fail. Nobody is there, so none of them comes up.
        let _ = write!(
            large,
            "\n[[service.backend]]\nname = \"more{number}\"\naddress = \"192.168.0.{number}\"\n\
             mac = \"02:00:00:00:ff:{number:02x}\"\n"
        );
    }
    traffic.await_part(1, 3);
    traffic.reload(&large);
    traffic.await_status("all are there", |status| {
        status.services[0].backends.len() == 3 + MANY && backend_shares(status) > 0.99
    });
    traffic.assert_talks_stay(None, "in larger maps");
    traffic.await_part(2, 3);
    traffic.reload(&small);
    traffic.await_status("they are gone", |status| {
        status.services[0].backends.len() == 3 && status.all_up()
    });
    traffic.finish(None);
}

/// The part of the queries that those get who have a server.
fn backend_shares(status: &agent::Status) -> f64 {
    let backends = &status.services[0].backends;
    let real = backends
        .iter()
        .filter(|backend| backend.name.starts_with("dns"));
    real.map(|backend| backend.share).sum()
}
