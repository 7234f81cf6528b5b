//! Many backends: their probes are spread, and stay so whatever comes between.

use std::{collections::BTreeMap, sync::Mutex};

use super::*;

const BACKENDS: usize = 200;

/// When probes began.
type Begins = Arc<Mutex<Vec<Instant>>>;

/// Backends that pass every probe, and when those begin.
fn start() -> (Vec<Checker>, Begins) {
    let (sender, mut reports) = mpsc::channel(4_096);
    let checkers = Checkers::new(sender);
    let check = Arc::new(check());
    let begins = Begins::default();
    let all = (0..BACKENDS).map(|number| {
        let begins = Arc::clone(&begins);
        let key = BackendKey {
            service: "s".into(),
            backend: format!("b{number}").into(),
        };
        let check = Arc::clone(&check);
        checkers.spawn_with(key, check, at(1), Health::Unknown, move |_, _| {
            begins.lock().unwrap().push(Instant::now());
            async { pass() }
        })
    });
    let all = all.collect();
    tokio::spawn(async move { while reports.recv().await.is_some() {} });
    (all, begins)
}

/// How many probes began within the busiest five milliseconds of this time.
async fn busiest(begins: &Begins, time: Duration) -> usize {
    begins.lock().unwrap().clear();
    let start = Instant::now();
    sleep(time).await;
    let mut counts = BTreeMap::new();
    for begin in begins.lock().unwrap().iter() {
        *counts.entry((*begin - start).as_millis() / 5).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap()
}

/// Spread evenly, 200 probes in 250 ms are 4 in 5 ms. Who comes to more than 40 by chance has been
/// waited for since before the stars were.
const MOST: usize = 40;

#[tokio::test(start_paused = true)]
async fn probes_are_spread_again_after_a_stall() {
    let (_all, begins) = start();
    sleep(Duration::from_secs(5)).await;
    assert!(busiest(&begins, Duration::from_secs(1)).await < MOST);
    // Nothing runs for a while, as on a host that is overloaded.
    tokio::time::advance(Duration::from_millis(300)).await;
    sleep(Duration::from_secs(2)).await;
    assert!(busiest(&begins, Duration::from_secs(1)).await < MOST);
}

#[tokio::test(start_paused = true)]
async fn probes_are_spread_when_all_backends_are_reached_in_another_way() {
    let (all, begins) = start();
    sleep(Duration::from_secs(5)).await;
    for checker in &all {
        let mut reach = at(1);
        if let Some(link) = &mut reach.link {
            link.sources.push("192.0.2.9".parse().unwrap());
        }
        checker.reach(reach);
    }
    assert!(
        busiest(&begins, Duration::from_millis(200)).await < MOST,
        "at once"
    );
    sleep(Duration::from_secs(2)).await;
    assert!(
        busiest(&begins, Duration::from_secs(1)).await < MOST,
        "later"
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_on_its_way_when_this_host_loses_its_link_counts_for_nothing() {
    let check = HealthCheck { fall: 1, ..check() };
    let (sender, mut reports) = mpsc::channel(64);
    let (schedule, reach) = schedule(&check, Health::Up, sender);
    let room = room();
    let running = schedule.run(&check, &room, |reached: Arc<Reach>, _| async move {
        sleep(check_timeout()).await;
        match &reached.own_fault {
            Some(why) => Ending::from(OwnFault::Host(why.as_str().into())).into(),
            None => silence(),
        }
    });
    let watching = async {
        sleep(Duration::from_millis(100)).await;
        reach.send_replace(Arc::new(Reach {
            own_fault: Some("interface eth0 is down".to_owned()),
            ..Reach::default()
        }));
        for _ in 0..4 {
            let report = reports.recv().await.unwrap();
            assert_eq!(report.health, Health::Up, "{}", report.outcome);
        }
    };
    tokio::select! {
        () = running => unreachable!("the channel is open"),
        () = watching => {}
    }
}

fn check_timeout() -> Duration {
    check().timeout
}
