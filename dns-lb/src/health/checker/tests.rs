use std::{cell::Cell, collections::VecDeque, rc::Rc};

use hickory_proto::op::ResponseCode;
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use super::*;
use crate::health::{LinkReach, OwnFault, testing::check};

mod rhythm;

const MILLISECOND: Duration = Duration::from_millis(1);

fn key() -> BackendKey {
    BackendKey {
        service: "resolvers".into(),
        backend: "dns1".into(),
    }
}

/// A schedule that reports into a channel, and what says where its backend is.
fn schedule(
    check: &HealthCheck,
    initial: Health,
    reports: mpsc::Sender<Report>,
) -> (Schedule, watch::Sender<Arc<Reach>>) {
    let reached = Arc::new(Reach::default());
    let (reach, follows) = watch::channel(Arc::clone(&reached));
    let schedule = Schedule {
        backend: key(),
        checker: 0,
        state: State::new(check, initial),
        reach: follows,
        reached,
        fast_interval: check.fast_interval,
        reports,
    };
    (schedule, reach)
}

/// Room for any number of probes.
fn room() -> Semaphore {
    Semaphore::new(MAX_IN_FLIGHT)
}

fn pass() -> Outcome {
    Ending::Passed {
        code: ResponseCode::NoError,
        rtt: MILLISECOND,
    }
    .into()
}

fn silence() -> Outcome {
    Ending::TimedOut {
        vip: None,
        ignored: None,
    }
    .into()
}

/// Runs a checker on the paused clock against a script of (duration of the probe, outcome), and
/// gives each probe's begin, counted from the start, with its report.
async fn play(
    initial: Health,
    script: impl IntoIterator<Item = (Duration, Outcome)>,
) -> Vec<(Duration, Report)> {
    let mut script: VecDeque<_> = script.into_iter().collect();
    let probes = script.len();
    let (sender, mut receiver) = mpsc::channel(probes);
    let start = Instant::now();
    let begins = Rc::new(Cell::new(Vec::new()));
    let noted = Rc::clone(&begins);
    let probe_once = move |_, _| {
        let mut list = noted.take();
        list.push(start.elapsed());
        noted.set(list);
        let next = script.pop_front();
        async move {
            let (duration, outcome) = match next {
                Some(scripted) => scripted,
                None => std::future::pending().await,
            };
            sleep(duration).await;
            outcome
        }
    };
    let check = check();
    let (schedule, _reach) = schedule(&check, initial, sender);
    let mut reports = Vec::new();
    let room = room();
    tokio::select! {
        () = schedule.run(&check, &room, probe_once) => unreachable!("the channel is open"),
        () = async {
            while reports.len() < probes {
                reports.push(receiver.recv().await.unwrap());
            }
        } => {}
    }
    begins.take().into_iter().zip(reports).collect()
}

#[tokio::test(start_paused = true)]
async fn a_start_is_spread_and_quick() {
    let mut first_begins = Vec::new();
    for _ in 0..20 {
        let played = play(Health::Unknown, (0..4).map(|_| (MILLISECOND, pass()))).await;
        let begins: Vec<_> = played.iter().map(|(begin, _)| *begin).collect();
        first_begins.push(begins[0]);
        // The paused clock goes in whole milliseconds.
        assert!(begins[0] <= check().fast_interval + MILLISECOND);
        for pair in begins[..3].windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap >= check().fast_interval && gap <= check().fast_interval + 2 * MILLISECOND);
        }
        assert_eq!(played[2].1.transition.unwrap().to, Health::Up);
        assert!(begins[2] < Duration::from_millis(160), "up at {begins:?}");
        // Settled: somewhere in the interval that follows.
        let gap = begins[3] - begins[2];
        assert!(gap >= check().fast_interval && gap <= check().interval + 2 * MILLISECOND);
    }
    first_begins.dedup();
    assert!(first_begins.len() > 5, "{first_begins:?}");
}

#[tokio::test(start_paused = true)]
async fn probes_of_a_settled_backend_keep_the_interval() {
    let played = play(Health::Up, (0..20).map(|_| (40 * MILLISECOND, pass()))).await;
    for pair in played.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap >= check().interval && gap <= check().interval + 2 * MILLISECOND);
        assert!(pair[1].1.late_by <= 2 * MILLISECOND);
        assert_eq!(pair[1].1.health, Health::Up);
        assert_eq!(pair[1].1.transition, None);
    }
}

