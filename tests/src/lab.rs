//! The lab's hosts and wires.
//!
//! ```text
//!  client1 198.51.100.7 ─┐          ┌─ eth0 balancer 192.168.0.1, VIP 192.168.0.200
//!  client2 198.51.100.8 ─┤          ├─ dns1 192.168.0.201, VIP on lo
//!                  clients ─ router ─ br0 ── dns2 192.168.0.202, VIP on lo
//!                                   └─ br1 ─ eth1 balancer 192.168.1.1
//!                                          └ dns3 192.168.1.203, VIP on lo
//! ```
//!
//! The router is 254 in each network, and nothing leads out of it. Queries for the VIP reach the
//! balancer, since it alone answers for it in ARP; backends answer clients straight through the
//! router. Each link is a veth pair with one end in the router, in a bridge.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use crate::{
    backend::Backend,
    node::Node,
    process,
    software::Software,
    xdp_pass::{self, PassLink},
};

/// The service address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 200);

/// The service address of a lab that has IPv6.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0x53, 0, 0, 0, 0x53);

/// The first three octets of the clients' network.
pub(crate) const CLIENT_NETWORK: &str = "198.51.100";

/// A network that the balancer has an interface in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// 192.168.0.0/24 on the balancer's `eth0`, where queries arrive.
    First,
    /// 192.168.1.0/24 on the balancer's `eth1`.
    Second,
}

impl Segment {
    const fn index(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}

/// A backend host to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it runs; none for a host that only has the addresses.
    pub software: Option<Software>,
    /// Where it is.
    pub segment: Segment,
}

impl Host {
    /// A host on the first segment that runs a server.
    #[must_use]
    pub const fn running(software: Software) -> Self {
        Self {
            software: Some(software),
            segment: Segment::First,
        }
    }
}

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Number of client hosts, at most 200.
    pub clients: u8,
    /// Backend hosts, at most 50: the first is `dns1` at .201, the second `dns2` at .202.
    pub backends: Vec<Host>,
    /// Whether all hosts have IPv6 as well.
    pub ipv6: bool,
}

impl Topology {
    /// One client, and a backend on the first segment for each server named.
    #[must_use]
    pub fn of(software: &[Software]) -> Self {
        Self {
            clients: 1,
            backends: software.iter().copied().map(Host::running).collect(),
            ipv6: false,
        }
    }

    /// The same with IPv6.
    #[must_use]
    pub fn dual_stack(software: &[Software]) -> Self {
        Self {
            ipv6: true,
            ..Self::of(software)
        }
    }
}

/// A client host.
pub struct Client {
    /// The host.
    pub node: Node,
    /// Its address: 198.51.100.7 is the first's.
    pub address: Ipv4Addr,
}

/// All hosts. Dropping the lab ends all that runs on them.
pub struct Lab {
    /// Where queries come from.
    pub clients: Vec<Client>,
    /// The host for the agent: `eth0`, and `eth1` if a backend is on the second segment.
    pub balancer: Node,
    /// The DNS servers.
    pub backends: Vec<Backend>,
    /// What is between them.
    pub router: Node,
    pass_links: Vec<PassLink>,
}

impl Lab {
    /// Builds hosts and wires, and starts all servers.
    ///
    /// # Errors
    /// Not root, a program is missing, a server does not come up.
    pub fn start(topology: &Topology) -> Result<Self> {
        let mut lab = Self::build(topology)?;
        let mut backends: Vec<_> = lab.backends.iter_mut().collect();
        backends.retain(|backend| backend.software.is_some());
        backends
            .iter_mut()
            .try_for_each(|backend| backend.launch())?;
        backends
            .iter_mut()
            .try_for_each(|backend| backend.wait_until_answering())?;
        Ok(lab)
    }

