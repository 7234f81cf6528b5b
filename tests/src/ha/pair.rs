//! Two balancers, of which one has the VIP: VRRP, by keepalived.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{Balancer, Daemon, filter_port, printed, wait_for};
use crate::{
    agent::{self, PATIENCE},
    backend::Backend,
    lab::{Lab, Segment, Topology, VIP, VIP_V6},
    network::balancer_port,
};

/// What keepalived is told on the host that has the VIP unless something is wrong with it.
pub const ACTIVE: &str = include_str!("../../../examples/keepalived/active.conf");

/// What it is told on the other.
pub const STANDBY: &str = include_str!("../../../examples/keepalived/standby.conf");

/// How long a script may take that has to pass three times in as many seconds, and a takeover after it.
const FAIL_BACK: Duration = Duration::from_secs(30);

/// A pair: the first is the one that has the VIP unless something is wrong with it.
pub struct Pair {
    /// Both, with keepalived.
    pub balancers: Vec<Balancer>,
    /// All hosts.
    pub lab: Lab,
}

impl Pair {
    /// Two hosts that are balancers only, of a lab that is made for it, with all servers up and the
    /// VIP on the first.
    ///
    /// # Errors
    /// Something does not come up.
    pub fn start(topology: &Topology, binary: &Path) -> Result<Self> {
        let files = [ACTIVE.to_owned(), STANDBY.to_owned()];
        let mut pair = Self::launch(topology, binary, files)?;
        pair.settle()?;
        Ok(pair)
    }

    /// The same with configurations of keepalived that have the VIP on a device with a MAC address of
    /// the virtual router's own.
    ///
    /// # Errors
    /// As [`Pair::start`].
    pub fn start_virtual(topology: &Topology, binary: &Path, files: [String; 2]) -> Result<Self> {
        let mut pair = Self::launch(topology, binary, files)?;
        for balancer in &mut pair.balancers {
            balancer.agent.wait_until_all_up(PATIENCE)?;
        }
        pair.await_vip_at(0)?;
        Ok(pair)
    }

    fn launch(topology: &Topology, binary: &Path, files: [String; 2]) -> Result<Self> {
        let topology = Topology {
            further_balancers: 1,
            ..topology.clone()
        };
        let lab = Lab::start(&topology)?;
        let backends: Vec<&Backend> = lab.backends.iter().collect();
        let configuration = agent::configuration(&["eth0"], "hash", &backends);
        let nodes = [&lab.balancer, &lab.further_balancers[0]];
        let mut balancers = Vec::new();
        for ((number, node), file) in (1..).zip(nodes).zip(files) {
            let port = balancer_port(number, Segment::First);
            filter_port(&lab.router, &port)?;
            let daemon = Daemon::Keepalived(file);
            let balancer = Balancer::start(node, &port, binary, &configuration, daemon)?;
            balancers.push(balancer);
        }
        if topology.ipv6 {
            lab.router
                .ip(&format!("route add {VIP_V6}/128 via fe80::53 dev br0"))?;
        }
        Ok(Self { balancers, lab })
    }

    /// The smallest farm: the lab's two servers are the balancers, each with the VIP on its loopback
    /// too, and no other host.
    ///
    /// # Errors
    /// As [`Pair::start`].
    pub fn start_smallest(topology: &Topology, binary: &Path) -> Result<Self> {
        let mut lab = Lab::start(topology)?;
        lab.balancer.ip(&format!("addr del {VIP}/32 dev lo"))?;
        let mut balancers = Vec::new();
        for (place, file) in [ACTIVE, STANDBY].into_iter().enumerate() {
            lab.let_forward(place)?;
            filter_port(&lab.router, &lab.backends[place].name)?;
            let configuration = agent::farm_configuration(&lab.backends, place);
            let Backend { node, name, .. } = &lab.backends[place];
            let daemon = Daemon::Keepalived(file.to_owned());
            let balancer = Balancer::start(node, name, binary, &configuration, daemon)?;
            balancers.push(balancer);
        }
        let mut pair = Self { balancers, lab };
        pair.settle()?;
        Ok(pair)
    }

    /// Waits until all servers are up, keepalived calls both hosts ready, and the first has the VIP, and the
    /// second not.
    ///
    /// # Errors
    /// It does not come to this within 30 s.
    pub fn settle(&mut self) -> Result<()> {
        for balancer in &mut self.balancers {
            balancer.agent.wait_until_all_up(PATIENCE)?;
        }
        let settled = wait_for(
            "both are ready, and the first has the VIP",
            FAIL_BACK,
            || {
                Ok(self.balancers.iter().all(Balancer::is_called_ready)
                    && self.balancers[0].has_vip("eth0")?
                    && !self.balancers[1].has_vip("eth0")?)
            },
        );
        settled
            .map(drop)
            .map_err(|error| error.context(self.logs()))
    }

    /// Waits until one of them alone has the VIP, on whatever interface.
    ///
    /// # Errors
    /// It has not within 30 s.
    pub fn await_vip_at(&self, place: usize) -> Result<()> {
        let what = format!("{} alone has the VIP", self.balancers[place].node.name());
        let waited = wait_for(&what, FAIL_BACK, || {
            let mut are_right = true;
            for (other, balancer) in self.balancers.iter().enumerate() {
                let all = printed(&balancer.node, "ip", &["-oneline", "address", "show"])?;
                are_right &= all.contains(&format!(" {VIP}/32 ")) == (other == place);
            }
            Ok(are_right)
        });
        waited.map(drop).map_err(|error| error.context(self.logs()))
    }

    /// The MAC address that the router has for the VIP, as text; empty if it has none.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn mac_at_router(&self) -> Result<String> {
        let text = printed(&self.lab.router, "ip", &["neigh", "show", &VIP.to_string()])?;
        let mut words = text.split(' ').skip_while(|word| *word != "lladdr");
        Ok(words.nth(1).unwrap_or_default().to_owned())
    }

    /// What both daemons have printed.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = self.balancers.iter();
        logs.map(|balancer| format!("{}:\n{}\n", balancer.node.name(), balancer.daemon_log()))
            .collect()
    }
}
