//! What leaves by an interface, and whether it gets out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Interface, SENDS, judge_link, judge_rp_filter};
use crate::doctor::{Severity, id, report::Sheet};

/// Judges what leaves by interfaces; `egress` are those that backends are behind.
pub(in crate::doctor) fn judge(
    context: &Context<'_>,
    interfaces: &BTreeMap<String, Interface>,
    egress: &BTreeSet<String>,
    sheet: &mut Sheet,
) {
    let configured = &context.config.interfaces;
    for (name, interface) in interfaces {
        let others: Vec<_> = configured
            .iter()
            .filter(|other| *other != name)
            .filter_map(|other| Some((other, interfaces.get(other)?.mtu)))
            .collect();
        let mut native = configured.iter().filter(|ingress| {
            let found = interfaces.get(*ingress);
            found.is_some_and(|found| !context.is_generic(found))
        });
        let traffic = if !egress.contains(name) {
            Traffic::None
        } else if native.clone().any(|ingress| ingress != name) {
            Traffic::Across
        } else if native.any(|ingress| ingress == name) {
            Traffic::Back
        } else {
            Traffic::Stack
        };
        if !configured.contains(name) {
            judge_link(name, interface, sheet);
            judge_rp_filter(name, interface, sheet);
        }
        judge_sending(name, interface, traffic, sheet);
        if egress.contains(name) {
            judge_fit(name, interface, &others, sheet);
        }
    }
}

/// What leaves by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// No backend is behind it.
    None,
    /// What generic XDP steers, and no other.
    Stack,
    /// What came in by it, and native XDP steers.
    Back,
    /// What came in by others, and native XDP steers, too.
    Across,
}

/// `ingress`: the interfaces that frames come in by, and their MTUs.
fn judge_fit(name: &str, interface: &Interface, ingress: &[(&String, u32)], sheet: &mut Sheet) {
    for (ingress, mtu) in ingress {
        if *mtu <= interface.mtu {
            let evidence = format!("MTU {}, no less than {ingress}'s {mtu}", interface.mtu);
            sheet.pass(id::MTU_MISMATCH, name, evidence);
            continue;
        }
        sheet.find(
            id::MTU_MISMATCH,
            Severity::Warning,
            name,
            format!(
                "MTU {}: longer frames that come in by {ingress}, MTU {mtu}, are lost here",
                interface.mtu
            ),
            format!("ip link set dev {name} mtu {mtu}"),
        );
    }
}

pub(super) fn judge_sending(
    name: &str,
    interface: &Interface,
    traffic: Traffic,
    sheet: &mut Sheet,
) {
    let is_veth = interface.kind.as_deref() == Some("veth");
    let sends = interface.xdp_features.map(|features| features & SENDS != 0);
    if let (Some(kind @ ("bridge" | "vlan")), Traffic::Across) =
        (interface.kind.as_deref(), traffic)
    {
        return sheet.find(
            id::XDP_CANNOT_SEND,
            Severity::Error,
            name,
            format!(
                "is a {kind}, and servers are behind it: what native XDP sends there from another \
                 interface is lost"
            ),
            format!(
                "name {name} in `interfaces` instead of what is below it, or set xdp_mode = \"generic\"; or \
                 have the servers found on an Ethernet device"
            ),
        );
    }
    match (sends, is_veth, traffic) {
        (Some(true), ..) => sheet.pass(id::XDP_CANNOT_SEND, name, "takes what XDP sends"),
        (_, _, Traffic::Stack) => sheet.pass(
            id::XDP_CANNOT_SEND,
            name,
            "generic XDP sends by it as this host does",
        ),
        (_, false, Traffic::None) => {
            sheet.pass(id::XDP_CANNOT_SEND, name, "no server is behind it");
        }
        (_, false, Traffic::Back) => sheet.pass(
            id::XDP_CANNOT_SEND,
            name,
            "frames leave by it that came in by it: any driver with XDP sends those",
        ),
        (None, ..) => sheet.skip(
            id::XDP_CANNOT_SEND,
            name,
            "this kernel does not tell whether XDP can send here (Linux 6.3 and later do)",
        ),
        (Some(false), true, traffic) => sheet.find(
            id::XDP_CANNOT_SEND,
            match traffic {
                Traffic::None => Severity::Info,
                Traffic::Stack | Traffic::Back | Traffic::Across => Severity::Error,
            },
            name,
            "is a veth whose other end runs no XDP program: it drops what XDP sends, and says nothing",
            "attach an XDP program that passes everything to the other end, or `ethtool -K <it> gro on`",
        ),
        (Some(false), false, Traffic::Across) => sheet.find(
            id::XDP_CANNOT_SEND,
            Severity::Warning,
            name,
            "its driver does not say that it takes what XDP redirects to it from other interfaces",
            "some drivers do once they have a program: name it in `interfaces`; or have clients and \
             servers on one interface",
        ),
    }
}
