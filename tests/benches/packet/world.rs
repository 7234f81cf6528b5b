//! A loaded program with a configuration in its maps, and frames for it.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use aya::programs::Xdp;
use dns_lb::{
    config::Config,
    datapath::{Datapath, Demand},
    health::Health,
    mac::MacAddress,
    steer::{Assignment, Knowledge, Known, Location, Writer, assign, plan},
};
use dns_lb_common::HashKey;
use dns_lb_tests::Scale;
use etherparse::{EtherType, PacketBuilder, VlanId};

/// `BPF_PROG_TEST_RUN` pretends that frames come in by the loopback interface.
pub(crate) const LOOPBACK: u32 = 1;
const KEY: HashKey = HashKey {
    words: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211],
};
const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const CLIENT: [u8; 4] = [198, 51, 100, 7];

/// What a frame is for that is for another host.
pub(crate) const NOBODY: &str = "nobody";
/// What a frame is for that the front sends to all further services.
pub(crate) const MANY: &str = "many";

/// Services by name, with the rest of their settings.
const SERVICES: [(&str, &str); 6] = [
    ("hash", "policy = \"hash\""),
    ("round-robin", "policy = \"round-robin\""),
    ("source", "policy = \"source\""),
    ("qname", "policy = \"qname\""),
    ("bounded", "policy = \"qname\"\nmax_load = \"125%\""),
    ("counted", "policy = \"hash\"\ncount_queries = true"),
];

/// How large a configuration is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// VIPs of the first service.
    pub(crate) vips: u16,
    /// Backends of the first service; the other named ones have at most a hundred.
    pub(crate) backends: u16,
    /// Further services, each with [a VIP](many_vip), a table and 50 backends.
    pub(crate) more_services: u8,
}

impl Size {
    pub(crate) const USUAL: Self = Self {
        vips: 1,
        backends: 100,
        more_services: 0,
    };
}

/// The VIP of one of the further services.
const fn many_vip(place: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 0, place)
}

