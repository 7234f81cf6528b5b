//! Tables are rewritten while packets flow: each goes by the one or by the other.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use dns_lb::{
    health::Health,
    steer::{Knowledge, plan},
};
use dns_lb_common::{Action, Ending};

use crate::{
    fixture::{CLIENT, KEY, VIP, location, query_from, service, with_program},
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
                Knowledge {
                    health: match backend / 2 == phase % PAIRS {
                        true => Health::Up,
                        false => Health::Down,
                    },
                    location: location(&fixture.config.services[service].backends[backend]),
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
