//! What a packet costs, by `BPF_PROG_TEST_RUN`: our program on its many ways, beside a program that
//! does nothing and one that does the least. `cargo xtask bench` runs it.
//!
//! The clock of a machine wanders. So all programs are measured in turn, round by round, in one run,
//! and what counts is the median of the rounds, beside those of the others.

mod measure;
mod report;
mod wire;
mod world;

use std::{env, path::Path, time::Instant};

use dns_lb::health::Health;
use dns_lb_tests::Node;

use self::{
    measure::{Floor, Subject, measure},
    report::{Report, Row, Target},
    wire::Wire,
    world::{Datagram, LOOPBACK, World},
};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let floor = env::var("DNS_LB_FLOOR").expect("`cargo xtask bench` sets it");
    let (rounds, repeat) = if has("--quick") {
        (3, 20_000)
    } else {
        (31, 300_000)
    };
    let node = Node::new("bench").expect("namespaces (this needs root)");
    node.ip(wire::LINKS).expect("a pair of veth interfaces");
    let report = node.run(move || run(Path::new(&floor), rounds, repeat));
    print!(
        "{}",
        if has("--json") {
            report.json()
        } else {
            report.text()
        }
    );
}

fn run(floor: &Path, rounds: usize, repeat: u32) -> Report {
    let mut floor = Floor::load(floor);
    let mut usual = World::load("usual", 1, 100, LOOPBACK);
    let mut worlds = [
        ("16 VIPs", World::load("vips16", 16, 100, LOOPBACK)),
        ("256 VIPs", World::load("vips256", 256, 100, LOOPBACK)),
        ("2 backends", World::load("backends2", 1, 2, LOOPBACK)),
        (
            "1,000 backends",
            World::load("backends1000", 1, 1_000, LOOPBACK),
        ),
    ];
    let query = Datagram::Query.frame("hash", 4);
    let mut wire = Wire::take(&floor);

    let mut rows = vec![
        Row::new("bare", Target::None),
        Row::new("floor", Target::None),
    ];
    let mut subjects = vec![
        Subject::alone(floor.program("bare"), query.clone()),
        Subject::alone(floor.program("floor"), query.clone()),
    ];
    for (name, datagram, service, family, target) in WAYS {
        rows.push(Row::new(name, *target));
        subjects.push(Subject::alone(
            usual.program(),
            datagram.frame(service, *family),
        ));
    }
    for (name, world) in &mut worlds {
        rows.push(Row::new(name, Target::NearHash));
        subjects.push(Subject::alone(world.program(), query.clone()));
    }
    for (name, mask) in [
        ("1 flow", 0),
        ("65,536 flows", 0xffff),
        ("1,048,576 flows", 0xf_ffff),
    ] {
        for (what, program) in [("floor", floor.program("floor")), ("hash", usual.program())] {
            let target = match (what, mask) {
                ("hash", 1..) => Target::NearOneFlow,
                _ => Target::None,
            };
            rows.push(Row::new(
                &format!("{what} behind the front, {name}"),
                target,
            ));
            subjects.push(Subject::behind(&floor, program, mask, query.clone()));
        }
    }
    let samples = measure(&mut floor, &mut subjects, rounds, repeat);
    for (row, samples) in rows.iter_mut().zip(samples) {
        row.samples = samples;
    }
    let live = wire.rates(&floor, rounds, repeat);
    let (_, thousand) = &mut worlds[3];
    Report {
        rows,
        verified_instructions: usual.verified_instructions(),
        table_ms: table_times(thousand, rounds),
        live,
        rounds,
        repeat,
    }
}

/// Milliseconds from a change of health to tables that are live, with 1,000 backends.
fn table_times(world: &mut World, rounds: usize) -> Vec<f64> {
    let times = (0..rounds).map(|round| {
        let start = Instant::now();
        world.apply(|backend| match backend == round {
            true => Health::Down,
            false => Health::Up,
        });
        start.elapsed().as_secs_f64() * 1e3
    });
    times.collect()
}

/// Ways through the program: what to call it, the datagram, the service and family, the target.
const WAYS: &[(&str, Datagram, &str, u8, Target)] = &[
    ("IPv4/UDP hash", Datagram::Query, "hash", 4, Target::Steered),
    (
        "IPv4/UDP round-robin",
        Datagram::Query,
        "round-robin",
        4,
        Target::Steered,
    ),
    (
        "IPv4/UDP source",
        Datagram::Query,
        "source",
        4,
        Target::Steered,
    ),
    (
        "IPv4/UDP qname",
        Datagram::Query,
        "qname",
        4,
        Target::TimesFloor(2.0),
    ),
    (
        "IPv4/UDP qname, bounded",
        Datagram::Query,
        "bounded",
        4,
        Target::None,
    ),
    (
        "IPv4/UDP hash, counting queries",
        Datagram::Query,
        "counted",
        4,
        Target::None,
    ),
    (
        "IPv6/UDP hash",
        Datagram::Query,
        "hash",
        6,
        Target::TimesFloor(1.8),
    ),
    (
        "IPv4/TCP established",
        Datagram::Segment,
        "hash",
        4,
        Target::TimesFloor(4.0),
    ),
    ("IPv4/TCP SYN", Datagram::Syn, "hash", 4, Target::None),
    (
        "IPv4/UDP for another host",
        Datagram::Query,
        "nobody",
        4,
        Target::TimesFloor(1.1),
    ),
    (
        "IPv4/TCP for another host",
        Datagram::Segment,
        "nobody",
        4,
        Target::TimesFloor(1.1),
    ),
    (
        "IPv6/UDP for another host",
        Datagram::Query,
        "nobody",
        6,
        Target::TimesFloor(1.1),
    ),
    ("ARP", Datagram::Arp, "nobody", 4, Target::TimesFloor(1.1)),
];
