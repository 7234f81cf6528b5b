//! Maps that a configuration outgrows, or that an older version made, are replaced while packets
//! are steered; wherever that breaks off, the next start goes on.

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
    fixture.writer.forget_others(&fixture.assignment);
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
            dns_lb::steer::Knowledge::default()
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

/// Makes the pinned maps what version 3 would have made of them.
fn turn_into_version_3() {
    let open = |name| MapData::from_pin(pin(name)).map(Map::Array).expect("a map");
    let mut vips: Array<_, VipSlot> = open(map::VIPS).try_into().expect("slots");
    for place in 0..vips.len() {
        let slot = vips.get(&place, 0).expect("a slot");
        vips.set(place, VipSlot { bank: 0, ..slot }, 0)
            .expect("written");
    }
    let mut backends: Array<_, Backend> = open(map::BACKENDS).try_into().expect("backends");
    for place in 0..backends.len() {
        let entry = backends.get(&place, 0).expect("an entry");
        let entry = Backend {
            takes_flows: 0,
            ..entry
        };
        backends.set(place, entry, 0).expect("written");
    }
    set_version(3);
}

fn set_version(abi_version: u32) {
    let data = MapData::from_pin(pin(map::CONTROL)).expect("a map");
    let mut map: Array<_, Control> = Map::Array(data).try_into().expect("control");
    let control = map.get(&0, 0).expect("read");
    let control = Control {
        abi_version,
        ..control
    };
    map.set(0, control, 0).expect("written");
}

fn generation() -> u64 {
    let data = MapData::from_pin(pin(map::CONTROL)).expect("a map");
    let map: Array<MapData, Control> = Map::Array(data).try_into().expect("control");
    map.get(&0, 0).expect("read").generation
}

#[test]
fn maps_of_an_older_version_are_kept_where_their_layout_is_the_same() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let (before, ids) = (counts(&fixture), resolvers(&fixture.assignment));
        let (maps, generation_before) = (map_ids(), generation());
        drop(fixture);
        turn_into_version_3();

        let mut fixture = Fixture::load(services(0), Path::new(PIN_DIR));
        assert_eq!(resolvers(&fixture.assignment), ids);
        let (action, _) = run_pinned(&query(), 1).expect("the old program steers");
        assert_eq!(action, Action::Transmit as u32);
        fixture.attach();
        assert_settled();
        for (name, id) in maps {
            let replaced = [map::CONTROL, map::VIPS, map::TABLES, map::BACKENDS];
            assert_eq!(map_id(name) != id, replaced.contains(&name), "{name}");
        }
        assert_eq!(counts(&fixture).0, before.0 + 1);
        assert!(generation() > generation_before);
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn where_a_version_does_not_tell_ids_everything_is_made_anew() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        fixture.run(&query());
        let (maps, generation_before) = (map_ids(), generation());
        drop(fixture);
        set_version(2);
        let mut fixture = Fixture::load(services(0), Path::new(PIN_DIR));
        fixture.attach();
        assert_settled();
        for (name, id) in maps {
            assert_ne!(map_id(name), id, "{name}");
        }
        assert_eq!(counts(&fixture).0, 0);
        assert!(generation_before > 0 && generation() > 0);
        assert!(fixture.run(&query()).is(Action::Transmit));
    });
}

#[test]
fn a_newer_version_is_refused_and_steers_on() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let (maps, program) = (map_ids(), attached_program());
        drop(fixture);
        set_version(ABI_VERSION + 1);
        for others in [0, 20] {
            match Fixture::try_load(services(others), Path::new(PIN_DIR)) {
                Err(DatapathError::Abi { found, .. }) => assert_eq!(found, ABI_VERSION + 1),
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("it was loaded"),
            }
        }
        assert_eq!((map_ids(), attached_program()), (maps, program));
        assert_settled();
    });
}

#[test]
fn new_maps_that_nothing_steered_by_are_forgotten() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let maps = map_ids();
        drop(fixture);
        // An agent that dies before it switches.
        drop(Fixture::load(services(20), Path::new(PIN_DIR)));
        assert!(pins().contains(&"control_next".to_owned()));
        let mut fixture = Fixture::load(services(0), Path::new(PIN_DIR));
        fixture.attach();
        assert_settled();
        assert_eq!(map_ids(), maps);
        assert_connections_stay(&mut fixture, &reached);
    });
}

