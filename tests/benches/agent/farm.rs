//! A farm of many servers: a thousand addresses of one host. What is measured is the agent, not a
//! thousand servers.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Result;
use dns_lb_tests::{Lab, Scale, Software, Topology};

/// The backend that is changed so that tables are built anew.
pub(crate) const CHANGED: &str = "s0/b0";

/// A lab with such a farm.
pub(crate) struct Farm {
    pub(crate) lab: Lab,
    scale: Scale,
}

impl Farm {
    /// Builds the lab, and waits until the host answers on all VIPs.
    pub(crate) fn build(scale: Scale) -> Result<Self> {
        let mut lab = Lab::build(&Topology::of(&[Software::Nsd]))?;
        let host = &mut lab.backends[0];
        let vips: Vec<IpAddr> = (0..scale.services)
            .map(|service| vip(service).into())
            .collect();
        let servers = (0..scale.servers).map(|server| address(server).into());
        let mut lines = String::new();
        for address in vips.iter().copied().chain(servers) {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "addr add {address}/32 dev lo");
        }
        host.node.ip(&lines)?;
        host.further_addresses = vips;
        host.start()?;
        lab.balancer.ip("route add 10.53.0.0/16 dev eth0")?;
        Ok(Self { lab, scale })
    }

    /// The agent's.
    pub(crate) fn configuration(&self) -> String {
        let mut text = "interfaces = [\"eth0\"]\n".to_owned();
        for service in 0..self.scale.services {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[[service]]\nname = \"s{service}\"\nvips = [\"{}\"]\n\
                 [service.health]\ninterval = \"500ms\"\n",
                vip(service)
            );
            for server in self.scale.servers_of(service) {
                let _ = write!(
                    text,
                    "[[service.backend]]\nname = \"b{server}\"\naddress = \"{}\"\nmac = \"{}\"\n",
                    address(server),
                    self.lab.backends[0].mac
                );
            }
        }
        text
    }
}

/// The VIP of a service, from 0.
const fn vip(service: u16) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, service as u8 + 1)
}

/// The address of a server, from 0.
const fn address(server: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 53, (server / 250) as u8, (server % 250) as u8 + 1)
}
