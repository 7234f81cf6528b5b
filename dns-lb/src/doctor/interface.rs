//! What an interface needs, to be steered on and to be sent on. Pure.

mod egress;
mod program;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::egress::judge as judge_egress;
use super::{Agent, Severity, id, report::Sheet};
use crate::{
    config::{Config, XdpMode},
    datapath::Pinned,
    mac::MacAddress,
};

/// `NETDEV_XDP_ACT_BASIC` of `linux/netdev.h`: native XDP.
const NATIVE: u64 = 1;
/// `NETDEV_XDP_ACT_NDO_XMIT`: takes what XDP redirects to it.
const SENDS: u64 = 1 << 2;
/// `NETDEV_XDP_ACT_RX_SG`: receives frames in several buffers.
const SEVERAL_BUFFERS: u64 = 1 << 5;

/// The largest MTU of which a frame fits one page with what XDP needs around it, on common drivers.
const ONE_BUFFER: u32 = 3_498;

/// What was seen of an interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// As `ip -details link` calls it: `veth`, `bridge`, `vlan`; `None` for hardware.
    pub(super) kind: Option<String>,
    pub(super) mac: Option<MacAddress>,
    /// Whether it is set up.
    pub(super) is_up: bool,
    /// Whether it has a carrier, as well.
    pub(super) is_running: bool,
    pub(super) is_promiscuous: bool,
    pub(super) mtu: u32,
    /// VLAN devices on top of it.
    pub(super) vlans: Vec<String>,
    /// The program that it carries.
    pub(super) attached: Option<Attached>,
    /// The driver's `xdp-features`, from Linux 6.3 on.
    pub(super) xdp_features: Option<u64>,
    /// What its driver has switched on, by `ethtool`'s names.
    pub(super) offloads: Result<BTreeSet<String>, String>,
    pub(super) settings: Settings,
}

/// A program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) is_native: bool,
    pub(super) program: u32,
}

/// Settings of IPv4 as they hold: the interface's own or that of all, whichever is the greater.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) rp_filter: Result<u8, String>,
    pub(super) arp_ignore: Result<u8, String>,
    pub(super) arp_announce: Result<u8, String>,
}

/// What interfaces are judged by.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    /// The programs that are ours; `None`: not known.
    pub(super) program: Option<BTreeSet<u32>>,
    pub(super) agent_runs: bool,
}

impl Context<'_> {
    /// Whether the program is, or would be, in the kernel's stack there. What that steers is sent as all
    /// else is, by any device (`generic_xdp_tx` in `net/core/dev.c`).
    fn is_generic(&self, interface: &Interface) -> bool {
        match (self.config.xdp_mode, interface.attached) {
            (XdpMode::Generic, _) => true,
            (_, Some(attached)) => !attached.is_native,
            (XdpMode::Auto, None) => interface
                .xdp_features
                .is_some_and(|features| features & NATIVE == 0),
            (XdpMode::Native, None) => false,
        }
    }
}

/// The programs that the agent says it has attached, and the one that is pinned.
pub(super) fn own_programs(
    pinned: &Result<Pinned, String>,
    agent: &Agent,
) -> Option<BTreeSet<u32>> {
    let said = agent.http.as_ref().map(|said| said.programs.as_slice());
    let pinned = pinned.as_ref().map(|pinned| pinned.program_id);
    if said.is_err() && pinned.is_err() {
        return None;
    }
    let mut programs: BTreeSet<u32> = said.unwrap_or_default().iter().copied().collect();
    programs.extend(pinned.ok().flatten());
    Some(programs)
}

/// Judges the interfaces that the program is to be attached to.
pub(super) fn judge(
    context: &Context<'_>,
    interfaces: &BTreeMap<String, Interface>,
    sheet: &mut Sheet,
) {
    for name in &context.config.interfaces {
        let Some(interface) = interfaces.get(name) else {
            sheet.find(
                id::INTERFACE_MISSING,
                Severity::Error,
                name,
                "there is no such interface",
                "`ip link` lists those that exist; name one in `interfaces`",
            );
            continue;
        };
        sheet.pass(id::INTERFACE_MISSING, name, "is there");
        judge_link(name, interface, sheet);
        judge_kind(name, interface, sheet);
        program::judge(context, name, interface, sheet);
        judge_frames(name, interface, context.is_generic(interface), sheet);
        judge_rp_filter(name, interface, sheet);
    }
}

fn judge_link(name: &str, interface: &Interface, sheet: &mut Sheet) {
    match (interface.is_up, interface.is_running) {
        (true, true) => sheet.pass(id::INTERFACE_DOWN, name, "is up"),
        (true, false) => sheet.find(
            id::INTERFACE_DOWN,
            Severity::Error,
            name,
            "is set up and has no carrier",
            "look at the cable, the switch's port, or the other end of a virtual link",
        ),
        (false, _) => sheet.find(
            id::INTERFACE_DOWN,
            Severity::Error,
            name,
            "is set down",
            format!("ip link set dev {name} up"),
        ),
    }
    match interface.mac {
        Some(mac) => sheet.pass(id::INTERFACE_NOT_ETHERNET, name, mac),
        None => sheet.find(
            id::INTERFACE_NOT_ETHERNET,
            Severity::Error,
            name,
            "has no MAC address: backends are reached by theirs",
            "name an Ethernet interface in `interfaces`",
        ),
    }
}

