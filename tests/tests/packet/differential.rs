//! The loaded program and the [`model`](crate::model), side by side on random and mutated frames:
//! action, frame and counters must agree, and what the program says if it is asked to explain.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use dns_lb::{
    config::{Policy, Protocol, Service, XdpMode},
    datapath::{Explained, explain},
    health::Health,
};
use dns_lb_common::{Ending, NO_SERVICE, QueryType};
use nix::{sched::CpuSet, unistd::Pid};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    fixture::{ELSEWHERE, Fixture, HERE, INGRESS, KEY, NOWHERE, PIN_DIR, service, with_program},
    frames::{self, Extra, TCP, UDP},
    model::{Counted, Model},
    rows::{FAMILIES, Family},
};

/// Each seed is one sequence of frames over maps of its own.
const SEEDS: [u64; 4] = [1, 2, 3, 5];
const FRAMES: usize = 50_000;
/// Frames after which the counters are compared.
const BATCH: usize = 500;
/// Octets of the Ethernet header.
const ETHERNET_HEADER: usize = 14;
/// One frame of so many is explained before it is sent: the way of plain packets is left out then, so
/// this holds the two ways against each other too.
const EXPLAINED: usize = 50;

const SERVICES: usize = 8;

fn services() -> Vec<Service> {
    let mut all: Vec<Service> = (0..SERVICES)
        .map(|place| {
            let backends: &[(u8, u16)] = match place {
                1 => &[(NOWHERE, 1)],
                2 => &[(ELSEWHERE, 1), (201, 2)],
                3 => &[(HERE, 1), (204, 1)],
                _ => &[(201, 1), (202, 3), (203, 2)],
            };
            let mut service = service(&format!("s{place}"), Family::V4.vip(place), backends);
            service.vips.push(Family::V6.vip(place));
            service.protocols = vec![Protocol::Udp, Protocol::Tcp];
            service.count_queries = place % 2 == 0;
            service.policy = match place {
                4 => Policy::Source,
                5 | 6 => Policy::Qname,
                7 => Policy::RoundRobin,
                _ => Policy::Hash,
            };
            service
        })
        .collect();
    all[1].on_no_backend = dns_lb::config::OnNoBackend::Drop;
    all[6].max_load = Some(110);
    // Another service on a VIP that has one, for UDP alone.
    let mut beside = service("beside", Family::V4.vip(0), &[(202, 1)]);
    beside.port = 5_353;
    all.push(beside);
    all
}

/// Makes frames: mostly nearly right ones.
struct Generator {
    random: StdRng,
}

