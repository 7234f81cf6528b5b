//! Tables are rewritten while packets flow: each goes by the one or by the other.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::programs::{TestRun as _, TestRunOptions};
use dns_lb::{
    config::Protocol,
    health::Health,
    steer::{Knowledge, plan},
};
use dns_lb_common::{Action, Ending};

use crate::{
    fixture::{CLIENT, Fixture, KEY, VIP, location, query_from, service, with_program},
    frames::{self, Extra},
    rows::Family,
};

/// Backends in pairs, of which one at a time is up.
const PAIRS: usize = 3;
const BACKENDS: [(u8, u16); 2 * PAIRS] =
    [(201, 1), (202, 1), (203, 1), (204, 1), (205, 1), (206, 1)];
/// Tables are written 100 times a second, so many times, and on a busy machine within this limit.
const PERIOD: Duration = Duration::from_millis(10);
const PHASES: usize = 300;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_packet_goes_by_the_old_table_or_by_the_new() {
    let resolvers = service("resolvers", Family::V4.vip(0), &BACKENDS);
    with_program(vec![resolvers], |fixture| {
        let (mut datapath, mut writer) = (fixture.datapath, fixture.writer);
        let plan_of = |phase: usize| {
            plan(&fixture.config, &fixture.assignment, |service, backend| {
                let known = &fixture.config.services[service].backends[backend];
                Knowledge {
                    health: match backend / 2 == phase % PAIRS {
                        true => Health::Up,
                        false => Health::Down,
                    },
                    location: location(known),
                    ..Knowledge::new(known.weight)
                }
            })
        };
        writer.apply(&plan_of(0), &KEY).expect("applied");

        // The last phase that is wholly live, and the last that was begun.
        let (live, begun) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let end = Instant::now() + LIMIT;
        let packets = thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = Instant::now();
                for phase in 1..=PHASES {
                    next += PERIOD;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    let plan = plan_of(phase);
                    begun.store(phase, Ordering::SeqCst);
                    writer.apply(&plan, &KEY).expect("applied");
                    live.store(phase, Ordering::SeqCst);
                }
            });
            let mut packets: u64 = 0;
            while live.load(Ordering::SeqCst) < PHASES && Instant::now() < end {
                let frame = query_from(CLIENT, packets as u16, VIP);
                let first = live.load(Ordering::SeqCst);
                let (action, frame) = datapath.test_run(&frame).expect("a run");
                let last = begun.load(Ordering::SeqCst);
                assert_eq!(action, Action::Transmit as u32, "packet {packets}");
                let pair = usize::from(frame[5] - 201) / 2;
                assert!(
                    (first..=last).any(|phase| phase % PAIRS == pair),
                    "packet {packets} went to pair {pair} between phases {first} and {last}"
                );
                packets += 1;
            }
            packets
        });
        assert_eq!(live.load(Ordering::SeqCst), PHASES, "within {LIMIT:?}");
        assert!(packets >= 1_000, "only {packets} packets");

        // None lost, none counted twice.
        let ids = &fixture.assignment.backends[0];
        let counted = ids
            .iter()
            .map(|&id| fixture.counters.backend(id).expect("counters").packets);
        assert_eq!(counted.sum::<u64>(), packets);
        let service = fixture
            .counters
            .service(fixture.assignment.services[0])
            .expect("counters");
        assert_eq!(service.endings.get(Ending::Transmitted), packets);
    });
}

/// Packets that the kernel hands to the program in one call.
const PACKETS: u32 = 100_000;
/// How often backends go and come for each way that packets take.
const FLIPS: usize = 200;

/// Frames for the service on each way through the program that looks something up after the table.
fn ways() -> Vec<(&'static str, Vec<u8>)> {
    let datagram = |protocol, extra: &Extra, body: &[u8]| {
        frames::datagram(CLIENT.into(), VIP.into(), protocol, extra, body)
    };
    let plain = Extra::default();
    let query = datagram(
        frames::UDP,
        &plain,
        &frames::udp(4242, 53, &frames::example()),
    );
    let segment = datagram(
        frames::TCP,
        &plain,
        &frames::tcp(4242, 53, frames::ACK, &[]),
    );
    let first = Extra {
        fragment: Some((7, 0, true)),
        ..plain
    };
    let fragment = datagram(frames::UDP, &first, &frames::udp(4242, 53, &[0; 24]));
    vec![
        ("a query", frames::frame(0, &query)),
        ("a query behind a tag", frames::frame(1, &query)),
        ("a segment", frames::frame(0, &segment)),
        ("a segment behind a tag", frames::frame(1, &segment)),
        ("a fragment", frames::frame(0, &fragment)),
    ]
}

/// Backends come and go, not only up and down: an id of one table is nobody's in the other bank.
#[test]
fn no_packet_goes_by_the_table_of_one_bank_and_the_backends_of_the_other() {
    let mut resolvers = service("resolvers", Family::V4.vip(0), &BACKENDS);
    resolvers.protocols.push(Protocol::Tcp);
    with_program(vec![resolvers], |fixture| {
        let Fixture {
            mut datapath,
            mut writer,
            counters,
            config,
            assignment,
        } = fixture;
        let plan_of = |flip: usize| {
            plan(&config, &assignment, |service, place| {
                let known = &config.services[service].backends[place];
                Knowledge {
                    health: Health::Up,
                    location: location(known).filter(|_| place % 2 == flip % 2),
                    ..Knowledge::new(known.weight)
                }
            })
        };
        let program = datapath.program_mut().expect("the program");
        for (what, frame) in ways() {
            let flips = AtomicUsize::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while flips.load(Ordering::SeqCst) < FLIPS {
                        let flip = flips.fetch_add(1, Ordering::SeqCst);
                        writer.apply(&plan_of(flip), &KEY).expect("applied");
                    }
                });
                while flips.load(Ordering::SeqCst) < FLIPS {
                    let mut out = vec![0; frame.len() + 256];
                    let run = TestRunOptions {
                        data_in: Some(&frame),
                        data_out: Some(&mut out),
                        repeat: PACKETS,
                        ..TestRunOptions::default()
                    };
                    program.test_run(run).expect("a run");
                }
            });
            let counted = counters.service(assignment.services[0]).expect("counters");
            let others = Ending::ALL
                .iter()
                .filter(|&&ending| ending != Ending::Transmitted);
            let lost: Vec<_> = others
                .map(|&ending| (ending, counted.endings.get(ending)))
                .filter(|&(_, packets)| packets > 0)
                .collect();
            assert_eq!(lost, [], "{what}");
        }
    });
}