/// Puts maps back under the names that they had, and their successors under those that they had.
fn unrename(old: &mut BTreeMap<&'static str, MapData>, names: &[&'static str]) {
    for &name in names {
        if map_id(name) == old[name].info().expect("info").id() {
            continue;
        }
        fs::rename(pin(name), pin(&format!("{name}_next"))).expect("renamed");
        old.get_mut(name)
            .expect("a map")
            .pin(pin(name))
            .expect("pinned");
    }
}

fn open_maps() -> BTreeMap<&'static str, MapData> {
    map::PINNED
        .map(|name| (name, MapData::from_pin(pin(name)).expect("a map")))
        .into()
}

#[test]
fn renames_that_broke_off_are_finished() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let mut old = open_maps();
        reload(&mut fixture, services(20));
        let (maps, ids) = (map_ids(), fixture.assignment.clone());
        let before = counts(&fixture);
        drop(fixture);
        // All after the program's, then all but the first, and so on.
        for first in 0..map::PINNED.len() {
            unrename(&mut old, &map::PINNED[first..]);
            assert!(pins().contains(&"control_next".to_owned()));
            let fixture = Fixture::load(services(20), Path::new(PIN_DIR));
            assert!(!fixture.datapath.fill_first());
            assert_settled();
            assert_eq!((map_ids(), &fixture.assignment), (maps.clone(), &ids));
            assert_eq!(counts(&fixture), before);
        }
        let mut fixture = Fixture::load(services(20), Path::new(PIN_DIR));
        fixture.attach();
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn a_switch_that_broke_off_before_the_program_had_its_name_is_made_again() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let mut old = open_maps();
        let mut old_program =
            Xdp::from_pin(pin("program"), XdpAttachType::Interface).expect("the program");
        reload(&mut fixture, services(20));
        drop(fixture);
        // The link has the new program, and nothing has its name yet.
        unrename(&mut old, &map::PINNED);
        fs::rename(pin("program"), pin("program_next")).expect("renamed");
        old_program.pin(pin("program")).expect("pinned");
        let steering = attached_program();
        let mut fixture = Fixture::load(services(20), Path::new(PIN_DIR));
        assert!(fixture.datapath.fill_first());
        assert_eq!(attached_program(), steering);
        fixture.attach();
        assert_settled();
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn a_growth_that_an_interface_refuses_is_undone() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let (maps, program) = (map_ids(), attached_program());
        // Somebody else's program, in the mode that excludes ours.
        let other_dir = Path::new("/sys/fs/bpf/others");
        let mut other = Fixture::load(services(0), other_dir);
        other
            .datapath
            .attach(&["other".to_owned()], XdpMode::Native)
            .expect("attached");

        let demand = Demand::of(&configuration(services(20)));
        let larger = fixture.datapath.grow(demand).expect("larger maps");
        let interfaces = ["lo".to_owned(), "other".to_owned()];
        let attach =
            |datapath: &mut Datapath| datapath.attach(&interfaces, XdpMode::Generic).map(drop);
        let unfilled = attach(&mut fixture.datapath).expect_err("nothing is in them");
        assert!(matches!(unfilled, DatapathError::Unfilled), "{unfilled}");
        assert_eq!(attached_program(), program);

        let mut writer = fixture.writer.grown(larger).expect("a writer");
        let plan = dns_lb::steer::plan(&fixture.config, &fixture.assignment, |service, backend| {
            dns_lb::steer::Knowledge {
                health: Health::Up,
                location: crate::fixture::location(
                    &fixture.config.services[service].backends[backend],
                ),
            }
        });
        writer.apply(&plan, &crate::fixture::KEY).expect("applied");
        let refused = attach(&mut fixture.datapath).expect_err("other is taken");
        assert!(matches!(refused, DatapathError::Attach { .. }), "{refused}");
        assert_eq!((map_ids(), attached_program()), (maps, program));
        assert_settled();
        assert!(!fixture.datapath.holds(demand));
        // The old writer goes on, and a growth can be tried again.
        assert_connections_stay(&mut fixture, &reached);
        reload(&mut fixture, services(20));
        assert_settled();
    });
}

#[test]
fn unload_removes_new_maps_too() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        drop(fixture);
        drop(Fixture::load(services(20), Path::new(PIN_DIR)));
        assert!(pins().contains(&"control_next".to_owned()));
        assert!(datapath::unload(Path::new(PIN_DIR)).expect("unloaded"));
        assert!(!Path::new(PIN_DIR).exists());
    });
}
