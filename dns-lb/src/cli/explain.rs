//! `dns-lb explain`: asks the loaded program what it would do with a query, and why.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use dns_lb_common::{Egress, Ending, Origin, VipKey};
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};

use super::{ConfigFile, PinDirectory, print};
use crate::{
    config::{self, Config, Protocol},
    datapath::{self, Explained},
    explain::Packet,
    mac::MacAddress,
    steer::{health_from_wire, mapped},
};

/// Ask the loaded program what it would do with a query, and why.
///
/// The program itself answers, on the tables that it steers by at this moment. It counts nothing and
/// remembers nothing for it. Names of services and servers come from the configuration, if that can
/// be read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb explain --from 198.51.100.7:4242 --to 192.168.0.200 --qname www.example.com
  dns-lb explain --from 198.51.100.7:4242 --to 192.168.0.200:53 --tcp
  dns-lb explain --from [2001:db8::7]:4242 --to 2001:db8::53 --interface eth1 --json")]
pub(super) struct Arguments {
    /// The client: address and port.
    #[arg(long, value_name = "ADDRESS:PORT")]
    from: SocketAddr,

    /// The service: address, and port unless it is 53.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = with_port)]
    to: SocketAddr,

    /// The name that the query asks for.
    #[arg(long, value_name = "NAME", default_value = ".", value_parser = absolute)]
    qname: Name,

    /// The type that it asks for.
    #[arg(long, value_name = "TYPE", default_value = "A")]
    qtype: RecordType,

    /// Ask about the SYN of a connection instead.
    #[arg(long)]
    tcp: bool,

    /// The interface that the packet comes in by [default: the first of the configuration]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// Print a JSON document.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    config: ConfigFile,

