//! A day in the life of a farm, in seconds: servers fail at random in every way that there is, the
//! checkers probe them by tokio's paused clock, and what the agent knows and decides is held against
//! what is true, at every report.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    decide,
    knowledge::Knowledge,
    reach::{peers, reach},
};
use crate::{
    admin::{Action, Admin, Change, Ledger, Selection, apply},
    api::Timestamp,
    config::{Config, OnNoBackend},
    health::{BackendKey, Checker, Checkers, Ending, Health, Outcome, OwnFault, Reach, Report},
    mac::MacAddress,
    neighbor::{Link, Neighbor, Neighbors, Unresolved},
    steer::{Assignment, Known, Plan, Recorded, assign},
};

const DAY: Duration = Duration::from_secs(86_400);

/// `rise` is 3, and a backend that flaps is asked for 32 times as many.
const LONGEST_TO_RISE: Duration = Duration::from_secs(30);
/// Two probes, each as long after the last one's begin or end as can be.
const LONGEST_TO_FALL: Duration = Duration::from_millis(3_200);

const CONFIG: &str = r#"
interfaces = ["eth0"]
[[service]]
name = "rec"
vips = ["192.0.2.1"]
[service.health]
interval = "1s"
fast_interval = "200ms"
timeout = "500ms"
[[service.backend]]
name = "r1"
address = "10.0.0.1"
[[service.backend]]
name = "r2"
address = "10.0.0.2"
weight = 3
[[service.backend]]
name = "r3"
address = "10.0.0.3"
[[service]]
name = "auth"
vips = ["192.0.2.2"]
on_no_backend = "drop"
max_ejected = "50%"
slow_start = "1m"
[service.health]
interval = "1s"
fast_interval = "200ms"
timeout = "500ms"
[[service.backend]]
name = "a1"
address = "10.0.1.1"
[[service.backend]]
name = "a2"
address = "10.0.1.2"
[[service.backend]]
name = "a3"
address = "10.0.1.3"
"#;

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Good,
    Silent,
    Refusing,
    Servfail,
    /// Good and silent by turns, some seconds each.
    Flapping,
    /// The balancer's own link is down.
    OwnFault,
    /// Off the link, which the kernel notices.
    Lost,
}

/// A server's day.
struct Server {
    random: StdRng,
    mode: Mode,
    since: Instant,
    until: Instant,
}

impl Server {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            mode: Mode::Good,
            since: Instant::now(),
            until: Instant::now() + Duration::from_secs(60),
        }
    }

    /// How it is now.
    fn now(&mut self) -> Mode {
        let now = Instant::now();
        while self.until <= now {
            let seconds = match self.mode {
                Mode::Good => {
                    self.mode = match self.random.random_range(0..6) {
                        0 => Mode::Silent,
                        1 => Mode::Refusing,
                        2 => Mode::Servfail,
                        3 => Mode::Flapping,
                        4 => Mode::OwnFault,
                        _ => Mode::Lost,
                    };
                    self.random.random_range(1..300)
                }
                _ => {
                    self.mode = Mode::Good;
                    self.random.random_range(1..1_200)
                }
            };
            self.since = self.until;
            self.until += Duration::from_secs(seconds);
        }
        self.mode
    }

    /// A probe of it: how long it takes, and how it ends.
    fn probe(&mut self) -> (Duration, Outcome) {
        let rtt = Duration::from_millis(self.random.random_range(1..20));
        let turn = self.since.elapsed().as_secs() / 7 % 2;
        let silence = (
            Duration::from_millis(500),
            Ending::TimedOut {
                vip: None,
                ignored: None,
            },
        );
        let passed = Ending::Passed {
            code: ResponseCode::NoError,
            rtt,
        };
        let (after, ending) = match self.now() {
            Mode::Good => (rtt, passed),
            Mode::Flapping if turn == 0 => (rtt, passed),
            Mode::Silent | Mode::Flapping | Mode::Lost => silence,
            Mode::Refusing => (rtt, Ending::Refused { rtt }),
            Mode::Servfail => (rtt, Ending::Malformed { rtt }),
            Mode::OwnFault => (
                Duration::ZERO,
                OwnFault::Host("the link is down".into()).into(),
            ),
        };
        (after, ending.into())
    }
}

