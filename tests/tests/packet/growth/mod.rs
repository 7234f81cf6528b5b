//! Maps that a configuration outgrows, or that an older version made, are replaced while packets
//! are steered; wherever that breaks off, the next start goes on.

mod broken_off;
mod versions;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::{
    maps::{Array, Map, MapData, MapInfo},
    programs::{ProgramError, TestRun as _, TestRunOptions, Xdp},
};
use aya_obj::programs::XdpAttachType;
use dns_lb::{
    config::{Protocol, Service, XdpMode},
    datapath::{self, Datapath, DatapathError, Demand},
    health::Health,
    steer::{Assignment, Known, assign},
};
use dns_lb_common::{ABI_VERSION, Action, Backend, Control, Ending, VipSlot, map};

use crate::{
    fixture::{CLIENT, Fixture, PIN_DIR, VIP, configuration, query, service, with_program},
    frames::{self, ACK, Extra, SYN},
};

/// Ports of a client whose connections are established before anything changes.
const PORTS: [u16; 8] = [1_001, 1_002, 1_003, 1_004, 1_005, 1_006, 1_007, 1_008];

/// For growing under packets, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The service that packets are for, and so many others that nobody asks.
fn services(others: u8) -> Vec<Service> {
    let mut resolvers = service("resolvers", VIP, &[(201, 1), (202, 1)]);
    resolvers.protocols.push(Protocol::Tcp);
    let others = (1..=others).map(|last| {
        let vip = Ipv4Addr::new(192, 168, 1, last);
        service(&format!("other{last}"), vip, &[(203, 1), (204, 1)])
    });
    // Their order is no part of who they are.
    let mut services: Vec<_> = others.collect();
    services.push(resolvers);
    services
}

/// The last service: the one that packets are for.
fn resolvers(assignment: &Assignment) -> (u16, Vec<u16>) {
    let id = assignment.services.last().expect("a service");
    let backends = assignment.backends.last().expect("backends");
    (*id, backends.clone())
}

fn segment(port: u16, flags: u8) -> Vec<u8> {
    let segment = frames::tcp(port, 53, flags, &[]);
    let extra = Extra::default();
    let datagram = frames::datagram(CLIENT.into(), VIP.into(), frames::TCP, &extra, &segment);
    frames::frame(0, &datagram)
}

/// The last octet of the MAC address that a segment is sent to.
fn sent_to(fixture: &mut Fixture, port: u16, flags: u8) -> u8 {
    let (action, frame) = fixture
        .datapath
        .test_run(&segment(port, flags))
        .expect("a run");
    assert_eq!(action, Action::Transmit as u32);
    frame[5]
}

/// Establishes the connections; whom they reach.
fn establish(fixture: &mut Fixture) -> BTreeMap<u16, u8> {
    let mut reached = BTreeMap::new();
    for port in PORTS {
        for flags in [SYN, ACK, ACK] {
            reached.insert(port, sent_to(fixture, port, flags));
        }
    }
    assert!(reached.values().any(|&last| last == 201));
    assert!(reached.values().any(|&last| last == 202));
    reached
}

/// Takes the weight of one backend away, so that only what is remembered leads there, and sees that
/// connections stay.
fn assert_connections_stay(fixture: &mut Fixture, reached: &BTreeMap<u16, u8>) {
    let service = fixture.config.services.last_mut().expect("a service");
    service.backends[0].weight = 0;
    fixture.apply(|_| Health::Up);
    for (&port, &last) in reached {
        assert_eq!(sent_to(fixture, port, ACK), last, "port {port}");
    }
    assert!((2_000..2_050).all(|port| sent_to(fixture, port, SYN) == 202));
}

/// Packets of the service that were transmitted, and those of its backends.
fn counts(fixture: &Fixture) -> (u64, Vec<u64>) {
    let (service, backends) = resolvers(&fixture.assignment);
    let counters = fixture.counters.service(service).expect("counters");
    let backends = backends
        .into_iter()
        .map(|id| fixture.counters.backend(id).expect("counters").packets);
    (
        counters.endings.get(Ending::Transmitted),
        backends.collect(),
    )
}

fn pin(name: &str) -> PathBuf {
    Path::new(PIN_DIR).join(name)
}

fn map_id(name: &str) -> u32 {
    MapInfo::from_pin(pin(name)).expect("a pinned map").id()
}

fn map_ids() -> BTreeMap<&'static str, u32> {
    map::PINNED.map(|name| (name, map_id(name))).into()
}

/// Every name in the pin directory, sorted.
fn pins() -> Vec<String> {
    let entries = fs::read_dir(PIN_DIR).expect("the pin directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// That all maps, the program and one link are pinned, and nothing else.
fn assert_settled() {
    let mut expected = map::PINNED.map(str::to_owned).to_vec();
    expected.extend(["link_1_generic".to_owned(), "program".to_owned()]);
    expected.sort();
    assert_eq!(pins(), expected);
}

/// The kernel's number of the program on the loopback interface.
fn attached_program() -> u64 {
    let output = Command::new("ip")
        .args("-json -details link show lo".split(' '))
        .output()
        .expect("ip");
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    links[0]["xdp"]["prog"]["id"].as_u64().expect("a program")
}

/// Runs the pinned program, as a link would.
fn run_pinned(frame: &[u8], repeat: u32) -> Result<(u32, Vec<u8>), ProgramError> {
    let program = Xdp::from_pin(pin("program"), XdpAttachType::Interface)?;
    let mut out = vec![0; frame.len() + 256];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        repeat,
        ..TestRunOptions::default()
    })?;
    Ok((result.return_value, out))
}

