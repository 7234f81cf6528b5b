//! What a packet costs, by `BPF_PROG_TEST_RUN`: our program on its many ways, beside a program that
//! does nothing and one that does the least. `cargo xtask bench` runs it.
//!
//! The clock of a machine wanders. So all programs are measured in turn, round by round, in one run,
//! and what counts is the median of the rounds, beside those of the others.

mod farms;
mod measure;
mod report;
mod wire;
mod world;

use std::{env, path::Path, time::Instant};

use dns_lb::health::Health;
use dns_lb_tests::Node;

use self::{
    farms::Farms,
    measure::{Floor, Flows, Subject, measure},
    report::{Report, Row, Target},
    wire::Wire,
    world::{Datagram, LOOPBACK, MANY, NOBODY, Size, World},
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
    let mut usual = World::load("usual", Size::USUAL, LOOPBACK);
    let sized = |name: &str, size| World::load(name, size, LOOPBACK);
    let vips = |vips| Size {
        vips,
        ..Size::USUAL
    };
    let backends = |backends| Size {
        backends,
        ..Size::USUAL
    };
    let mut worlds = [
        ("16 VIPs", sized("vips16", vips(16))),
        ("256 VIPs", sized("vips256", vips(256))),
        ("2 backends", sized("backends2", backends(2))),
        ("1,000 backends", sized("backends1000", backends(1_000))),
    ];
    let more_services = 64;
    let many = Size {
        more_services,
        ..Size::USUAL
    };
    let mut cold = sized("cold", many);
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
        let subject = Subject::alone(usual.program(), datagram.frame(service, *family));
        subjects.push(match *service {
            NOBODY => subject.passing(),
            _ => subject,
        });
    }
    for (name, world) in &mut worlds {
        rows.push(Row::new(name, Target::NearHash));
        subjects.push(Subject::alone(world.program(), query.clone()));
    }
    for (name, mask) in [
        ("1 flow", 0),
        ("65,536 flows", farms::FLOWS - 1),
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
            let flows = Flows { mask, vip_mask: 0 };
            subjects.push(Subject::behind(&floor, program, flows, query.clone()));
        }
    }
    // Eight megabytes of tables: what a packet needs of them is in no core's own cache.
    rows.push(Row::new(
        "hash behind the front, 1,048,576 flows, 64 tables",
        Target::None,
    ));
    let flows = Flows {
        mask: 0xf_ffff,
        vip_mask: u32::from(more_services) - 1,
    };
    subjects.push(Subject::behind(
        &floor,
        cold.program(),
        flows,
        Datagram::Query.frame(MANY, 4),
    ));
    let mut farms = Farms::load();
    subjects.extend(farms.subjects(&floor));
    let mut samples = measure(&mut floor, &mut subjects, rounds, repeat).into_iter();
    for (row, samples) in rows.iter_mut().zip(&mut samples) {
        row.samples = samples;
    }
    let farms = farms.measured(samples, rounds);
    let live = wire.rates(&floor, rounds, repeat);
    let (_, thousand) = &mut worlds[3];
    Report {
        rows,
        verified_instructions: usual.verified_instructions(),
        table_ms: table_times(thousand, rounds),
        farms,
        live,
        rounds,
        repeat,
    }
}

/// Milliseconds from a change of health to tables that are live, with 1,000 backends.
fn table_times(world: &mut World, rounds: usize) -> Vec<f64> {
    let times = (0..rounds).map(|round| {
        let start = Instant::now();
        world.apply(|backend, knowledge| {
            if backend == round {
                knowledge.health = Health::Down;
            }
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
        "IPv4/UDP hash, behind a VLAN tag",
        Datagram::Tagged,
        "hash",
        4,
        Target::None,
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
        NOBODY,
        4,
        Target::TimesFloor(1.1),
    ),
    (
        "IPv4/TCP for another host",
        Datagram::Segment,
        NOBODY,
        4,
        Target::TimesFloor(1.1),
    ),
    (
        "IPv6/UDP for another host",
        Datagram::Query,
        NOBODY,
        6,
        Target::TimesFloor(1.1),
    ),
    ("ARP", Datagram::Arp, NOBODY, 4, Target::TimesFloor(1.1)),
];