fn judge_kind(name: &str, interface: &Interface, sheet: &mut Sheet) {
    let remedy = match interface.kind.as_deref() {
        Some("bridge") => {
            "generic XDP works; for native XDP this host's address has to be on the port, and that in no \
             bridge"
        }
        Some("vlan") => {
            "generic XDP works; native XDP on the device below it steers frames with their tags, if the \
             servers are found there (docs/interfaces.md)"
        }
        kind => {
            let kind = kind.unwrap_or("hardware");
            sheet.pass(id::INTERFACE_ABOVE, name, format!("is {kind}"));
            ""
        }
    };
    if !remedy.is_empty() {
        let kind = interface.kind.as_deref().unwrap_or_default();
        let evidence = format!("is a {kind}, which has no native XDP");
        sheet.find(
            id::INTERFACE_ABOVE,
            Severity::Warning,
            name,
            evidence,
            remedy,
        );
    }
    if interface.is_promiscuous {
        sheet.find(
            id::PROMISCUOUS,
            Severity::Warning,
            name,
            "is set promiscuous: frames for a VIP are steered whomever on the link they are for",
            format!("ip link set dev {name} promisc off"),
        );
    } else {
        sheet.pass(id::PROMISCUOUS, name, "takes only what is for it");
    }
}

fn judge_frames(name: &str, interface: &Interface, is_generic: bool, sheet: &mut Sheet) {
    let mtu = interface.mtu;
    let takes_large = interface
        .xdp_features
        .map(|features| features & SEVERAL_BUFFERS != 0);
    let carries = interface
        .attached
        .is_some_and(|attached| attached.is_native);
    match takes_large {
        _ if mtu <= ONE_BUFFER || carries || is_generic => {
            sheet.pass(id::MTU_TOO_LARGE, name, format!("MTU {mtu}"));
        }
        Some(true) => {
            let evidence = format!("MTU {mtu}, in several buffers");
            sheet.pass(id::MTU_TOO_LARGE, name, evidence);
        }
        Some(false) => sheet.find(
            id::MTU_TOO_LARGE,
            Severity::Warning,
            name,
            format!("MTU {mtu}, and its driver has no XDP for frames in several buffers"),
            format!("ip link set dev {name} mtu {ONE_BUFFER}, or less if the driver still refuses"),
        ),
        None => sheet.skip(
            id::MTU_TOO_LARGE,
            name,
            format!("MTU {mtu}: this kernel does not tell whether the driver's XDP takes so much"),
        ),
    }
    let offloads = match &interface.offloads {
        Ok(offloads) => offloads,
        Err(why) => {
            for id in [id::LRO_ON, id::VLAN_OFFLOAD] {
                sheet.skip(id, name, why);
            }
            return;
        }
    };
    let merging: Vec<_> = ["rx-lro", "rx-gro-hw"]
        .into_iter()
        .filter(|feature| offloads.contains(*feature))
        .collect();
    if merging.is_empty() {
        sheet.pass(id::LRO_ON, name, "its driver merges no frames");
    } else {
        sheet.find(
            id::LRO_ON,
            Severity::Warning,
            name,
            format!(
                "{} on: its driver merges frames before XDP sees them",
                merging.join(" and ")
            ),
            format!("ethtool -K {name} lro off rx-gro-hw off"),
        );
    }
    if interface.vlans.is_empty() || !offloads.contains("rx-vlan-hw-parse") {
        sheet.pass(
            id::VLAN_OFFLOAD,
            name,
            "tags stay in the frame, or there are none",
        );
    } else {
        sheet.find(
            id::VLAN_OFFLOAD,
            Severity::Warning,
            name,
            format!(
                "carries {}, and takes tags off frames before XDP sees them",
                interface.vlans.join(", ")
            ),
            format!("ethtool -K {name} rxvlan off"),
        );
    }
}

fn judge_rp_filter(name: &str, interface: &Interface, sheet: &mut Sheet) {
    match &interface.settings.rp_filter {
        Ok(1) => sheet.find(
            id::RP_FILTER_STRICT,
            Severity::Warning,
            name,
            "rp_filter is strict: what comes in here from an address that is routed elsewhere is dropped \
             by this host's stack",
            format!(
                "sysctl -w net.ipv4.conf.{0}.rp_filter=2, which beats a 1 in net.ipv4.conf.all",
                name.replace('.', "/")
            ),
        ),
        Ok(value) => sheet.pass(id::RP_FILTER_STRICT, name, format!("rp_filter {value}")),
        Err(why) => sheet.skip(id::RP_FILTER_STRICT, name, why),
    }
}

#[cfg(test)]
pub(super) mod tests;