/// Gives the fixture these services as a reload would, in larger maps if need be.
fn reload(fixture: &mut Fixture, services: Vec<Service>) {
    let config = configuration(services);
    let demand = Demand::of(&config);
    assert!(!fixture.datapath.holds(demand), "it does not outgrow them");
    let maps = fixture.datapath.grow(demand).expect("larger maps");
    assert!(fixture.datapath.holds(demand) && fixture.datapath.fill_first());
    let known = Known::of(&fixture.config, &fixture.assignment, maps.capacity());
    fixture.assignment = assign(&config, &known);
    fixture.config = config;
    fixture.writer = fixture.writer.grown(maps).expect("a writer");
    fixture.apply(|_| Health::Up);
    fixture.attach();
}

#[test]
fn a_start_that_outgrows_the_maps_keeps_ids_counts_and_connections() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        fixture.run(&query());
        let (before, ids) = (counts(&fixture), resolvers(&fixture.assignment));
        let maps = map_ids();
        drop(fixture);

        let mut fixture = Fixture::load(services(20), Path::new(PIN_DIR));
        assert!(fixture.datapath.adopted());
        assert_eq!(resolvers(&fixture.assignment), ids);
        assert_eq!(map_ids(), maps, "pins changed before the program");
        // The old program steers and counts meanwhile.
        for _ in 0..3 {
            let (action, _) = run_pinned(&query(), 1).expect("a run");
            assert_eq!(action, Action::Transmit as u32);
        }
        fixture.attach();
        assert_settled();
        for name in [map::TCP_FLOWS, map::TCP_PENDING, map::FRAGMENTS] {
            assert_eq!(map_id(name), maps[name], "{name}");
        }
        for name in [map::CONTROL, map::VIPS, map::TABLES, map::SERVICE_COUNTERS] {
            assert_ne!(map_id(name), maps[name], "{name}");
        }
        assert_eq!(counts(&fixture).0, before.0 + 3);
        assert_eq!(
            counts(&fixture).1.iter().sum::<u64>(),
            before.1.iter().sum::<u64>() + 3
        );
        assert_connections_stay(&mut fixture, &reached);
        let run = fixture.run(&crate::fixture::query_from(
            CLIENT,
            9,
            Ipv4Addr::new(192, 168, 1, 20),
        ));
        assert!(run.is(Action::Transmit), "a service that is new");
    });
}

#[test]
fn maps_grow_while_packets_flow() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let ids = resolvers(&fixture.assignment);
        let done = AtomicBool::new(false);
        let end = Instant::now() + LIMIT;
        thread::scope(|scope| {
            let packets = scope.spawn(|| {
                let mut packets = 0_u64;
                while !done.load(Ordering::SeqCst) && Instant::now() < end {
                    for (&port, &last) in &reached {
                        let (action, _) = run_pinned(&query(), 100).expect("a run");
                        assert_eq!(action, Action::Transmit as u32);
                        let (action, frame) = run_pinned(&segment(port, ACK), 1).expect("a run");
                        assert_eq!(action, Action::Transmit as u32);
                        assert_eq!(frame[5], last, "port {port}");
                        packets += 101;
                    }
                }
                packets
            });
            let mut counted = 0;
            for others in [8, 40, 130] {
                reload(&mut fixture, services(others));
                assert_eq!(resolvers(&fixture.assignment), ids);
                let (now, _) = counts(&fixture);
                assert!(now >= counted, "{now} after {counted}");
                counted = now;
            }
            assert!(Instant::now() < end, "not within {LIMIT:?}");
            done.store(true, Ordering::SeqCst);
            assert!(packets.join().expect("no packet astray") > 0);
        });
        assert_settled();
        let counters = fixture.counters.service(ids.0).expect("counters");
        for &ending in Ending::ALL {
            let count = counters.endings.get(ending);
            assert!(count == 0 || ending == Ending::Transmitted, "{ending:?}");
        }
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn a_backend_that_has_no_entry_keeps_its_id_and_incarnation_in_larger_maps() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let before = counts(&fixture);
        // Off the link, and so out of the maps, when they grow.
        let plan = dns_lb::steer::plan(&fixture.config, &fixture.assignment, |_, _| {
            dns_lb::steer::Knowledge::new(1)
        });
        fixture
            .writer
            .apply(&plan, &crate::fixture::KEY)
            .expect("applied");
        reload(&mut fixture, services(20));
        assert_eq!(counts(&fixture), before, "counted from zero");
        assert_connections_stay(&mut fixture, &reached);
    });
}
