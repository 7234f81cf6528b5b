//! The program, loaded over fresh maps in namespaces of its own, and frames to feed it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dns_lb::{
    config::{self, Config},
    datapath::{Counters, Datapath, DatapathError, Demand},
    health::Health,
    mac::MacAddress,
    steer::{Assignment, Knowledge, Known, Location, Plan, Writer, assign, plan},
};
use dns_lb_common::{Action, Ending, HashKey, NO_SERVICE};
use etherparse::PacketBuilder;

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 200);
/// A VIP of a service with round-robin.
pub(crate) const ROTATING_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 222);

pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
pub(crate) const BALANCER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// `BPF_PROG_TEST_RUN` pretends that frames come in by the loopback interface, which has index 1.
pub(crate) const INGRESS: u32 = 1;
/// Where the program is pinned.
pub(crate) const PIN_DIR: &str = "/sys/fs/bpf/dns-lb";
pub(crate) const KEY: HashKey = HashKey {
    words: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211],
};

/// The loaded program with a configuration in its maps.
pub(crate) struct Fixture {
    pub(crate) datapath: Datapath,
    pub(crate) counters: Counters,
    pub(crate) assignment: Assignment,
    pub(crate) config: Config,
    pub(crate) writer: Writer,
}

/// What one run of the program did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) action: u32,
    pub(crate) frame: Vec<u8>,
    /// Endings that were counted, with the service that they were counted for.
    pub(crate) counted: Vec<(u16, Ending, u64)>,
    /// Backends that were counted, with the bytes.
    pub(crate) backends: Vec<(u16, u64)>,
}

/// Loads the program for these services in fresh namespaces, where there is an interface beside the
/// loopback, and runs the test there.
pub(crate) fn with_program(
    services: Vec<config::Service>,
    test: impl FnOnce(Fixture) + Send + 'static,
) {
    let node = dns_lb_tests::Node::new("packet").expect("namespaces (this test needs root)");
    node.run(move || {
        let made = Command::new("ip")
            .args("link add other type veth peer name far".split(' '))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "ip link add");
        let fixture = Fixture::load(services, Path::new(PIN_DIR));
        test(fixture);
    });
}

impl Fixture {
    /// Loads the program for these services over what is pinned here, and writes their
    /// configuration. It is not attached.
    pub(crate) fn load(services: Vec<config::Service>, pin_dir: &Path) -> Self {
        Self::try_load(services, pin_dir).expect("load")
    }

    pub(crate) fn try_load(
        services: Vec<config::Service>,
        pin_dir: &Path,
    ) -> Result<Self, DatapathError> {
        let config = configuration(services);
        let demand = Demand::of(&config);
        // A lock that was just dropped may still be held for a moment, by the copy that a program
        // which another test starts has of it until it is executed.
        let end = Instant::now() + Duration::from_secs(10);
        let (datapath, maps) = loop {
            match Datapath::load(pin_dir, demand) {
                Err(DatapathError::InUse { .. }) if Instant::now() < end => thread::yield_now(),
                loaded => break loaded?,
            }
        };
        let counters = datapath.counters().expect("counters");
        let writer = Writer::new(maps).expect("writer");
        let mut fixture = Self {
            datapath,
            counters,
            assignment: assign(&config, &Known::from(writer.recorded())),
            config,
            writer,
        };
        fixture.apply(|_| Health::Up);
        Ok(fixture)
    }

    /// Attaches the program to the loopback interface.
    pub(crate) fn attach(&mut self) {
        let interfaces = &self.config.interfaces;
        self.datapath
            .attach(interfaces, self.config.xdp_mode)
            .expect("attached");
        self.counters = self.datapath.counters().expect("counters");
    }

    /// Writes the plan that follows when backends, by their place in each service, are of this
    /// health.
    pub(crate) fn apply(&mut self, health: impl Fn(usize) -> Health) -> Plan {
        let services = &self.config.services;
        let plan = plan(&self.config, &self.assignment, |service, backend| {
            let known = &services[service].backends[backend];
            Knowledge {
                health: health(backend),
                location: location(known),
                ..Knowledge::new(known.weight)
            }
        });
        self.writer.apply(&plan, &KEY).expect("apply");
        plan
    }