/// The VIP of a service; of none, another host's address.
fn vip(service: &str, family: u8) -> IpAddr {
    let place = SERVICES.iter().position(|(name, _)| *name == service);
    let last = place.map_or(99, |place| 200 + place as u8);
    match family {
        4 if service == MANY => many_vip(0).into(),
        4 => Ipv4Addr::new(192, 168, 0, last).into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

pub(crate) struct World {
    config: Config,
    datapath: Datapath,
    assignment: Assignment,
    writer: Writer,
    /// Index of the interface that frames come in by and backends are on.
    ingress: u32,
}

impl World {
    /// Loads the program for all services, whose backends are behind the interface that frames come
    /// in by.
    pub(crate) fn load(name: &str, size: Size, ingress: u32) -> Self {
        let mut text = "interfaces = [\"lo\"]\n".to_owned();
        for (place, (service, settings)) in SERVICES.iter().enumerate() {
            let mut vips = vec![vip(service, 4), vip(service, 6)];
            let mut backends = size.backends.min(100);
            if place == 0 {
                vips.extend((2..size.vips).map(|number| {
                    IpAddr::from(Ipv4Addr::from_bits(0x0a01_0000 + u32::from(number)))
                }));
                backends = size.backends;
            }
            push_service(&mut text, service, &vips, settings, 0..backends);
        }
        for place in 0..size.more_services {
            let vips = [many_vip(place).into()];
            push_service(&mut text, &format!("more{place}"), &vips, "", 0..50);
        }
        Self::of(name, &text, ingress)
    }

    /// Loads the program for a farm: a VIP a service, the first one where [`MANY`] is.
    pub(crate) fn farm(name: &str, scale: Scale) -> Self {
        let mut text = "interfaces = [\"lo\"]\n".to_owned();
        for service in 0..scale.services {
            let vips = [many_vip(service as u8).into()];
            let servers = scale.servers_of(service);
            push_service(&mut text, &format!("s{service}"), &vips, "", servers);
        }
        Self::of(name, &text, LOOPBACK)
    }

    fn of(name: &str, text: &str, ingress: u32) -> Self {
        let config = Config::parse(text).expect("a configuration");
        let pins = PathBuf::from("/sys/fs/bpf").join(name);
        let (datapath, maps) = Datapath::load(&pins, Demand::of(&config)).expect("loaded");
        let assignment = assign(&config, &Known::default());
        let mut world = Self {
            config,
            datapath,
            assignment,
            writer: Writer::new(maps).expect("a writer"),
            ingress,
        };
        world.apply(|_, _| {});
        world
    }

    /// Makes the tables say what follows when all backends are up, and this much is otherwise with
    /// those of the first service.
    pub(crate) fn apply(&mut self, change: impl Fn(usize, &mut Knowledge)) {
        let plan = plan(&self.config, &self.assignment, |service, backend| {
            let mut knowledge = Knowledge {
                health: Health::Up,
                location: Some(Location {
                    mac: MacAddress([2, 0, 0, 1, (backend >> 8) as u8, backend as u8]),
                    ifindex: self.ingress,
                    source_mac: MacAddress(HERE),
                }),
                ..Knowledge::new(self.config.services[service].backends[backend].weight)
            };
            if service == 0 {
                change(backend, &mut knowledge);
            }
            knowledge
        });
        self.writer.apply(&plan, &KEY).expect("applied");
    }

    /// A handle of the loaded program.
    pub(crate) fn program(&mut self) -> Xdp {
        let program = self.datapath.program_mut().expect("the program");
        let info = program.info().expect("its info");
        super::measure::reopen(info.id())
    }

    pub(crate) fn verified_instructions(&mut self) -> Option<u32> {
        let program = self.datapath.program_mut().expect("the program");
        program
            .info()
            .expect("its info")
            .verified_instruction_count()
    }
}

/// Adds a service to a configuration.
fn push_service(
    text: &mut String,
    name: &str,
    vips: &[IpAddr],
    settings: &str,
    backends: impl Iterator<Item = u16>,
) {
    let vips: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    let vips = vips.join(", ");
    let _ = write!(
        text,
        "[[service]]\nname = \"{name}\"\nvips = [{vips}]\n{settings}\n"
    );
    for number in backends {
        let address = Ipv4Addr::from_bits(0x0a00_0001 + u32::from(number));
        let _ = write!(
            text,
            "[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\n"
        );
    }
}

/// What a frame carries.
#[derive(Clone, Copy)]
pub(crate) enum Datagram {
    /// A query for `www.example.com. A`.
    Query,
    /// The same behind a VLAN tag.
    Tagged,
    /// An ACK without data.
    Segment,
    Syn,
    Arp,
}

impl Datagram {
    /// A frame from a client to a service.
    pub(crate) fn frame(self, service: &str, family: u8) -> Vec<u8> {
        const QUERY: &[u8] =
            b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
        let ethernet = PacketBuilder::ethernet2(ROUTER, HERE);
        let tag = VlanId::try_new(7).expect("a VLAN");
        let mut frame = Vec::new();
        if let Self::Arp = self {
            let arp = [0, 1, 8, 0, 6, 4, 0, 1].into_iter().chain([0; 20]);
            frame.extend(HERE);
            frame.extend(ROUTER);
            frame.extend(EtherType::ARP.0.to_be_bytes());
            frame.extend(arp);
            return frame;
        }
        let ip = match vip(service, family) {
            IpAddr::V4(vip) => match self {
                Self::Tagged => ethernet.single_vlan(tag).ipv4(CLIENT, vip.octets(), 63),
                _ => ethernet.ipv4(CLIENT, vip.octets(), 63),
            },
            IpAddr::V6(vip) => {
                let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
                ethernet.ipv6(client.octets(), vip.octets(), 63)
            }
        };
        let written = match self {
            Self::Query | Self::Tagged => ip.udp(4242, 53).write(&mut frame, QUERY),
            Self::Segment => ip.tcp(4242, 53, 1, 1_024).ack(2).write(&mut frame, &[]),
            Self::Syn | Self::Arp => ip.tcp(4243, 53, 1, 1_024).syn().write(&mut frame, &[]),
        };
        written.expect("a frame");
        frame
    }
}