/// The table in the documentation of [`Checker`]: the server dies just after it has answered.
#[tokio::test(start_paused = true)]
async fn detection_takes_as_long_as_documented() {
    let refused = || Ending::Refused { rtt: MILLISECOND }.into();
    for (probe_takes, outcome, at_most) in [
        (MILLISECOND, refused as fn() -> Outcome, 310),
        (check().timeout, silence, 760),
    ] {
        let script = [
            (MILLISECOND, pass()),
            (probe_takes, outcome()),
            (probe_takes, outcome()),
        ];
        let played = play(Health::Up, script).await;
        let (answered, (last, report)) = (played[0].0 + MILLISECOND, &played[2]);
        assert_eq!(report.transition.unwrap().to, Health::Down);
        let detected_after = *last + probe_takes - answered;
        assert!(
            detected_after <= Duration::from_millis(at_most),
            "{detected_after:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_probe_delays_the_next_and_makes_no_burst() {
    let script = [
        (1000 * MILLISECOND, pass()),
        (MILLISECOND, pass()),
        (MILLISECOND, pass()),
    ];
    let played = play(Health::Up, script).await;
    let after_long = played[1].0 - played[0].0;
    assert!(after_long >= 1000 * MILLISECOND && after_long <= 1002 * MILLISECOND);
    // Its own length is not lateness: nobody was too busy to probe.
    assert!(played[1].1.late_by <= 2 * MILLISECOND);
    assert!(played[2].0 - played[1].0 >= check().interval);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_stalls_holds_the_probes_and_their_lateness_is_told() {
    let (sender, mut receiver) = mpsc::channel(1);
    let check = check();
    let (schedule, _reach) = schedule(&check, Health::Up, sender);
    let room = room();
    let probing = schedule.run(&check, &room, |_, _| async { pass() });
    let reading = async {
        let stall = 10 * check.interval;
        sleep(stall).await;
        let mut reports = Vec::new();
        while reports.len() < 4 {
            let report = receiver.recv().await.unwrap();
            reports.push((Instant::now(), report));
        }
        reports
    };
    let reports = tokio::select! {
        () = probing => unreachable!("the channel is open"),
        reports = reading => reports,
    };
    // One report waited in the channel and one before it; the third probe had to wait for them.
    let late: Vec<_> = reports.iter().map(|(_, report)| report.late_by).collect();
    assert!(
        late[0] <= 2 * MILLISECOND && late[1] <= 2 * MILLISECOND,
        "{late:?}"
    );
    assert!(late[2] > 5 * check.interval, "{late:?}");
    assert!(late[3] <= 2 * MILLISECOND, "{late:?}");
    // What was missed is not made up for: the next comes with the next beat.
    let gap = reports[3].0 - reports[2].0;
    assert!(gap >= check.fast_interval / 2 && gap <= check.interval + check.fast_interval);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_when_nobody_listens() {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let check = check();
    let (schedule, _reach) = schedule(&check, Health::Unknown, sender);
    let room = room();
    let probing = schedule.run(&check, &room, |_, _| async { pass() });
    timeout(Duration::from_secs(60), probing).await.unwrap();
}

/// Where a backend is, with a MAC address that ends in this octet.
fn at(octet: u8) -> Reach {
    Reach {
        link: Some(LinkReach {
            interface: "eth0".to_owned(),
            ifindex: 2,
            mac: crate::mac::MacAddress([2, 0, 0, 0, 0, octet]),
            source_mac: crate::mac::MacAddress([2, 0, 0, 0, 0, 1]),
            sources: vec!["192.0.2.1".parse().unwrap()],
        }),
        ..Reach::default()
    }
}

/// What the kernel tells is acted on at once, also while a probe is on its way: an hour passes between
/// probes here, and each takes a minute.
#[tokio::test(start_paused = true)]
async fn the_kernels_word_does_not_wait_for_a_probe() {
    let check = crate::health::testing::check_with("interval = \"1h\"\ntimeout = \"1m\"");
    let (sender, mut reports) = mpsc::channel(1);
    let (schedule, reach) = schedule(&check, Health::Up, sender);
    let asked = Cell::new(Vec::new());
    let room = room();
    let probing = schedule.run(&check, &room, |reach: Arc<Reach>, _| {
        let mut list = asked.take();
        list.push((Instant::now(), reach));
        asked.set(list);
        async {
            sleep(Duration::from_secs(60)).await;
            pass()
        }
    });
    let telling = async {
        // The first probe is under way: one to where it is now takes its place.
        sleep(Duration::from_secs(1)).await;
        let moved = Instant::now();
        reach.send_replace(Arc::new(at(7)));
        let report = reports.recv().await.unwrap();
        assert_eq!((report.health, report.probed), (Health::Up, true));
        let list = asked.take();
        assert_eq!(list.len(), 2);
        assert_eq!(*list[1].1, at(7));
        assert!(list[1].0 - moved < 60 * MILLISECOND);

        let lost = Instant::now();
        reach.send_replace(Arc::new(Reach {
            is_lost: true,
            ..at(7)
        }));
        let report = reports.recv().await.unwrap();
        assert_eq!((report.health, report.probed), (Health::Down, false));
        assert_eq!(report.transition.unwrap().to, Health::Down);
        assert_eq!(lost.elapsed(), Duration::ZERO);

        let found = Instant::now();
        reach.send_replace(Arc::new(at(7)));
        let report = reports.recv().await.unwrap();
        assert!(report.probed);
        let began = asked.take()[0].0;
        assert!(began - found < 60 * MILLISECOND);
    };
    tokio::select! {
        () = probing => unreachable!("the channel is open"),
        () = telling => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_this_host_freezes_the_verdict() {
    let own_fault = || Ending::from(OwnFault::Host("no route to it".into())).into();
    let script = [
        (MILLISECOND, pass()),
        (MILLISECOND, silence()),
        (MILLISECOND, own_fault()),
        (MILLISECOND, own_fault()),
        (MILLISECOND, own_fault()),
        (MILLISECOND, silence()),
    ];
    let played = play(Health::Up, script).await;
    let health: Vec<Health> = played.iter().map(|(_, report)| report.health).collect();
    use Health::{Down, Up};
    assert_eq!(health, [Up, Up, Up, Up, Up, Down]);
}

#[tokio::test(start_paused = true)]
async fn without_room_for_a_probe_it_is_late_and_says_so() {
    let check = check();
    let (sender, mut reports) = mpsc::channel(1);
    let (schedule, _reach) = schedule(&check, Health::Up, sender);
    let room = Semaphore::new(1);
    let taken = room.acquire().await.unwrap();
    let waiting = async move {
        sleep(Duration::from_secs(1)).await;
        drop(taken);
        reports.recv().await.unwrap()
    };
    let report = tokio::select! {
        () = schedule.run(&check, &room, |_, _| async { pass() }) => unreachable!("the channel is open"),
        report = waiting => report,
    };
    assert!(
        report.late_by > Duration::from_millis(900),
        "{:?}",
        report.late_by
    );
}

#[tokio::test]
async fn probes_until_dropped() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let target = Target {
        backend: key(),
        address: address.ip(),
        port: address.port(),
        vips: vec![address.ip()],
        local: false,
    };
    let (sender, mut receiver) = mpsc::channel(1);
    let check = Arc::new(crate::health::testing::check_with("path = \"real\""));
    let checkers = Checkers::new(sender);
    let checker = checkers.spawn(target, check, Reach::default(), Health::Unknown);
    drop(checkers);
    // The query itself, sent back: a probe that fails by time-out.
    let mut buffer = [0; 512];
    let (length, client) = server.recv_from(&mut buffer).await.unwrap();
    server.send_to(&buffer[..length], client).await.unwrap();
    let report = receiver.recv().await.unwrap();
    assert_eq!(report.backend, key());
    assert_eq!(report.health, Health::Unknown);
    assert!(!report.outcome.passed());

    drop(checker);
    // At most one more report was under way; then the sender is gone.
    let drained = async { while receiver.recv().await.is_some() {} };
    timeout(Duration::from_secs(5), drained).await.unwrap();
}
