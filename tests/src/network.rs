//! The lab's hosts as they are made: their addresses, their kernel settings, their links to the
//! router.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use crate::{
    backend::Backend,
    lab::{CLIENT_NETWORK, Client, Host, Segment, Topology, VIP, VIP_V6},
    node::Node,
    process,
    xdp_pass::{self, PassLink},
};

/// The router, and what is the same for all hosts that are plugged into it.
pub(crate) struct Network {
    pub(crate) router: Node,
    ipv6: bool,
    mtu: u16,
}

/// An interface to be made.
struct Interface {
    name: String,
    mac: String,
    address: Ipv4Addr,
    address_v6: Option<Ipv6Addr>,
}

impl Network {
    /// Makes the router, with a bridge for each network and nothing in it.
    pub(crate) fn new(topology: &Topology) -> Result<Self> {
        let forwarding = &["net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"];
        let router = make_host("router", topology.ipv6, forwarding)?;
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
        if topology.ipv6 {
            let gateways = [
                (segment_address(0, 0xfe), "br0"),
                (segment_address(1, 0xfe), "br1"),
                (client_address(0xfe), "clients"),
            ];
            for (address, bridge) in gateways {
                router.ip(&format!("addr add {address}/64 dev {bridge} nodad"))?;
            }
        }
        Ok(Self {
            router,
            ipv6: topology.ipv6,
            mtu: topology.mtu,
        })
    }

    /// Makes a balancer, with an interface in each of these segments, and with what lets it send by
    /// XDP. The first one's ports are called `lb0` and `lb1`, another's `lb0-2` and so on.
    pub(crate) fn make_balancer(
        &self,
        number: u8,
        segments: &[Segment],
    ) -> Result<(Node, Vec<PassLink>)> {
        let name = match number {
            1 => "balancer".to_owned(),
            _ => format!("balancer{number}"),
        };
        let balancer = make_host(&name, self.ipv6, &[])?;
        let mut pass_links = Vec::new();
        for segment in segments {
            let index = segment.index();
            let port = balancer_port(number, *segment);
            let interface = Interface {
                name: format!("eth{index}"),
                mac: format!("02:00:00:00:0{index}:{number:02x}"),
                address: Ipv4Addr::new(192, 168, index, number),
                address_v6: self.ipv6.then(|| segment_address(index, number.into())),
            };
            self.plug(&format!("br{index}"), &port, &balancer, &interface)?;
            pass_links.push(self.router.run(move || xdp_pass::attach(&port))?);
        }
        balancer.ip("route add default via 192.168.0.254")?;
        if self.ipv6 {
            balancer.ip(&default_route_v6(&segment_address(0, 0xfe)))?;
        }
        Ok((balancer, pass_links))
    }

    /// Makes the VIPs the first balancer's, for good.
    pub(crate) fn give_vip(&self, balancer: &Node) -> Result<()> {
        balancer.ip(&format!("addr add {VIP}/32 dev lo"))?;
        if self.ipv6 {
            // There is no asking who has it: neighbour discovery asks for addresses of a link.
            self.router.ip(&vip_route_v6(Segment::First))?;
        }
        Ok(())
    }

    pub(crate) fn make_backend(&self, number: u8, host: Host) -> Result<Backend> {
        let name = format!("dns{number}");
        // The VIP is the host's own, but not its to announce: that is the balancer's.
        let quiet = &[
            "net/ipv4/conf/all/arp_ignore=1",
            "net/ipv4/conf/all/arp_announce=2",
        ];
        let node = make_host(&name, self.ipv6, quiet)?;
        let segment = host.segment.index();
        let interface = Interface {
            name: "eth0".to_owned(),
            mac: format!("02:00:00:00:0{segment}:{:02x}", 200 + number),
            address: Ipv4Addr::new(192, 168, segment, 200 + number),
            address_v6: self
                .ipv6
                .then(|| segment_address(segment, 0x200 + u16::from(number))),
        };
        self.plug(&format!("br{segment}"), &name, &node, &interface)?;
        // A host whose link comes up asks for its router before frames get through, and again a
        // second later. Meanwhile it would answer probes, and no client. So it asks more often, for as
        // long as others do.
        node.sysctl(&[
            "net/ipv4/neigh/eth0/retrans_time_ms=50",
            "net/ipv4/neigh/eth0/ucast_solicit=60",
            "net/ipv4/neigh/eth0/mcast_solicit=60",
        ])?;
        node.ip(&format!(
            "addr add {VIP}/32 dev lo\nroute add default via 192.168.{segment}.254"
        ))?;
        if self.ipv6 {
            // No host answers for it on a link: neighbour discovery asks for addresses of that link.
            let route = default_route_v6(&segment_address(segment, 0xfe));
            node.ip(&format!("addr add {VIP_V6}/128 dev lo nodad\n{route}"))?;
        }
        Ok(Backend {
            name,
            address: interface.address,
            address_v6: interface.address_v6,
            further_addresses: Vec::new(),
            mac: interface.mac,
            node,
            software: host.software,
            server: None,
        })
    }

    pub(crate) fn make_client(&self, number: u8) -> Result<Client> {
        let name = format!("client{number}");
        let node = make_host(&name, self.ipv6, &[])?;
        let interface = Interface {
            name: "eth0".to_owned(),
            mac: format!("02:00:00:00:0c:{:02x}", 6 + number),
            address: Ipv4Addr::new(198, 51, 100, 6 + number),
            address_v6: self.ipv6.then(|| client_address(6 + u16::from(number))),
        };
        self.plug("clients", &name, &node, &interface)?;
        node.ip(&format!("route add default via {CLIENT_NETWORK}.254"))?;
        if self.ipv6 {
            node.ip(&default_route_v6(&client_address(0xfe)))?;
        }
        Ok(Client {
            node,
            address: interface.address,
            address_v6: interface.address_v6,
        })
    }

    /// Lays a wire from a bridge of the router to a host. The bridge takes the MTU of its ports.
    fn plug(&self, bridge: &str, port: &str, node: &Node, interface: &Interface) -> Result<()> {
        let Interface {
            name,
            mac,
            address,
            address_v6,
        } = interface;
        let (tid, mtu) = (node.tid(), self.mtu);
        self.router.ip(&format!(
            "link add {port} mtu {mtu} type veth \
             peer name {name} mtu {mtu} address {mac} netns /proc/{tid}/ns/net\n\
             link set {port} master {bridge} up"
        ))?;
        node.ip(&format!(
            "addr add {address}/24 dev {name}\nlink set {name} up"
        ))?;
        if let Some(address) = address_v6 {
            node.ip(&format!("addr add {address}/64 dev {name} nodad"))?;
        }
        // A veth leaves checksums to the far end's stack, which frames that XDP forwards never
        // reach.
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
}

/// The router's end of a balancer's link on a segment.
pub(crate) fn balancer_port(number: u8, segment: Segment) -> String {
    let index = segment.index();
    match number {
        1 => format!("lb{index}"),
        _ => format!("lb{index}-{number}"),
    }
}

/// The first balancer's address on a segment.
pub(crate) fn balancer_address(segment: Segment) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, segment.index(), 1)
}

/// The router's route to the IPv6 VIP by the balancer's interface on a segment, for `ip`.
pub(crate) fn vip_route_v6(segment: Segment) -> String {
    let balancer = segment_address(segment.index(), 1);
    format!("route replace {VIP_V6}/128 via {balancer}")
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
