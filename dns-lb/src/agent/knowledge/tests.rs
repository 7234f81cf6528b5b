use std::time::Duration;

use hickory_proto::op::ResponseCode;

use super::*;
use crate::{
    health::Ending,
    neighbor::{Link, Neighbor},
    steer::{Known, assign},
};

const ETH0: u32 = 2;

fn config(service: &str, backends: &[(&str, &str)]) -> Config {
    let backends = backends.iter().map(|(name, address)| {
        format!("[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n")
    });
    let backends: String = backends.collect();
    Config::parse(&format!(
        "interfaces = [\"eth0\"]\n[[service]]\nname = \"{service}\"\nvips = [\"192.0.2.1\"]\n{backends}"
    ))
    .unwrap()
}

fn start(config: &Config) -> (Knowledge, Assignment) {
    let assignment = assign(config, &Known::default());
    let knowledge = Knowledge::new(config, &assignment, &Recorded::default());
    (knowledge, assignment)
}

/// Goes on with another configuration.
fn reload(from: &Config, to: &Config, knowledge: Knowledge, ids: &Assignment) -> Knowledge {
    let room = crate::datapath::Capacity {
        services: 8,
        backends: 32,
        vip_slots: 64,
        tcp_flows: 1_024,
    };
    let assignment = assign(to, &Known::of(from, ids, room));
    knowledge.carry_over(ids, to, &assignment)
}

fn report(knowledge: &Knowledge, place: usize, health: Health) -> Report {
    let rtt = Duration::ZERO;
    let ending = match health {
        Health::Down => Ending::Malformed { rtt },
        _ => Ending::Passed {
            code: ResponseCode::NoError,
            rtt,
        },
    };
    Report {
        backend: knowledge.state(0, place).key.clone(),
        checker: 0,
        at: SystemTime::now(),
        outcome: ending.into(),
        health,
        transition: None,
        passes_to_rise: 3,
        late_by: Duration::ZERO,
        probed: true,
    }
}

#[test]
fn who_is_new_to_a_running_service_is_down_and_the_others_stay_as_they_are() {
    let old = config("s", &[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    let new = config("s", &[("b", "10.0.0.9"), ("x", "10.0.0.1")]);
    let (mut knowledge, ids) = start(&old);
    knowledge.record(report(&knowledge, 0, Health::Up));
    let knowledge = reload(&old, &new, knowledge, &ids);
    let [b, x] = [0, 1].map(|place| knowledge.state(0, place));
    assert_eq!((b.health, b.is_proven), (Health::Down, false));
    assert_eq!((x.health, x.is_proven), (Health::Up, true));
    assert_eq!(&*x.key.backend, "x");
}

#[test]
fn another_name_of_the_service_revives_nobody_and_a_service_of_its_own_begins_anew() {
    let old = config("s", &[("a", "10.0.0.1")]);
    let (mut knowledge, ids) = start(&old);
    knowledge.record(report(&knowledge, 0, Health::Down));
    let renamed = config("t", &[("a", "10.0.0.1")]);
    let knowledge = reload(&old, &renamed, knowledge, &ids);
    assert_eq!(knowledge.state(0, 0).health, Health::Down);

    let (knowledge, ids) = start(&old);
    let mut other = config("other", &[("a", "10.0.0.1")]);
    other.services[0].vips = vec!["192.0.2.7".parse().unwrap()];
    let knowledge = reload(&old, &other, knowledge, &ids);
    assert_eq!(knowledge.state(0, 0).health, Health::Unknown);
}

#[test]
fn a_restart_with_one_more_server_takes_it_for_unproven() {
    let config = config("s", &[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    let mut key = [0; 20];
    key[..16].copy_from_slice(&mapped("192.0.2.1".parse().unwrap()));
    key[16..18].copy_from_slice(&53_u16.to_be_bytes());
    key[18] = libc::IPPROTO_UDP as u8;
    let mut recorded = Recorded::default();
    recorded.services = [(key, 1)].into();
    let assignment = assign(&config, &Known::from(&recorded));
    assert_eq!(assignment.services, [1]);
    let knowledge = Knowledge::new(&config, &assignment, &recorded);
    assert_eq!(knowledge.state(0, 1).health, Health::Down);
    assert_eq!(start(&config).0.state(0, 1).health, Health::Unknown);
}

/// What netlink says, one after the other, when the link of this host goes and comes back.
#[test]
fn a_link_of_this_host_that_goes_freezes_verdicts_until_the_backend_is_found_again() {
    let config = config("s", &[("a", "10.0.0.1")]);
    let (mut knowledge, _) = start(&config);
    let interface = || "eth0".to_owned();
    let mut say = |up: bool, answer: Result<Neighbor, Unresolved>| {
        let link = Link {
            name: interface(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, 2])),
            up,
        };
        let neighbors = Neighbors {
            by_address: [("10.0.0.1".parse().unwrap(), answer)].into(),
            links: [(ETH0, link)].into(),
            ..Neighbors::default()
        };
        knowledge.locate(&neighbors);
        let state = knowledge.state(0, 0);
        (state.location.is_some(), state.frozen().is_some())
    };
    let found = || {
        Ok(Neighbor {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            ifindex: ETH0,
        })
    };
    let down = || Unresolved::InterfaceDown {
        interface: interface(),
    };
    let resolving = || Unresolved::Resolving {
        interface: interface(),
    };
    // Never seen: nothing is known to be wrong with this host.
    assert_eq!(say(true, Err(Unresolved::NoRoute)), (false, false));
    assert_eq!(say(true, found()), (true, false));
    // The address goes, and with it the route: frames still reach the backend.
    assert_eq!(say(true, Err(Unresolved::NoRoute)), (true, true));
    assert_eq!(say(true, found()), (true, false));
    // The link goes, and the routes after it.
    assert_eq!(say(false, Err(down())), (false, true));
    assert_eq!(say(false, Err(Unresolved::NoRoute)), (false, true));
    // It comes back; the backend is being asked for, then found.
    assert_eq!(say(true, Err(Unresolved::NoRoute)), (false, true));
    assert_eq!(say(true, Err(resolving())), (false, false));
    assert_eq!(say(true, found()), (true, false));
}

#[test]
fn the_last_probes_and_changes_are_kept_the_newest_first() {
    let config = config("s", &[("a", "10.0.0.1")]);
    let (mut knowledge, ids) = start(&config);
    for number in 0..300 {
        let health = match number % 2 {
            0 => Health::Up,
            _ => Health::Down,
        };
        knowledge.record(report(&knowledge, 0, health));
    }
    let knowledge = reload(&config, &config, knowledge, &ids);
    let changes: Vec<_> = knowledge.recent_transitions().collect();
    assert_eq!(changes.len(), 100);
    assert_eq!((changes[0].from, changes[0].to), (Health::Up, Health::Down));
    assert!(changes[0].reason.is_some() && changes[1].reason.is_none());
    assert_eq!((&*changes[0].service, &*changes[0].backend), ("s", "a"));

    let state = knowledge.state(0, 0);
    let causes: Vec<String> = state.recent_probes().map(|probe| probe.cause).collect();
    assert_eq!(causes.len(), 64);
    assert_eq!(causes[..3], ["malformed", "passed", "malformed"]);
    assert_eq!(state.probes().total, 300);
}
