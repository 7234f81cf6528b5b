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
//! router. Each link is a veth pair with one end in the router, in a bridge. Further balancers are
//! 192.168.0.2, .3 and so on; where there are any, none has the VIP but by what runs on it.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::{Result, ensure};

use crate::{
    backend::Backend,
    network::{Network, balancer_address, vip_route_v6},
    node::Node,
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
    pub(crate) const fn index(self) -> u8 {
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
    /// Balancers beside the first, at most 50. With any, none of them has the VIP by itself, and the
    /// router has no route to it: who gets its packets is for daemons to decide.
    pub further_balancers: u8,
    /// Whether all hosts have IPv6 as well.
    pub ipv6: bool,
    /// The MTU of every link, in octets.
    pub mtu: u16,
}

impl Topology {
    /// One client, and a backend on the first segment for each server named.
    #[must_use]
    pub fn of(software: &[Software]) -> Self {
        Self {
            clients: 1,
            backends: software.iter().copied().map(Host::running).collect(),
            further_balancers: 0,
            ipv6: false,
            mtu: 1500,
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
    /// Its IPv6 address, in a lab that has IPv6.
    pub address_v6: Option<Ipv6Addr>,
}

/// All hosts. Dropping the lab ends all that runs on them.
pub struct Lab {
    /// Where queries come from.
    pub clients: Vec<Client>,
    /// The host for the agent: `eth0`, and `eth1` if a backend is on the second segment.
    pub balancer: Node,
    /// The other balancers, if there are any: `eth0` on the first segment each.
    pub further_balancers: Vec<Node>,
    /// The DNS servers.
    pub backends: Vec<Backend>,
    /// What is between them.
    pub router: Node,
    ipv6: bool,
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
            topology.clients <= 200
                && topology.backends.len() <= 50
                && topology.further_balancers <= 50,
            "the lab's networks are too small for so many hosts"
        );
        let network = Network::new(topology)?;
        let second = topology
            .backends
            .iter()
            .any(|host| host.segment == Segment::Second);
        let segments = [Segment::First, Segment::Second];
        let segments = &segments[..if second { 2 } else { 1 }];
        let (balancer, mut pass_links) = network.make_balancer(1, segments)?;
        if topology.further_balancers == 0 {
            network.give_vip(&balancer)?;
        }
        let mut further_balancers = Vec::new();
        for number in (2..).take(topology.further_balancers.into()) {
            let (node, links) = network.make_balancer(number, &[Segment::First])?;
            further_balancers.push(node);
            pass_links.extend(links);
        }
        let backends = (1..).zip(&topology.backends);
        let clients = 1..=topology.clients;
        Ok(Self {
            backends: backends
                .map(|(number, host)| network.make_backend(number, *host))
                .collect::<Result<_>>()?,
            clients: clients
                .map(|number| network.make_client(number))
                .collect::<Result<_>>()?,
            balancer,
            further_balancers,
            router: network.router,
            ipv6: topology.ipv6,
            pass_links,
        })
    }
}

impl Lab {
    /// Who may answer: what each server calls itself.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<String> {
        self.backends.iter().map(Backend::identity).collect()
    }

    /// How many packets the lab has lost so far by itself, and not on the way that is tested: servers'
    /// sockets were full, or one of the machine's CPUs had too many frames to handle, of this lab or of
    /// whatever else the machine does.
    ///
    /// # Errors
    /// The kernel's counters are not there.
    pub fn own_losses(&self) -> Result<u64> {
        self.count_own_losses(self.backends.iter())
    }

    /// The same without the socket of a server that has died: it may well fill up.
    ///
    /// # Errors
    /// The kernel's counters are not there.
    pub fn own_losses_but_of(&self, dead: usize) -> Result<u64> {
        let others = (0..)
            .zip(&self.backends)
            .filter(|(place, _)| *place != dead);
        self.count_own_losses(others.map(|(_, backend)| backend))
    }

    fn count_own_losses<'a>(&self, servers: impl Iterator<Item = &'a Backend>) -> Result<u64> {
        let full: u64 = servers.map(Backend::overflowed).sum::<Result<_>>()?;
        // A row a CPU: frames handled, frames dropped since its queue was full, …, in hexadecimal.
        let table = fs::read_to_string("/proc/net/softnet_stat")?;
        let dropped = table
            .lines()
            .filter_map(|row| u64::from_str_radix(row.split(' ').nth(1)?, 16).ok());
        Ok(full + dropped.sum::<u64>())
    }

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

    /// Takes from the router's ends of links the programs that let hosts send by XDP: their places, `lb0`
    /// for the first balancer and `lb0-2` for the second, are for the caller's own.
    pub fn clear_ports(&mut self) {
        self.pass_links.clear();
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

    /// Has the router send packets for the VIPs to the balancer's interface on this segment. In a lab
    /// that was just built it is the first.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn route_vips_by(&self, segment: Segment) -> Result<()> {
        let balancer = balancer_address(segment);
        let route = format!("route replace {VIP}/32 via {balancer}");
        self.router.ip(&route)?;
        if self.ipv6 {
            self.router.ip(&vip_route_v6(segment))?;
        }
        Ok(())
    }
}
