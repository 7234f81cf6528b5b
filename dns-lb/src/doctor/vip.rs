//! Who answers on the link for a VIP: this host, and nobody else. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Severity, id, interface::Interface, report::Sheet};
use crate::{health::link::Claim, mac::MacAddress};

/// What has come of asking on a link; the error says why that could not be done.
pub(super) type Asked = Result<BTreeSet<Claim>, String>;

/// What answers are judged by.
pub(super) struct Context<'a> {
    /// Every VIP of every service.
    pub(super) vips: BTreeSet<IpAddr>,
    pub(super) owners: BTreeMap<MacAddress, Owner>,
    pub(super) own: &'a [OwnAddress],
    /// Whether a backend is this very host.
    pub(super) has_local: bool,
}

/// Whose a MAC address is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    ThisHost,
    /// As `resolvers/dns1`.
    Backend(String),
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnAddress {
    pub(super) interface: String,
    pub(super) address: IpAddr,
    /// How far duplicate address detection has come (RFC 4862, 5.4).
    pub(super) state: AddressState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressState {
    Valid,
    Tentative,
    Duplicate,
}

/// `asked`: by interface and VIP.
pub(super) fn judge(
    context: &Context<'_>,
    interfaces: &BTreeMap<String, Interface>,
    asked: &BTreeMap<(String, IpAddr), Asked>,
    sheet: &mut Sheet,
) {
    for &vip in &context.vips {
        judge_own(context, vip, sheet);
        judge_answers(context, interfaces, vip, asked, sheet);
    }
    if context.has_local {
        judge_announcements(context, interfaces, sheet);
    }
}

fn judge_own(context: &Context<'_>, vip: IpAddr, sheet: &mut Sheet) {
    for own in context.own.iter().filter(|own| own.address == vip) {
        let interface = &own.interface;
        match own.state {
            AddressState::Valid => {
                let evidence = format!("valid on {interface}");
                sheet.pass(id::VIP_DUPLICATE, vip, evidence);
            }
            AddressState::Duplicate => sheet.find(
                id::VIP_DUPLICATE,
                Severity::Error,
                vip,
                format!("this host has it on {interface}, and does not use it: another host on the link has it"),
                format!("take it off the other host's link; then ip addr change {vip} dev {interface}"),
            ),
            AddressState::Tentative => sheet.find(
                id::VIP_DUPLICATE,
                Severity::Warning,
                vip,
                format!("this host has it on {interface}, and is not yet sure that nobody else has"),
                format!("if that lasts: ip link show dev {interface} says whether there is a carrier"),
            ),
        }
    }
}

fn judge_answers(
    context: &Context<'_>,
    interfaces: &BTreeMap<String, Interface>,
    vip: IpAddr,
    asked: &BTreeMap<(String, IpAddr), Asked>,
    sheet: &mut Sheet,
) {
    let mut links = Vec::new();
    let mut others = BTreeSet::new();
    for ((interface, _), answer) in asked.iter().filter(|((_, asked), _)| *asked == vip) {
        let claims = match answer {
            Ok(claims) => claims,
            Err(why) => {
                let why = format!("{interface}: {why}");
                sheet.skip(id::VIP_ANSWERED_BY_BACKEND, vip, why);
                continue;
            }
        };
        links.push(interface.as_str());
        for claim in claims.iter().filter(|claim| claim.address == vip) {
            match context.owners.get(&claim.mac) {
                Some(Owner::ThisHost) => {}
                owner => {
                    others.insert((interface.as_str(), claim.mac, owner));
                }
            }
        }
    }
    if links.is_empty() {
        return;
    }
    let here: Vec<_> = links
        .iter()
        .copied()
        .filter(|interface| answers_here(context, interfaces, interface, vip))
        .collect();
    let on = links.join(", ");
    let by_backend = |other: &(_, _, Option<&Owner>)| other.2.is_some();
    if !others.iter().any(by_backend) {
        let evidence = format!("asked on {on}: no backend answers");
        sheet.pass(id::VIP_ANSWERED_BY_BACKEND, vip, evidence);
    }
    if others.iter().all(by_backend) {
        let evidence = format!("asked on {on}: nobody unknown answers");
        sheet.pass(id::VIP_ANSWERED_BY_OTHER, vip, evidence);
    }
    for (interface, mac, owner) in &others {
        match owner {
            Some(Owner::Backend(backend)) => {
                let may_be_active = context.has_local && !here.contains(interface);
                find_backend(vip, interface, *mac, backend, may_be_active, sheet);
            }
            _ => find_other(vip, interface, *mac, &here, sheet),
        }
    }
    if !others.is_empty() {
        return;
    }
    if here.is_empty() {
        sheet.find(
            id::VIP_UNANSWERED,
            Severity::Info,
            vip,
            format!(
                "nobody answers for it on {on}, nor would this host: packets come only by a route"
            ),
            format!(
                "on the router: ip route add {vip} via <this host>; or here: ip addr add {vip}/{} dev {}",
                if vip.is_ipv4() { 32 } else { 128 },
                links[0]
            ),
        );
    } else {
        let evidence = format!("this host answers on {}", here.join(", "));
        sheet.pass(id::VIP_UNANSWERED, vip, evidence);
    }
}

/// `may_be_active`: this host is balancer and server at once, and stands by; so may the other be, at work.
fn find_backend(
    vip: IpAddr,
    interface: &str,
    mac: MacAddress,
    backend: &str,
    may_be_active: bool,
    sheet: &mut Sheet,
) {
    let (protocol, remedy) = match vip {
        IpAddr::V4(_) => (
            "ARP",
            "there: sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, and the \
             VIP on lo alone"
                .to_owned(),
        ),
        IpAddr::V6(_) => (
            "neighbour discovery",
            format!("there: the VIP on lo alone: ip addr add {vip}/128 dev lo, and off the interface"),
        ),
    };
    let answers = format!("{mac}, which is its, answers {protocol} for {vip} on {interface}");
    let (severity, evidence, remedy) = if may_be_active {
        let remedy = format!(
            "right if it is a balancer too, at work while this one stands by; else {remedy}"
        );
        (Severity::Warning, answers, remedy)
    } else {
        let evidence = format!("{answers}: clients' packets go past the balancer");
        (Severity::Error, evidence, remedy)
    };
    sheet.find(
        id::VIP_ANSWERED_BY_BACKEND,
        severity,
        backend,
        evidence,
        remedy,
    );
}

fn find_other(vip: IpAddr, interface: &str, mac: MacAddress, here: &[&str], sheet: &mut Sheet) {
    let (severity, and, remedy) = if here.contains(&interface) {
        let remedy = "take the VIP off one of the two; the switch's table says where it is";
        (Severity::Error, ", and so does this host", remedy)
    } else {
        let remedy =
            "right if it is the balancer at work and this one stands by; else take the VIP off it";
        (Severity::Warning, ", and this host does not", remedy)
    };
    sheet.find(
        id::VIP_ANSWERED_BY_OTHER,
        severity,
        vip,
        format!("{mac}, which is no backend's, answers for it on {interface}{and}"),
        remedy,
    );
}

/// Whether this host would answer for an address on an interface's link.
fn answers_here(
    context: &Context<'_>,
    interfaces: &BTreeMap<String, Interface>,
    interface: &str,
    vip: IpAddr,
) -> bool {
    let mut own = context
        .own
        .iter()
        .filter(|own| own.address == vip && own.state == AddressState::Valid);
    let is_loose = vip.is_ipv4()
        && interfaces
            .get(interface)
            .is_some_and(|found| found.settings.arp_ignore == Ok(0));
    own.any(|own| is_loose || own.interface == interface)
}

/// A host that is balancer and server at once, beside another such, must not take the VIP to itself.
fn judge_announcements(
    context: &Context<'_>,
    interfaces: &BTreeMap<String, Interface>,
    sheet: &mut Sheet,
) {
    let mut own = context.own.iter();
    let has_vip = own.any(|own| own.address.is_ipv4() && context.vips.contains(&own.address));
    if !has_vip {
        return;
    }
    for (name, interface) in interfaces {
        let settings = &interface.settings;
        match (&settings.arp_ignore, &settings.arp_announce) {
            (Ok(ignore), Ok(announce)) if *ignore == 0 || *announce < 2 => sheet.find(
                id::VIP_ANNOUNCED_HERE,
                Severity::Info,
                name,
                format!("arp_ignore {ignore}, arp_announce {announce}: this host says on the link that it has the VIPs"),
                "right on the one balancer that clients' packets are to come to; elsewhere arp_ignore=1 \
                 and arp_announce=2",
            ),
            (Ok(_), Ok(_)) => sheet.pass(id::VIP_ANNOUNCED_HERE, name, "keeps silent of the VIPs"),
            (Err(why), _) | (_, Err(why)) => sheet.skip(id::VIP_ANNOUNCED_HERE, name, why),
        }
    }
}

#[cfg(test)]
mod tests;