/// The agent's knowledge and decisions, with what is true beside.
struct Farm {
    config: Config,
    assignment: Assignment,
    knowledge: Knowledge,
    ledger: Ledger,
    servers: BTreeMap<BackendKey, Arc<Mutex<Server>>>,
    checkers: BTreeMap<BackendKey, Checker>,
    begun: BTreeMap<BackendKey, u64>,
}

fn mode(server: &Mutex<Server>) -> (Mode, Duration) {
    let mut server = server.lock().expect("no test panics with it");
    let mode = server.now();
    (mode, server.since.elapsed())
}

impl Farm {
    fn start(seed: u64) -> (Self, mpsc::Receiver<Report>) {
        let config = Config::parse(CONFIG).expect("a configuration");
        let assignment = assign(&config, &Known::default());
        let knowledge = Knowledge::new(&config, &assignment, &Recorded::default());
        let (sender, reports) = mpsc::channel(64);
        let checkers = Checkers::new(sender);
        let mut farm = Self {
            config,
            assignment,
            knowledge,
            ledger: Ledger::default(),
            servers: BTreeMap::new(),
            checkers: BTreeMap::new(),
            begun: BTreeMap::new(),
        };
        let states: Vec<_> = farm.knowledge.services().flatten().collect();
        for (number, state) in (0..).zip(states) {
            let key = state.key.clone();
            let service = farm.config.services.iter();
            let service = service
                .clone()
                .find(|service| *service.name == *key.service)
                .expect("its service");
            let server = Arc::new(Mutex::new(Server::new(seed + number)));
            let probed = Arc::clone(&server);
            let probe_once = move |_, _| {
                let (after, outcome) = probed.lock().expect("no test panics with it").probe();
                async move {
                    sleep(after).await;
                    outcome
                }
            };
            let check = Arc::new(service.health.clone());
            let checker = checkers.spawn_with(
                key.clone(),
                check,
                Reach::default(),
                Health::Unknown,
                probe_once,
            );
            farm.checkers.insert(key.clone(), checker);
            farm.servers.insert(key, server);
        }
        (farm, reports)
    }

    /// What the kernel says now.
    fn follow_kernel(&mut self) {
        let mac = |octet| MacAddress([2, 0, 0, 0, 0, octet]);
        let link = Link {
            name: "eth0".to_owned(),
            mac: Some(mac(1)),
            up: true,
        };
        let states = self.knowledge.services().flatten();
        let by_address = states.map(|state| {
            let is_lost = mode(&self.servers[&state.key]).0 == Mode::Lost;
            let answer = match is_lost {
                true => Err(Unresolved::Failed {
                    interface: "eth0".to_owned(),
                }),
                false => Ok(Neighbor {
                    mac: mac(2),
                    ifindex: 7,
                }),
            };
            (state.address, answer)
        });
        let neighbors = Neighbors {
            by_address: by_address.collect(),
            links: [(7, link)].into(),
            ..Neighbors::default()
        };
        self.knowledge.locate(&neighbors);
        for states in self.knowledge.services() {
            let peers = peers(states);
            for state in states {
                let reach = reach(state, &neighbors, &Default::default(), &peers);
                self.checkers[&state.key].reach(reach);
            }
        }
    }

    /// Takes a report in, and holds it against the truth.
    fn take_in(&mut self, report: Report) {
        let key = report.backend.clone();
        let before = self
            .knowledge
            .of(&key.service, &key.backend)
            .expect("one of ours")
            .health;
        match report.transition {
            Some(transition) => {
                assert_eq!((transition.from, transition.to), (before, report.health));
                assert_ne!(transition.from, transition.to);
            }
            None => assert_eq!(report.health, before, "{key}: a change that is none"),
        }
        assert!(!report.outcome.is_own_fault() || report.transition.is_none());
        assert!(report.late_by <= Duration::from_millis(3), "{report:?}");
        *self.begun.entry(key.clone()).or_default() += u64::from(report.probed);
        let health = report.health;
        self.knowledge.record(report);

        let (mode, length) = mode(&self.servers[&key]);
        let is_settled = |expected: Health, after: Duration| {
            assert!(
                length < after || health == expected,
                "{key} is {health} after {length:?} of {mode:?}"
            );
        };
        match mode {
            Mode::Good => is_settled(Health::Up, LONGEST_TO_RISE),
            Mode::Silent | Mode::Refusing | Mode::Servfail | Mode::Lost => {
                is_settled(Health::Down, LONGEST_TO_FALL);
            }
            Mode::Flapping | Mode::OwnFault => {}
        }
    }

