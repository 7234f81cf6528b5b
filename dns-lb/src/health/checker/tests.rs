use std::{cell::Cell, collections::VecDeque, rc::Rc};

use hickory_proto::op::ResponseCode;
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use super::*;
use crate::health::{Ending, testing::check};

const MILLISECOND: Duration = Duration::from_millis(1);

fn key() -> BackendKey {
    BackendKey {
        service: "resolvers".into(),
        backend: "dns1".into(),
    }
}

fn pass() -> Outcome {
    let code = ResponseCode::NoError;
    let rtt = MILLISECOND;
    Ending::Passed { code, rtt }.into()
}

fn silence() -> Outcome {
    let ending = Ending::TimedOut {
        vip: None,
        ignored: None,
    };
    ending.into()
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
    let probe_once = move || {
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
    let mut reports = Vec::new();
    tokio::select! {
        () = run(key(), initial, &check, sender, probe_once) => unreachable!("the channel is open"),
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
    let probing = run(key(), Health::Up, &check, sender, || async { pass() });
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
    assert!(reports[3].0 - reports[2].0 >= check.interval - 2 * MILLISECOND);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_when_nobody_listens() {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let check = check();
    let probing = run(key(), Health::Unknown, &check, sender, || async { pass() });
    timeout(Duration::from_secs(60), probing).await.unwrap();
}

#[tokio::test]
async fn probes_until_dropped() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let target = Target {
        backend: key(),
        address: address.ip(),
        port: address.port(),
        vips: vec!["192.0.2.1".parse().unwrap()],
        local: false,
    };
    let (sender, mut receiver) = mpsc::channel(1);
    let checker = Checker::spawn(target, Health::Unknown, check(), sender);
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