    /// Builds hosts and wires.
    ///
    /// # Errors
    /// Not root, or a program is missing.
    pub fn build(topology: &Topology) -> Result<Self> {
        ensure!(
            topology.clients <= 200 && topology.backends.len() <= 50,
            "the lab's networks are too small for so many hosts"
        );
        let ipv6 = topology.ipv6;
        let router = make_router(ipv6)?;
        let mut pass = Vec::new();

        let balancer = make_host("balancer", ipv6, &[])?;
        let second = topology
            .backends
            .iter()
            .any(|host| host.segment == Segment::Second);
        let segments = [Segment::First, Segment::Second];
        for segment in &segments[..if second { 2 } else { 1 }] {
            let index = segment.index();
            let port = format!("lb{index}");
            let interface = Interface {
                name: format!("eth{index}"),
                mac: format!("02:00:00:00:0{index}:01"),
                address: Ipv4Addr::new(192, 168, index, 1),
                address_v6: ipv6.then(|| segment_address(index, 1)),
            };
            plug(&router, &format!("br{index}"), &port, &balancer, &interface)?;
            pass.push(router.run(move || xdp_pass::attach(&port))?);
        }
        balancer.ip(&format!(
            "addr add {VIP}/32 dev lo\nroute add default via 192.168.0.254"
        ))?;
        if ipv6 {
            balancer.ip(&default_route_v6(&segment_address(0, 0xfe)))?;
            let balancer = segment_address(0, 1);
            router.ip(&format!("route add {VIP_V6}/128 via {balancer}"))?;
        }

        let backends = (1..).zip(&topology.backends);
        let clients = 1..=topology.clients;
        Ok(Self {
            backends: backends
                .map(|(number, host)| make_backend(&router, number, *host, ipv6))
                .collect::<Result<_>>()?,
            clients: clients
                .map(|number| make_client(&router, number, ipv6))
                .collect::<Result<_>>()?,
            balancer,
            router,
            pass_links: pass,
        })
    }
}

impl Lab {
    /// Lets a backend's host forward frames by XDP, as a balancer's can: a veth hands such frames on
    /// only if its other end runs a program too.
    ///
    /// # Errors
    /// The kernel refuses the program.
    ///
    /// # Panics
    /// There is no such backend.
    pub fn let_forward(&mut self, backend: usize) -> Result<()> {
        let port = self.backends[backend].name.clone();
        self.pass_links
            .push(self.router.run(move || xdp_pass::attach(&port))?);
        Ok(())
    }

    /// Has the router send packets for the VIP to a backend's host, instead of asking who has it.
    ///
    /// # Errors
    /// `ip` refuses.
    ///
    /// # Panics
    /// There is no such backend.
    pub fn route_vip_to(&self, backend: usize) -> Result<()> {
        let mac = &self.backends[backend].mac;
        self.router.ip(&format!(
            "neigh replace {VIP} lladdr {mac} dev br0 nud permanent"
        ))
    }
}

/// An interface to be made.
struct Interface {
    name: String,
    mac: String,
    address: Ipv4Addr,
    address_v6: Option<Ipv6Addr>,
}

/// A host's address on a segment.
fn segment_address(segment: u8, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, segment.into(), 0, 0, 0, host)
}

/// A host's address in the clients' network.
fn client_address(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, host)
}

fn default_route_v6(router: &Ipv6Addr) -> String {
    format!("route add default via {router}")
}

fn make_router(ipv6: bool) -> Result<Node> {
    let forwarding = &["net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"];
    let router = make_host("router", ipv6, forwarding)?;
    router.ip(&format!(
        "link add br0 address 02:00:00:00:00:fe type bridge mcast_snooping 0\n\
         link add br1 address 02:00:00:00:01:fe type bridge mcast_snooping 0\n\
         link add clients address 02:00:00:00:0c:fe type bridge mcast_snooping 0\n\
         addr add 192.168.0.254/24 dev br0\n\
         addr add 192.168.1.254/24 dev br1\n\
         addr add {CLIENT_NETWORK}.254/24 dev clients\n\
         link set br0 up\n\
         link set br1 up\n\
         link set clients up"
    ))?;
    if ipv6 {
        let gateways = [
            (segment_address(0, 0xfe), "br0"),
            (segment_address(1, 0xfe), "br1"),
            (client_address(0xfe), "clients"),
        ];
        for (address, bridge) in gateways {
            router.ip(&format!("addr add {address}/64 dev {bridge} nodad"))?;
        }
    }
    Ok(router)
}