impl Generator {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random.random_range(0..count) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices.choose(&mut self.random).expect("a choice").clone()
    }

    fn frame(&mut self) -> Vec<u8> {
        let family = self.of(&FAMILIES);
        let mut datagram = match self.random.random_range(0..10) {
            0 => self.error(family),
            _ => self.datagram(family),
        };
        if self.one_in(8) {
            let hops = if family == Family::V4 { 8 } else { 7 };
            datagram[hops] = self.random.random_range(0..3);
        }
        let tags = self.of(&[0, 0, 0, 1, 2, 3]);
        let mut frame = frames::frame(tags, &datagram);
        if self.one_in(8) {
            // The other balancer of the farm.
            frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 204]);
        }
        if self.one_in(2) {
            self.mutate(&mut frame);
        }
        frame
    }

    fn mutate(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..self.random.random_range(0..4) {
            let near = frame.len().min(120);
            let at = self.random.random_range(12..near);
            frame[at] = match self.random.random_range(0..4) {
                0 => self.of(&[0, 1, 6, 17, 43, 44, 58, 60, 0x3f, 0x40, 0xc0, 0xff]),
                1 => frame[at].wrapping_add(self.of(&[1, 0xff])),
                2 => frame[at] ^ (1 << self.random.random_range(0..8)),
                _ => self.random.random(),
            };
        }
        match self.random.random_range(0..6) {
            0 => frame.truncate(self.random.random_range(14..=frame.len())),
            1 => frame.extend(vec![0; self.random.random_range(1..40)]),
            _ => {}
        }
    }

    fn client(&mut self, family: Family) -> IpAddr {
        if self.one_in(40) {
            return match family {
                Family::V4 => self.of(&[[224, 0, 0, 9], [255; 4], [240, 1, 2, 3]]).into(),
                Family::V6 => "ff0e::9".parse().unwrap(),
            };
        }
        let number: u8 = self.random.random_range(0..12);
        match family.client() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                [a, b, c, number].into()
            }
            IpAddr::V6(v6) => {
                let mut octets = v6.octets();
                octets[15] = number;
                octets.into()
            }
        }
    }

    fn datagram(&mut self, family: Family) -> Vec<u8> {
        let vip = family.vip(self.random.random_range(0..=SERVICES));
        let client = match self.one_in(60) {
            true => vip,
            false => self.client(family),
        };
        let protocol = self.of(&[UDP, UDP, UDP, TCP, TCP, 1, 58, 89]);
        let from = self.random.random_range(1..8);
        let to = self.of(&[53, 53, 53, 53, 5_353, 54]);
        let body = match protocol {
            UDP => {
                let message = self.message();
                frames::udp(from, to, &message)
            }
            TCP => {
                let flags = self.random.random();
                let payload = vec![0; self.random.random_range(0..30)];
                frames::tcp(from, to, flags, &payload)
            }
            _ => frames::icmp(self.random.random_range(0..=130), b"payload"),
        };
        let extra = self.extra();
        frames::datagram(client, vip, protocol, &extra, &body)
    }

    fn extra(&mut self) -> Extra {
        let mut extra = Extra::default();
        if self.one_in(4) {
            extra.options = vec![1; 4 * self.random.random_range(1..=10)];
        }
        if self.one_in(3) {
            for _ in 0..self.random.random_range(1..11) {
                let number = self.of(&[0, 43, 60, 60]);
                let more = 8 * self.random.random_range(0..4);
                extra.extensions.push((number, vec![0; 6 + more]));
            }
        }
        if self.one_in(4) {
            let id = self.random.random_range(0..30);
            let offset = self.of(&[0, 0, 0, 1, 185]);
            extra.fragment = Some((id, offset, self.random.random()));
        }
        extra
    }

    fn error(&mut self, family: Family) -> Vec<u8> {
        let vip = family.vip(self.random.random_range(0..=SERVICES));
        let (protocol, client) = (self.of(&[UDP, TCP, 89]), self.client(family));
        let (from, to) = (self.of(&[53, 53, 53, 54]), self.random.random_range(1..8));
        let body = match protocol {
            TCP => frames::tcp(from, to, 0x10, &[]),
            _ => frames::udp(from, to, &[0; 20]),
        };
        let extra = self.extra();
        let source = match self.one_in(10) {
            true => client,
            false => vip,
        };
        let quoted = frames::datagram(source, client, protocol, &extra, &body);
        let (number, kind) = match family {
            Family::V4 => (1, self.of(&[3, 3, 11, 12, 8, 5])),
            Family::V6 => (58, self.of(&[1, 2, 3, 4, 128, 5])),
        };
        let router = self.client(family);
        let extra = match self.one_in(4) {
            true => self.extra(),
            false => Extra::default(),
        };
        frames::datagram(router, vip, number, &extra, &frames::icmp(kind, &quoted))
    }

    fn message(&mut self) -> Vec<u8> {
        let mut labels: Vec<Vec<u8>> = Vec::new();
        let count = self.of(&[0, 1, 2, 3, 3, 3, 4, 12, 13, 30, 127]);
        for _ in 0..count {
            let length = match count {
                127 => 1,
                _ => self.of(&[1, 2, 3, 5, 7, 8, 9, 15, 16, 63]),
            };
            let letter = self.of(b"abAB");
            labels.push(vec![letter; length]);
        }
        while labels.iter().map(|label| label.len() + 1).sum::<usize>() > 256 {
            labels.pop();
        }
        let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        let number = self.of(&[1, 28, 12, 15, 16, 33, 65, 255, 2, 99]);
        let mut message = frames::question(&frames::name(&labels), number, self.one_in(2));
        match self.random.random_range(0..12) {
            0 => message.truncate(self.random.random_range(0..=message.len())),
            1 => message.extend([0; 7]),
            _ => {}
        }
        message
    }
}

/// What the program has counted.
fn counted(fixture: &Fixture) -> Counted {
    let mut counted = Counted::default();
    let ids = fixture.assignment.services.iter().copied();
    for id in std::iter::once(NO_SERVICE).chain(ids) {
        let service = fixture.counters.service(id).expect("counters");
        for &ending in Ending::ALL {
            counted
                .endings
                .insert((id, ending.name()), service.endings.get(ending));
        }
        counted.bytes.insert(id, service.bytes);
        counted
            .tcp
            .insert(id, (service.tcp_packets, service.tcp_connections));
        for &query_type in QueryType::ALL {
            let count = service.queries.get(query_type);
            counted.queries.insert((id, query_type.name()), count);
        }
        counted.queries.insert((id, "edns"), service.queries.edns);
    }
    for &id in fixture.assignment.backends.iter().flatten() {
        let backend = fixture.counters.backend(id).expect("counters");
        counted
            .backends
            .insert(id, (backend.packets, backend.bytes));
    }
    counted.without_zeros()
}