    /// Decides, and holds the decision against what is known.
    fn decide(&self) -> Plan {
        let assignment = &self.assignment;
        let plan = decide(&self.config, assignment, &self.knowledge, &self.ledger);
        for (index, (service, planned)) in
            self.config.services.iter().zip(&plan.services).enumerate()
        {
            let (mut wanted, mut usable) = (Vec::new(), Vec::new());
            for (place, backend) in service.backends.iter().enumerate() {
                let state = self.knowledge.state(index, place);
                let is_enabled = self.ledger.admin(&service.name, &backend.name) == Admin::Enabled;
                if is_enabled && state.location.is_some() {
                    wanted.push(assignment.backends[index][place]);
                    if state.health != Health::Down {
                        usable.push(assignment.backends[index][place]);
                    }
                }
            }
            let members: Vec<u16> = planned.members.iter().map(|member| member.id).collect();
            let ejected = wanted.len() - usable.len();
            let too_many = 100 * ejected > service.max_ejected as usize * wanted.len();
            let expected = match (usable.is_empty(), service.on_no_backend) {
                (true, OnNoBackend::FailOpen) => &wanted,
                (true, _) => &usable,
                (false, _) if too_many => &wanted,
                (false, _) => &usable,
            };
            assert_eq!(&members, expected, "{}", service.name);
            assert!(planned.members.iter().all(|member| member.weight > 0));
        }
        plan
    }

    /// An operator does something at random.
    fn operate(&mut self, random: &mut StdRng) {
        let names: Vec<&BackendKey> = self.servers.keys().collect();
        let key = names[random.random_range(0..names.len())];
        let action = match random.random_range(0..3) {
            0 => Action::Drain,
            1 => Action::Disable,
            _ => Action::Enable,
        };
        let change = Change {
            selection: vec![Selection::Backend {
                service: key.service.to_string(),
                backend: key.backend.to_string(),
            }],
            action,
            reason: None,
            force: false,
        };
        let usable = |service: &str, backend: &str| {
            let state = self.knowledge.of(service, backend);
            state.is_some_and(|state| state.health != Health::Down)
        };
        // A refusal changes nothing.
        if let Ok((ledger, _)) = apply(
            &self.ledger,
            &self.config,
            usable,
            &change,
            "test",
            Timestamp::now(),
        ) {
            self.ledger = ledger;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_of_failures_breaks_no_rule() {
    let seed = 20_261_125;
    let (mut farm, mut reports) = Farm::start(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let begin = Instant::now();
    let (mut changes, mut opened, mut damped, mut partly_warm) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut look_at = begin;
    while begin.elapsed() < DAY {
        tokio::select! {
            report = reports.recv() => {
                let report = report.expect("the checkers run");
                damped += u32::from(report.passes_to_rise > 3);
                changes += u32::from(report.transition.is_some());
                let changes_nothing = report.transition.is_none();
                farm.take_in(report);
                if changes_nothing {
                    continue;
                }
            }
            () = sleep_until(look_at) => {
                look_at += Duration::from_secs(1);
                farm.follow_kernel();
                if random.random_range(0..300) == 0 {
                    farm.operate(&mut random);
                }
            }
        }
        let plan = farm.decide();
        opened += u32::from(plan.services.iter().any(|service| service.failed_open));
        partly_warm += u32::from(
            plan.services[1]
                .members
                .iter()
                .any(|member| member.weight > 1),
        );
    }
    let again = farm.decide();
    assert_eq!(again, farm.decide(), "equal knowledge, equal plans");

    // Everything that can happen has happened, often.
    for (what, count, least) in [
        ("verdicts", changes, 1_000),
        ("plans that do not believe the probes", opened, 1_000),
        ("reports of backends that flap", damped, 1_000),
        ("plans with a backend that warms up", partly_warm, 1_000),
    ] {
        assert!(count > least, "{what}: {count}");
    }
    for (key, probes) in &farm.begun {
        // Once a second, more often while a verdict is pending.
        assert!((80_000..300_000).contains(probes), "{key}: {probes}");
    }
}