fn make_backend(router: &Node, number: u8, host: Host, ipv6: bool) -> Result<Backend> {
    let name = format!("dns{number}");
    // The VIP is the host's own, but not its to announce: that is the balancer's.
    let quiet = &[
        "net/ipv4/conf/all/arp_ignore=1",
        "net/ipv4/conf/all/arp_announce=2",
    ];
    let node = make_host(&name, ipv6, quiet)?;
    let segment = host.segment.index();
    let interface = Interface {
        name: "eth0".to_owned(),
        mac: format!("02:00:00:00:0{segment}:{:02x}", 200 + number),
        address: Ipv4Addr::new(192, 168, segment, 200 + number),
        address_v6: ipv6.then(|| segment_address(segment, 0x200 + u16::from(number))),
    };
    plug(router, &format!("br{segment}"), &name, &node, &interface)?;
    node.ip(&format!(
        "addr add {VIP}/32 dev lo\nroute add default via 192.168.{segment}.254"
    ))?;
    if ipv6 {
        // No host answers for it on a link: neighbour discovery asks for addresses of that link.
        let route = default_route_v6(&segment_address(segment, 0xfe));
        node.ip(&format!("addr add {VIP_V6}/128 dev lo nodad\n{route}"))?;
    }
    Ok(Backend {
        name,
        address: interface.address,
        address_v6: interface.address_v6,
        mac: interface.mac,
        node,
        software: host.software,
        server: None,
    })
}

fn make_client(router: &Node, number: u8, ipv6: bool) -> Result<Client> {
    let name = format!("client{number}");
    let node = make_host(&name, ipv6, &[])?;
    let interface = Interface {
        name: "eth0".to_owned(),
        mac: format!("02:00:00:00:0c:{:02x}", 6 + number),
        address: Ipv4Addr::new(198, 51, 100, 6 + number),
        address_v6: ipv6.then(|| client_address(6 + u16::from(number))),
    };
    plug(router, "clients", &name, &node, &interface)?;
    node.ip(&format!("route add default via {CLIENT_NETWORK}.254"))?;
    if ipv6 {
        node.ip(&default_route_v6(&client_address(0xfe)))?;
    }
    Ok(Client {
        node,
        address: interface.address,
    })
}

/// A host whose IPv4 takes packets from wherever they come, and whose IPv6 is off, or has only the
/// addresses that it is given, and those at once.
fn make_host(name: &str, ipv6: bool, settings: &'static [&'static str]) -> Result<Node> {
    let node = Node::new(name)?;
    node.sysctl(&[
        "net/ipv4/conf/all/rp_filter=0",
        "net/ipv4/conf/default/rp_filter=0",
    ])?;
    node.sysctl(match ipv6 {
        true => &[
            "net/ipv6/conf/default/accept_dad=0",
            "net/ipv6/conf/default/accept_ra=0",
            "net/ipv6/conf/default/autoconf=0",
            "net/ipv6/conf/default/router_solicitations=0",
        ],
        false => &[
            "net/ipv6/conf/all/disable_ipv6=1",
            "net/ipv6/conf/default/disable_ipv6=1",
        ],
    })?;
    node.sysctl(settings)?;
    Ok(node)
}

/// Lays a wire from a bridge of the router to a host.
fn plug(router: &Node, bridge: &str, port: &str, node: &Node, interface: &Interface) -> Result<()> {
    let Interface {
        name,
        mac,
        address,
        address_v6,
    } = interface;
    let tid = node.tid();
    router.ip(&format!(
        "link add {port} type veth peer name {name} address {mac} netns /proc/{tid}/ns/net\n\
         link set {port} master {bridge} up"
    ))?;
    node.ip(&format!(
        "addr add {address}/24 dev {name}\nlink set {name} up"
    ))?;
    if let Some(address) = address_v6 {
        node.ip(&format!("addr add {address}/64 dev {name} nodad"))?;
    }
    // A veth leaves checksums to the far end's stack, which frames that XDP forwards never reach.
    let mut ethtool = process::program("ethtool");
    ethtool.args(["-K", name, "tx", "off"]);
    let output = node.output(ethtool)?;
    ensure!(
        output.status.success(),
        "ethtool on {}: {}",
        node.name(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