impl Counted {
    /// The same, without what has not been counted at all.
    fn without_zeros(mut self) -> Self {
        fn thin<K: Ord, V: Default + PartialEq>(map: &mut BTreeMap<K, V>) {
            map.retain(|_, value| *value != V::default());
        }
        thin(&mut self.endings);
        thin(&mut self.bytes);
        thin(&mut self.backends);
        thin(&mut self.tcp);
        thin(&mut self.queries);
        self
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Asserts that program and model do the same with a frame.
fn agree(fixture: &mut Fixture, model: &mut Model, frame: &[u8], explains: bool, context: &str) {
    // Beforehand, since what the program does may change what it does next.
    let explained = explains.then(|| explain(Path::new(PIN_DIR), frame, INGRESS).expect("explain"));
    let expected = model.judge(frame);
    let (action, after) = fixture.datapath.test_run(frame).expect("test run");
    assert!(
        action == expected.ending.action() as u32 && after == expected.frame,
        "{context}: {}\nexpected {:?}, {}\nthe program says action {action}, {}",
        hex(frame),
        expected.ending,
        hex(&expected.frame),
        hex(&after),
    );
    if let Some(Explained {
        explanation,
        frame: after,
        ..
    }) = explained
    {
        assert!(
            explanation.ending == expected.ending as u8 && after == expected.frame,
            "{context}: {}\nexpected {:?}, explained {explanation:?}",
            hex(frame),
            expected.ending,
        );
    }
}

/// What the fuzzer of the host-compiled program has found, and what it begins with, before the loaded
/// one: a fixture is a frame behind an octet that is the fuzzer's own.
#[test]
fn program_and_model_agree_on_the_fuzzers_fixtures() {
    with_program(services(), |mut fixture| {
        let attached = fixture.datapath.attach(&[], XdpMode::Generic);
        attached.expect("a pinned program");
        let mut model = Model::new(&fixture.apply(|_| Health::Up), &KEY);
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../dns-lb-ebpf/fuzz/fixtures/frame"
        );
        let mut frames = 0;
        for entry in fs::read_dir(folder).expect("the fixtures") {
            let path = entry.expect("a fixture").path();
            let octets = fs::read(&path).expect("a fixture");
            // The kernel takes no shorter frame for a test.
            if octets.len() > ETHERNET_HEADER {
                let context = path.display().to_string();
                agree(&mut fixture, &mut model, &octets[1..], true, &context);
                frames += 1;
            }
        }
        assert!(frames > 0, "no fixture in {folder}");
    });
}

fn compare(seed: u64) {
    with_program(services(), move |mut fixture| {
        // Cursors are each CPU's own.
        let mut cpus = CpuSet::new();
        cpus.set(0).expect("a CPU");
        nix::sched::sched_setaffinity(Pid::from_raw(0), &cpus).expect("to stay on it");

        // To no interface, but it pins the program, which is the one that is asked to explain.
        let attached = fixture.datapath.attach(&[], XdpMode::Generic);
        attached.expect("a pinned program");

        let mut model = Model::new(&fixture.apply(|_| Health::Up), &KEY);
        let mut generator = Generator::new(seed);
        for number in 0..FRAMES {
            let context = format!("seed {seed}, frame {number}");
            let explains = number % EXPLAINED == 0;
            agree(
                &mut fixture,
                &mut model,
                &generator.frame(),
                explains,
                &context,
            );
            if number % BATCH == BATCH - 1 {
                let expected = model.counted.clone().without_zeros();
                assert_eq!(
                    counted(&fixture),
                    expected,
                    "seed {seed}, up to frame {number}"
                );
            }
        }
        let seen = model.counted.endings.keys().map(|&(_, name)| name);
        let seen: std::collections::BTreeSet<_> = seen.collect();
        let unseen = Ending::ALL.iter().map(|ending| ending.name());
        let unseen: Vec<_> = unseen.filter(|name| !seen.contains(name)).collect();
        // What no single frame can bring about.
        assert_eq!(
            unseen,
            ["no_backend_passed", "not_linear", "unknown_backend"]
        );
    });
}

#[test]
fn program_and_model_agree_on_200_000_frames() {
    assert_eq!(SEEDS.len() * FRAMES, 200_000);
    for seed in SEEDS {
        compare(seed);
    }
}