    #[command(flatten)]
    pins: PinDirectory,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config.config);
    let interface = match (&arguments.interface, &config) {
        (Some(interface), _) => interface.clone(),
        (None, Ok(config)) => config.interfaces[0].clone(),
        (None, Err(error)) => bail!("--interface is needed without a configuration: {error}"),
    };
    let packet = Packet {
        from: arguments.from,
        to: arguments.to,
        protocol: if arguments.tcp {
            Protocol::Tcp
        } else {
            Protocol::Udp
        },
        name: arguments.qname.clone(),
        record_type: arguments.qtype,
    };
    let frame = packet.frame()?;
    let ifindex = datapath::interface_index(&interface)?;
    let explained = datapath::explain(&arguments.pins.pin_dir, &frame, ifindex)?;
    let answer = Answer {
        packet,
        interface,
        ending: Ending::from_wire(explained.explanation.ending)
            .context("the program ends packets in a way that this version does not know")?,
        explained,
        config: config.ok(),
    };
    print(&if arguments.json {
        format!("{:#}\n", answer.document())
    } else {
        answer.text()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the program says, and what it was asked.
struct Answer {
    packet: Packet,
    interface: String,
    ending: Ending,
    explained: Explained,
    config: Option<Config>,
}

impl Answer {
    /// The service in the configuration, found by what it answers to.
    fn service(&self) -> Option<&config::Service> {
        let answers = |service: &&config::Service, key: &VipKey| {
            let protocol = match key.protocol {
                6 => Protocol::Tcp,
                _ => Protocol::Udp,
            };
            service.port == key.port
                && service.protocols.contains(&protocol)
                && service.vips.iter().any(|&vip| mapped(vip) == key.address)
        };
        let mut services = self.config.as_ref()?.services.iter();
        services.find(|service| {
            self.explained
                .vips
                .iter()
                .any(|slot| answers(service, &slot.key))
        })
    }

    fn policy(&self) -> Option<&'static str> {
        let slot = self.explained.vips.first()?;
        Some(match dns_lb_common::Policy::from_wire(slot.policy) {
            dns_lb_common::Policy::Hash => "hash",
            dns_lb_common::Policy::Source => "source",
            dns_lb_common::Policy::Qname => "qname",
            dns_lb_common::Policy::RoundRobin => "round-robin",
        })
    }

    fn chosen_by(&self) -> &'static str {
        match Origin::from_wire(self.explained.explanation.origin) {
            Origin::Table => "table",
            Origin::Established => "established connection",
            Origin::Pending => "connection of one packet",
            Origin::Fragments => "fragment of the same datagram",
        }
    }

    fn backend_name(&self, address: IpAddr) -> Option<&str> {
        let backends = &self.service()?.backends;
        let found = backends.iter().find(|backend| backend.address == address);
        found.map(|backend| backend.name.as_str())
    }

    fn document(&self) -> Value {
        let Packet {
            from,
            to,
            protocol,
            name,
            record_type,
        } = &self.packet;
        let backend = self.explained.backend.map(|backend| {
            let address = address(backend.address);
            json!({
                "name": self.backend_name(address),
                "address": address,
                "local": backend.egress == Egress::Local as u8,
                "mac": (backend.egress == Egress::Forward as u8)
                    .then_some(MacAddress(backend.destination_mac)),
                "health": health_from_wire(backend.health),
                "weight": backend.weight,
            })
        });
        json!({
            "packet": {
                "from": from,
                "to": to,
                "protocol": protocol,
                "interface": self.interface,
                "qname": name.to_string(),
                "qtype": record_type.to_string(),
            },
            "service": self.service().map(|service| &service.name),
            "policy": self.policy(),
            "chosen_by": backend.is_some().then(|| self.chosen_by()),
            "backend": backend,
            "frame": self.readdressed().map(|(to, from, interface)| json!({
                "destination_mac": to,
                "source_mac": from,
                "interface": interface,
            })),
            "ending": self.ending.name(),
            "action": self.action(),
            "meaning": self.ending.meaning(),
        })
    }

    /// Whom the frame is for when it leaves, who it is from, and the interface that it leaves by.
    fn readdressed(&self) -> Option<(MacAddress, MacAddress, String)> {
        if !matches!(self.ending, Ending::Transmitted | Ending::Redirected) {
            return None;
        }
        let frame = &self.explained.frame;
        let ifindex = self.explained.backend?.ifindex;
        let interface = datapath::interface_name(ifindex).unwrap_or(format!("index {ifindex}"));
        Some((mac(frame, 0)?, mac(frame, 6)?, interface))
    }

    fn action(&self) -> &'static str {
        match self.ending.action() {
            dns_lb_common::Action::Drop => "XDP_DROP",
            dns_lb_common::Action::Pass => "XDP_PASS",
            dns_lb_common::Action::Transmit => "XDP_TX",
            dns_lb_common::Action::Redirect => "XDP_REDIRECT",
        }
    }

    fn text(&self) -> String {
        let Packet {
            from,
            to,
            protocol,
            name,
            record_type,
        } = &self.packet;
        let asks = match protocol {
            Protocol::Udp => format!("asks for {name} {record_type}"),
            Protocol::Tcp => "SYN".to_owned(),
        };
        let mut lines = vec![(
            "packet",
            format!(
                "{from} to {to}, {protocol}, in by {}, {asks}",
                self.interface
            ),
        )];
        if let Some(policy) = self.policy() {
            let name = self
                .service()
                .map_or("(not in the configuration)", |service| &service.name);
            lines.push(("service", format!("{name}, policy {policy}")));
        }
        if let Some(backend) = self.explained.backend {
            let address = address(backend.address);
            let name = self
                .backend_name(address)
                .unwrap_or("(not in the configuration)");
            let health = health_from_wire(backend.health);
            lines.push((
                "server",
                format!(
                    "{name}, {address}, {health}, weight {}; chosen by: {}",
                    backend.weight,
                    self.chosen_by()
                ),
            ));
        }
        if let Some((to, from, interface)) = self.readdressed() {
            lines.push(("frame", format!("from {from} to {to}, out by {interface}")));
        }
        lines.push((
            "ending",
            format!(
                "{}, {}. {}",
                self.ending.name(),
                self.action(),
                self.ending.meaning()
            ),
        ));
        lines
            .iter()
            .map(|(what, text)| format!("{what:<8} {text}\n"))
            .collect()
    }
}

/// The MAC address at this octet of a frame.
fn mac(frame: &[u8], at: usize) -> Option<MacAddress> {
    let octets = frame.get(at..at + 6)?;
    Some(MacAddress(octets.try_into().ok()?))
}

/// An address from the form that the maps have.
fn address(mapped: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(mapped).to_canonical()
}

/// An address with a port, or with that of DNS.
fn with_port(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    text.parse()
        .map_err(|_| "the form is 192.168.0.200, 192.168.0.200:53 or [2001:db8::53]:53".to_owned())
}

/// A name, taken as absolute.
fn absolute(text: &str) -> Result<Name, String> {
    let mut name: Name = text
        .parse()
        .map_err(|error| format!("no valid name: {error}"))?;
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_dns_may_be_left_out() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("2001:db8::53", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]:5353", Some("[2001:db8::53]:5353")),
            ("dns.example", None),
            ("192.0.2.1:99999", None),
        ] {
            let found = with_port(text).ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn names_are_absolute() {
        assert_eq!(
            absolute("www.example.com").unwrap().to_string(),
            "www.example.com."
        );
        assert_eq!(absolute(".").unwrap().to_string(), ".");
        assert!(absolute("a..b").is_err());
    }
}
