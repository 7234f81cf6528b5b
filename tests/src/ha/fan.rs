//! Many balancers at once: BGP by BIRD, and a router that spreads flows over them (ECMP).

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;

use super::{Balancer, Daemon, filter_port, printed, wait_for};
use crate::{
    agent::{self, PATIENCE},
    backend::Backend,
    lab::{Lab, Segment, Topology, VIP, VIP_V6},
    network::balancer_port,
    node::Node,
    process::Process,
};

/// What BIRD is told on every balancer.
pub const BALANCER: &str = include_str!("../../../examples/bird/balancer.conf");

/// What it is told on the router.
pub const ROUTER: &str = include_str!("../../../examples/bird/router.conf");

/// How many there are.
pub const BALANCERS: u8 = 3;

/// Balancers, each of which announces the VIP, and a router that believes them.
pub struct Fan {
    /// All of them.
    pub balancers: Vec<Balancer>,
    /// All hosts.
    pub lab: Lab,
    _router: Process,
}

impl Fan {
    /// A lab that is made for it, with all servers up and a route to each balancer.
    ///
    /// # Errors
    /// Something does not come up.
    pub fn start(topology: &Topology, binary: &Path) -> Result<Self> {
        Self::start_configured(topology, binary, BALANCER, |backends| {
            agent::configuration(&["eth0"], "hash", backends)
        })
    }

    /// The same with this file for the balancers' BIRD, and agents that are configured so; `[announce]` is
    /// added.
    ///
    /// # Errors
    /// As [`Fan::start`].
    pub fn start_configured(
        topology: &Topology,
        binary: &Path,
        bird: &str,
        configuration: impl FnOnce(&[&Backend]) -> String,
    ) -> Result<Self> {
        let topology = Topology {
            further_balancers: BALANCERS - 1,
            ..topology.clone()
        };
        let lab = Lab::start(&topology)?;
        lab.router.sysctl(&[
            "net/ipv4/fib_multipath_hash_policy=1",
            "net/ipv6/fib_multipath_hash_policy=1",
        ])?;
        let router = Daemon::Bird(ROUTER.to_owned()).start(&lab.router)?;
        let backends: Vec<&Backend> = lab.backends.iter().collect();
        let configuration = configuration(&backends) + "\n[announce]\ninterface = \"lo\"\n";
        let mut balancers = Vec::new();
        let nodes = [&lab.balancer].into_iter().chain(&lab.further_balancers);
        for (number, node) in (1..).zip(nodes) {
            // The VIP is the host's own, but nobody is to find it by ARP.
            node.sysctl(&[
                "net/ipv4/conf/all/arp_ignore=1",
                "net/ipv4/conf/all/arp_announce=2",
            ])?;
            let port = balancer_port(number, Segment::First);
            filter_port(&lab.router, &port)?;
            let daemon = Daemon::Bird(bird.to_owned());
            let balancer = Balancer::start(node, &port, binary, &configuration, daemon)?;
            balancers.push(balancer);
        }
        let mut fan = Self {
            balancers,
            lab,
            _router: router,
        };
        fan.settle(topology.ipv6)?;
        Ok(fan)
    }

    /// Waits until all servers are up and the router has a route to each balancer.
    ///
    /// # Errors
    /// It does not come to this within 20 s.
    pub fn settle(&mut self, ipv6: bool) -> Result<()> {
        for balancer in &mut self.balancers {
            balancer.agent.wait_until_all_up(PATIENCE)?;
        }
        let all: BTreeSet<u8> = (1..=BALANCERS).collect();
        let wait = wait_for("a route to each balancer", PATIENCE, || {
            Ok(self.routes()? == all && (!ipv6 || self.routes_v6()? == all))
        });
        wait.map(drop).map_err(|error| {
            let show = |arguments: &[&str]| {
                printed(&self.lab.router, "birdc", arguments).unwrap_or_default()
            };
            error.context(show(&["show", "protocols"]) + &show(&["show", "route"]))
        })
    }

    /// The balancers that the router sends packets for the VIP to, by number from 1.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn routes(&self) -> Result<BTreeSet<u8>> {
        routes(&self.lab.router)
    }

    /// The same of the VIP of IPv6.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn routes_v6(&self) -> Result<BTreeSet<u8>> {
        let vip = VIP_V6.to_string();
        let text = printed(&self.lab.router, "ip", &["-6", "route", "show", &vip])?;
        Ok(gateways(&text, "2001:db8::"))
    }
}

/// See [`Fan::routes`].
pub(super) fn routes(router: &Node) -> Result<BTreeSet<u8>> {
    let text = printed(router, "ip", &["route", "show", &VIP.to_string()])?;
    Ok(gateways(&text, "192.168.0."))
}

/// The last parts of all addresses that follow `via` and begin so.
fn gateways(routes: &str, prefix: &str) -> BTreeSet<u8> {
    let words: Vec<&str> = routes.split_whitespace().collect();
    let vias = words.windows(2).filter(|pair| pair[0] == "via");
    vias.filter_map(|pair| pair[1].strip_prefix(prefix)?.parse().ok())
        .collect()
}