    /// Runs the program once and tells what it did.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Run {
        let before = self.snapshot();
        let (action, frame) = self.datapath.test_run(frame).expect("test run");
        let after = self.snapshot();
        let counted = before
            .0
            .iter()
            .zip(&after.0)
            .filter(|(old, new)| old.2 != new.2);
        let backends = before
            .1
            .iter()
            .zip(&after.1)
            .filter(|(old, new)| old.1 != new.1);
        Run {
            action,
            frame,
            counted: counted
                .map(|(old, new)| (new.0, new.1, new.2 - old.2))
                .collect(),
            backends: backends.map(|(old, new)| (new.0, new.2 - old.2)).collect(),
        }
    }

    #[expect(
        clippy::type_complexity,
        reason = "two lists of plain numbers, used by `run` alone"
    )]
    fn snapshot(&self) -> (Vec<(u16, Ending, u64)>, Vec<(u16, u64, u64)>) {
        let mut endings = Vec::new();
        for id in std::iter::once(NO_SERVICE).chain(self.assignment.services.iter().copied()) {
            let counters = self.counters.service(id).expect("counters");
            endings.extend(
                Ending::ALL
                    .iter()
                    .map(|&ending| (id, ending, counters.endings.get(ending))),
            );
        }
        let backends = self.assignment.backends.iter().flatten().map(|&id| {
            let counters = self.counters.backend(id).expect("counters");
            (id, counters.packets, counters.bytes)
        });
        (endings, backends.collect())
    }
}

/// A configuration of these services on the loopback interface.
pub(crate) fn configuration(services: Vec<config::Service>) -> Config {
    Config {
        interfaces: vec!["lo".to_owned()],
        xdp_mode: config::XdpMode::Generic,
        hash_key_file: "/unused".into(),
        tcp_flows: 65_536,
        state_file: "/unused".into(),
        api: config::Api {
            admin_socket: "/unused".into(),
            admin_mode: 0o660,
            admin_group: None,
            listen: ([127, 0, 0, 1], 8053).into(),
        },
        announce: None,
        services,
    }
}

impl Run {
    /// The frame's destination and source addresses.
    pub(crate) fn addresses(&self) -> ([u8; 6], [u8; 6]) {
        (
            self.frame[..6].try_into().unwrap(),
            self.frame[6..12].try_into().unwrap(),
        )
    }

    pub(crate) fn is(&self, action: Action) -> bool {
        self.action == action as u32
    }
}

/// A backend whose last octet is [`NOWHERE`] is never found on the link, that of [`ELSEWHERE`] is on
/// another interface; every other is on the loopback interface, as far as the maps know.
pub(crate) fn location(backend: &config::Backend) -> Option<Location> {
    let IpAddr::V4(address) = backend.address else {
        unreachable!("backends have IPv4 addresses here");
    };
    let last = address.octets()[3];
    (last != NOWHERE).then_some(Location {
        mac: MacAddress([2, 0, 0, 0, 0, last]),
        ifindex: if last == ELSEWHERE {
            OTHER_INTERFACE
        } else {
            INGRESS
        },
        source_mac: MacAddress(BALANCER_MAC),
    })
}

/// The last octet of the address of a backend that is nowhere.
pub(crate) const NOWHERE: u8 = 99;
/// That of one on the other interface.
pub(crate) const ELSEWHERE: u8 = 98;
/// That of one on this host.
pub(crate) const HERE: u8 = 97;
/// The first interface that is made in a fresh namespace.
pub(crate) const OTHER_INTERFACE: u32 = 2;

/// A service with backends at 192.168.0.`last octet` of these weights.
pub(crate) fn service(
    name: &str,
    vip: impl Into<IpAddr>,
    backends: &[(u8, u16)],
) -> config::Service {
    let backends = backends.iter().map(|(last, weight)| {
        format!(
            "[[service.backend]]\nname = \"dns{last}\"\naddress = \"192.168.0.{last}\"\n\
             weight = {weight}\nlocal = {}\n",
            *last == HERE
        )
    });
    let text = format!(
        "interfaces = [\"lo\"]\n[[service]]\nname = \"{name}\"\nvips = [\"203.0.113.1\"]\n\
         protocols = [\"udp\"]\n{}",
        backends.collect::<String>()
    );
    let mut config = Config::parse(&text).expect("a configuration");
    // Some tests have a VIP that a file may not have, since a backend has it.
    config::Service {
        vips: vec![vip.into()],
        ..config.services.remove(0)
    }
}

/// A DNS query for `www.example.com. A` from the client to the VIP: 75 octets with its headers.
pub(crate) fn query() -> Vec<u8> {
    query_from(CLIENT, 4242, VIP)
}

/// The same from any client to any service.
pub(crate) fn query_from(client: Ipv4Addr, port: u16, vip: Ipv4Addr) -> Vec<u8> {
    let question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
    udp_frame(client, port, vip, 53, question)
}

/// A well-formed frame with this payload, as the router would send it.
pub(crate) fn udp_frame(
    from: Ipv4Addr,
    from_port: u16,
    to: Ipv4Addr,
    to_port: u16,
    payload: &[u8],
) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ROUTER_MAC, BALANCER_MAC)
        .ipv4(from.octets(), to.octets(), 63)
        .udp(from_port, to_port);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("a frame");
    frame
}
