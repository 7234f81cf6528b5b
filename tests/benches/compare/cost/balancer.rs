//! Balancers, each set up on a host of its own.

use std::{fmt::Write as _, net::Ipv4Addr, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{Xdp, xdp::XdpMode};
use aya_obj::programs::XdpAttachType;
use dns_lb_tests::{
    Agent, Backend, Lab, Node, Process,
    agent::{self, PATIENCE},
    comparison::Forwarder,
    dns,
    lab::VIP,
    process,
};
use nix::net::if_::if_nametoindex;

use super::frames::{Frames, SOURCE};
use crate::peers::{dnsdist, ipvs};

/// Where the agent pins its program.
const PROGRAM: &str = "/sys/fs/bpf/dns-lb/program";

/// How often a balancer is asked until it answers.
const PAUSE: Duration = Duration::from_millis(100);

/// A host for a balancer.
pub(super) struct BalancerHost {
    /// The host.
    pub(super) node: Node,
    /// The router's end of its link.
    pub(super) port: String,
    /// The MAC address of its `eth0`.
    pub(super) mac: String,
}

/// The lab's balancers as hosts to be used.
pub(super) struct Hosts(std::vec::IntoIter<BalancerHost>);

impl Hosts {
    /// Takes all of a lab's. No program is at the router's ends of their links from then on: a veth that has
    /// one makes an XDP frame of each packet that comes over it, and only those who send by native XDP are to
    /// pay for that.
    pub(super) fn take(lab: &mut Lab) -> Self {
        lab.clear_ports();
        let nodes = [&lab.balancer].into_iter().chain(&lab.further_balancers);
        let hosts = (1..).zip(nodes).map(|(number, node)| BalancerHost {
            node: node.clone(),
            port: match number {
                1 => "lb0".to_owned(),
                _ => format!("lb0-{number}"),
            },
            mac: format!("02:00:00:00:00:{number:02x}"),
        });
        Self(hosts.collect::<Vec<_>>().into_iter())
    }
}

impl Iterator for Hosts {
    type Item = BalancerHost;

    fn next(&mut self) -> Option<BalancerHost> {
        self.0.next()
    }
}

/// What is done with frames that the driver has.
pub(super) enum Handling {
    /// The driver runs this program.
    Driver(Box<Xdp>),
    /// They are made `sk_buff`s of, and given to the kernel's stack.
    Stack,
    /// A process takes them from the stack by a socket: there is no path from driver to driver.
    Process,
}

/// What swallows frames at the router's end of a link.
pub(super) enum End {
    /// An XDP program, which is what native XDP needs there to send at all. It is there as long as this.
    Program { _sink: Box<Xdp> },
    /// A rule of nftables, with a counter.
    Rule,
}

impl End {
    pub(super) fn program(router: &Node, port: &str, frames: &Frames) -> Result<Self> {
        let mut sink = frames.program("sink")?;
        let port = port.to_owned();
        router.run(move || {
            sink.attach_to_if_index(if_nametoindex(&port[..])?, XdpMode::Driver)?;
            Ok(Self::Program {
                _sink: Box::new(sink),
            })
        })
    }

    pub(super) fn rule(router: &Node, port: &str) -> Result<Self> {
        let table = table(port);
        let source = Ipv4Addr::from(SOURCE);
        router.nft(&format!(
            "table netdev {table} {{\n\
             counter swallowed {{ }}\n\
             chain ingress {{\n\
             type filter hook ingress device \"{port}\" priority 0\n\
             ip saddr {source} counter name \"swallowed\" drop\n\
             }}\n\
             }}"
        ))?;
        Ok(Self::Rule)
    }

    /// How many frames have been swallowed so far.
    pub(super) fn swallowed(&self, router: &Node, port: &str, frames: &Frames) -> Result<u64> {
        if let Self::Program { .. } = self {
            return frames.swallowed();
        }
        let mut nft = process::program("nft");
        nft.args(["-j", "list", "counter", "netdev", &table(port), "swallowed"]);
        let output = router.output(nft)?;
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let objects = printed["nftables"].as_array();
        let mut counts = objects.into_iter().flatten();
        counts
            .find_map(|object| object["counter"]["packets"].as_u64())
            .context("nft does not show its counter")
    }
}

/// nftables' name for what belongs to a port.
fn table(port: &str) -> String {
    format!("cost-{port}")
}

/// A balancer that is up.
pub(super) struct Balancer {
    /// What it is.
    pub(super) forwarder: Forwarder,
    pub(super) host: BalancerHost,
    pub(super) handling: Handling,
    pub(super) end: End,
    /// The agent, if it is dns-lb.
    pub(super) agent: Option<Agent>,
    _process: Option<Process>,
}

impl Balancer {
    /// Sets one up on a host, and waits until a client gets an answer by it.
    pub(super) fn set_up(
        forwarder: Forwarder,
        host: BalancerHost,
        lab: &Lab,
        binary: &Path,
        frames: &Frames,
    ) -> Result<Self> {
        let end = match forwarder {
            Forwarder::DnsLbNative => End::program(&lab.router, &host.port, frames)?,
            _ => End::rule(&lab.router, &host.port)?,
        };
        let mut balancer = Self {
            forwarder,
            host,
            handling: Handling::Stack,
            end,
            agent: None,
            _process: None,
        };
        let node = &balancer.host.node;
        match forwarder {
            Forwarder::Nothing => bail!("there is nothing to be set up"),
            Forwarder::DnsLbNative => {
                balancer.agent = Some(start_agent(node, lab, binary, "native")?);
                let program = node.run(|| Xdp::from_pin(PROGRAM, XdpAttachType::Interface));
                balancer.handling = Handling::Driver(Box::new(program?));
            }
            Forwarder::DnsLbGeneric => {
                balancer.agent = Some(start_agent(node, lab, binary, "generic")?);
            }
            Forwarder::Nftables => node.nft(&rules(&balancer.host.mac, &lab.backends))?,
            Forwarder::IpvsRoundRobin => start_ipvs(node, lab, "-s rr")?,
            // Without its flag it hashes the source address alone, by which a client is one server's.
            Forwarder::IpvsMaglev => start_ipvs(node, lab, "-s mh -b mh-port")?,
            Forwarder::IpvsOnePacket => start_ipvs(node, lab, "-s rr --ops")?,
            Forwarder::Dnsdist => {
                balancer.handling = Handling::Process;
                own_vip(node)?;
                balancer._process = Some(dnsdist::start(node, &lab.backends, "")?);
            }
        }
        balancer.take_vip(lab)?;
        balancer.wait_until_answering(lab)?;
        Ok(balancer)
    }

    /// Has the router send it all that is for the VIP.
    pub(super) fn take_vip(&self, lab: &Lab) -> Result<()> {
        let mac = &self.host.mac;
        lab.router.ip(&format!(
            "neigh replace {VIP} lladdr {mac} dev br0 nud permanent"
        ))
    }

    fn wait_until_answering(&self, lab: &Lab) -> Result<()> {
        let tries = PATIENCE.as_millis() / PAUSE.as_millis();
        for _ in 0..tries {
            let client = &lab.clients[0].node;
            if client
                .run(|| dns::ask_identity(VIP, Duration::from_secs(1)))
                .is_ok()
            {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        bail!("no client gets an answer by it within {PATIENCE:?}")
    }
}

fn start_agent(node: &Node, lab: &Lab, binary: &Path, mode: &str) -> Result<Agent> {
    let backends: Vec<&Backend> = lab.backends.iter().collect();
    let configuration = agent::configuration(&["eth0"], "hash", &backends);
    let configuration = format!("xdp_mode = \"{mode}\"\n{configuration}");
    let mut agent = Agent::start(node, binary, &configuration)?;
    agent.wait_until_all_up(PATIENCE)?;
    Ok(agent)
}

/// nftables' way: at ingress, before all else, the MAC addresses are written, by a hash of the flow, and the
/// frame is sent on.
fn rules(mac: &str, backends: &[Backend]) -> String {
    let mut servers = String::new();
    for (number, Backend { mac, .. }) in backends.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(servers, "{number} : {mac}, ");
    }
    let count = backends.len();
    format!(
        "table netdev balancer {{\n\
         chain ingress {{\n\
         type filter hook ingress device \"eth0\" priority 0\n\
         ip daddr {VIP} udp dport 53 ether saddr set {mac} \
         ether daddr set jhash ip saddr . udp sport mod {count} map {{ {servers} }} fwd to \"eth0\"\n\
         }}\n\
         }}"
    )
}

fn start_ipvs(node: &Node, lab: &Lab, scheduler: &str) -> Result<()> {
    if !node.run(ipvs::is_there) {
        // Where it is a module that is not loaded. What comes of it is to be seen below.
        let mut modprobe = process::program("modprobe");
        modprobe.args(["--quiet", "ip_vs"]);
        drop(node.output(modprobe));
    }
    ensure!(
        node.run(ipvs::is_there),
        "this kernel has no IPVS (there is no /proc/net/ip_vs): it is measured in the emulated machine"
    );
    own_vip(node)?;
    let ipvsadm = |arguments: String| {
        let mut ipvsadm = process::program("ipvsadm");
        ipvsadm.args(arguments.split(' '));
        let output = node.output(ipvsadm).context("run `cargo xtask setup`")?;
        ensure!(
            output.status.success(),
            "ipvsadm {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    };
    ipvsadm(format!("-A -u {VIP}:53 {scheduler}"))?;
    for Backend { address, mac, .. } in &lab.backends {
        ipvsadm(format!("-a -u {VIP}:53 -r {address}:53 -g"))?;
        // It would be asked for again and again while frames are made.
        node.ip(&format!(
            "neigh replace {address} lladdr {mac} dev eth0 nud permanent"
        ))?;
    }
    Ok(())
}

/// Makes the VIP an address of the host's own.
fn own_vip(node: &Node) -> Result<()> {
    node.ip(&format!("addr add {VIP}/32 dev lo"))
}
