//! Where backends are, and how their servers answer. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Severity, id, report::Sheet};
use crate::{
    config::{Config, Protocol},
    health::{Ending, Outcome},
    mac::MacAddress,
    neighbor::Unresolved,
};

/// Where a backend of the configuration was found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// On the link; or why not.
    pub(super) found: Result<MacAddress, Unresolved>,
    /// Whether the MAC address is one of this host's.
    pub(super) is_own_mac: bool,
}

/// How a backend's server has answered.
#[derive(Debug)]
pub(super) struct Server {
    /// As `resolvers/dns1`.
    pub(super) subject: String,
    pub(super) address: IpAddr,
    /// What was asked and came back; or why nothing was asked.
    pub(super) answers: Result<Answers, String>,
}

#[derive(Debug)]
pub(super) struct Answers {
    /// By its own address.
    pub(super) own: Option<Outcome>,
    pub(super) vips: Vec<ThroughVip>,
}

/// What has come of asking through a VIP.
#[derive(Debug)]
pub(super) struct ThroughVip {
    pub(super) vip: IpAddr,
    /// By what: UDP, unless the service takes TCP alone.
    pub(super) protocol: Protocol,
    pub(super) outcome: Outcome,
    /// By TCP, where that was not all.
    pub(super) tcp: Option<Outcome>,
    /// Whether it was looked where answers go.
    pub(super) asked_return: bool,
}

/// `places`: of each service's backends, in the order of the configuration. `can_resolve`: whether this
/// process may have the kernel look for them.
pub(super) fn judge_places(
    config: &Config,
    places: &[Vec<Place>],
    can_resolve: bool,
    sheet: &mut Sheet,
) {
    for (service, places) in config.services.iter().zip(places) {
        let mut by_mac = BTreeMap::<MacAddress, Vec<&str>>::new();
        for (backend, place) in service.backends.iter().zip(places) {
            let subject = format!("{}/{}", service.name, backend.name);
            let address = backend.address;
            if backend.local {
                judge_local(&subject, address, place, sheet);
                continue;
            }
            judge_place(&subject, address, place, can_resolve, sheet);
            if let Ok(mac) = place.found {
                by_mac.entry(mac).or_default().push(&backend.name);
            }
        }
        for (mac, names) in by_mac {
            judge_mac(&service.name, mac, &names, sheet);
        }
    }
}

/// `names`: of the backends of a service that have this MAC address.
fn judge_mac(service: &str, mac: MacAddress, names: &[&str], sheet: &mut Sheet) {
    /// Names that are written out.
    const NAMED: usize = 4;
    if let [name] = names {
        let evidence = format!("{mac} is nobody else's");
        return sheet.pass(id::BACKEND_SAME_MAC, format!("{service}/{name}"), evidence);
    }
    let mut who = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED {
        who = format!("{who} and {} more", names.len() - NAMED);
    }
    sheet.find(
        id::BACKEND_SAME_MAC,
        Severity::Warning,
        service,
        format!(
            "{who} have one MAC address, {mac}: they are one host, or something answers ARP for them"
        ),
        "list a host once, with the weight that it is to have; or switch off proxy ARP \
         (net.ipv4.conf.*.proxy_arp) where it is on",
    );
}

fn judge_local(subject: &str, address: IpAddr, place: &Place, sheet: &mut Sheet) {
    match place.found {
        Err(Unresolved::OwnAddress) => {
            sheet.pass(
                id::BACKEND_NOT_LOCAL,
                subject,
                format!("{address} is this host's"),
            );
        }
        _ => sheet.find(
            id::BACKEND_NOT_LOCAL,
            Severity::Error,
            subject,
            format!("has local = true, and {address} is no address of this host"),
            "take local = true away, or give the address that this host has",
        ),
    }
}

fn judge_place(
    subject: &str,
    address: IpAddr,
    place: &Place,
    can_resolve: bool,
    sheet: &mut Sheet,
) {
    let is_here = place.is_own_mac || matches!(place.found, Err(Unresolved::OwnAddress));
    if is_here {
        return sheet.find(
            id::BACKEND_IS_THIS_HOST,
            Severity::Error,
            subject,
            match place.found {
                Ok(mac) => format!("{address} is at {mac}, which is this host's"),
                Err(_) => format!("{address} is an address of this host"),
            },
            "set local = true for it, so that its packets are given to this host's own stack",
        );
    }
    match &place.found {
        Ok(mac) => {
            let evidence = format!("{address} is at {mac}");
            for id in [
                id::BACKEND_IS_THIS_HOST,
                id::BACKEND_BEHIND_GATEWAY,
                id::BACKEND_NOT_FOUND,
            ] {
                sheet.pass(id, subject, &evidence);
            }
        }
        Err(Unresolved::BehindGateway { gateway }) => sheet.find(
            id::BACKEND_BEHIND_GATEWAY,
            Severity::Error,
            subject,
            format!("the way to {address} is by the router {gateway}: it is in another broadcast domain"),
            "put balancer and backend on one link: give this host an interface, or an address, in the \
             backend's network",
        ),
        Err(Unresolved::Resolving { .. }) if !can_resolve => sheet.skip(
            id::BACKEND_NOT_FOUND,
            subject,
            format!("{address} is not known, and having the kernel ask for it takes CAP_NET_ADMIN"),
        ),
        Err(why @ (Unresolved::Failed { interface } | Unresolved::Resolving { interface })) => {
            let why = match why {
                Unresolved::Failed { .. } => why.to_string(),
                _ => format!("nobody on {interface} has answered for it yet"),
            };
            sheet.find(
                id::BACKEND_NOT_FOUND,
                Severity::Error,
                subject,
                format!("{address}: {why}"),
                format!("is the host up, on this link and in this VLAN? ip neigh show dev {interface} to {address}"),
            );
        }
        Err(why) => sheet.find(
            id::BACKEND_NOT_FOUND,
            Severity::Error,
            subject,
            format!("{address}: {why}"),
            format!("ip route get {address}"),
        ),
    }
}

pub(super) fn judge_server(server: &Server, sheet: &mut Sheet) {
    let subject = &server.subject;
    let answers = match &server.answers {
        Ok(answers) => answers,
        Err(why) => return sheet.skip(id::SERVER_SILENT, subject, why),
    };
    let own = answers.own.as_ref();
    let mut is_silent = None;
    let mut answers_on_vip = false;
    for through in &answers.vips {
        answers_on_vip |= through.outcome.passed();
        if judge_through(server, through, own, sheet) {
            is_silent.get_or_insert(through);
        }
    }
    if let Some(through) = is_silent {
        let (vip, outcome) = (through.vip, &through.outcome);
        let own = own.map(|own| format!("; on {}: {own}", server.address));
        sheet.find(
            id::SERVER_SILENT,
            Severity::Error,
            subject,
            format!("{vip}: {outcome}{}", own.unwrap_or_default()),
            "does the server run, on the service's port, and does a firewall there let queries in? \
             there: ss -lnptu",
        );
        return;
    }
    judge_own(server, answers_on_vip, own, sheet);
}

/// What holds of the server's own address, which clients do not use.
fn judge_own(server: &Server, answers_on_vip: bool, own: Option<&Outcome>, sheet: &mut Sheet) {
    let Some(outcome) = own else {
        return;
    };
    let (subject, address) = (&server.subject, server.address);
    if outcome.is_own_fault() {
        sheet.skip(id::OWN_ADDRESS_SILENT, subject, outcome);
    } else if outcome.rtt().is_some() && !matches!(outcome.ending(), Ending::Refused { .. }) {
        let evidence = format!("{address}: {outcome}");
        sheet.pass(id::OWN_ADDRESS_SILENT, subject, evidence);
    } else if answers_on_vip {
        sheet.find(
            id::OWN_ADDRESS_SILENT,
            Severity::Info,
            subject,
            format!("answers on the VIP, and not on its own address: {address}: {outcome}"),
            "nothing for clients; a health check by path = \"real\" would need it",
        );
    }
}

/// Judges what came through a VIP. True: nothing did, on the server's own address neither.
fn judge_through(
    server: &Server,
    through: &ThroughVip,
    own: Option<&Outcome>,
    sheet: &mut Sheet,
) -> bool {
    let subject = &server.subject;
    let ThroughVip { vip, outcome, .. } = through;
    let evidence = format!("{vip}: {outcome}");
    if outcome.stood_in() {
        let why = format!("{vip} was not asked itself: {outcome}");
        sheet.skip(id::VIP_MISSING, subject, why);
        return false;
    }
    let owner_answers = own.is_some_and(Outcome::passed);
    match outcome.ending() {
        Ending::Passed { .. } => {
            for id in [
                id::SERVER_SILENT,
                id::VIP_MISSING,
                id::VIP_NOT_SERVED,
                id::WRONG_SOURCE,
                id::ANSWERED_BY_ANOTHER,
                id::ANSWER_NOT_ACCEPTED,
            ] {
                sheet.pass(id, subject, &evidence);
            }
            judge_return(subject, through, sheet);
            judge_tcp(subject, through, sheet);
        }
        Ending::VipMissing { .. } => find_missing(subject, *vip, &evidence, sheet),
        Ending::TimedOut { .. } if owner_answers => {
            find_missing(subject, *vip, &evidence, sheet);
        }
        Ending::WrongSource { .. } => sheet.find(
            id::WRONG_SOURCE,
            Severity::Error,
            subject,
            evidence,
            "have its server answer from the address that was asked: NSD wants an `ip-address:` line \
             for each of its own address and the VIP",
        ),
        Ending::WrongMac { .. } => sheet.find(
            id::WRONG_MAC,
            Severity::Error,
            subject,
            evidence,
            "have replies go by the host's routes: Knot DNS with XDP wants `route-check: on`",
        ),
        Ending::AnsweredByAnother { .. } => sheet.find(
            id::ANSWERED_BY_ANOTHER,
            Severity::Error,
            subject,
            evidence,
            "a backend must not hand the VIP's packets on: no balancer, no NAT, no forwarding there; or \
             its `mac` is another's",
        ),
        Ending::NotAccepted { .. } => sheet.find(
            id::ANSWER_NOT_ACCEPTED,
            Severity::Error,
            subject,
            evidence,
            "mend the server's zones or its access rules; or say in [service.health] what counts as an \
             answer",
        ),
        Ending::OwnFault(_) | Ending::NotFound { .. } => {
            sheet.skip(id::VIP_MISSING, subject, evidence);
        }
        Ending::Refused { .. }
        | Ending::Closed { .. }
        | Ending::Malformed { .. }
        | Ending::Unreachable { .. }
        | Ending::TimedOut { .. } => {
            if !owner_answers {
                return true;
            }
            sheet.find(
                id::VIP_NOT_SERVED,
                Severity::Error,
                subject,
                format!("{evidence}; on {} it answers", server.address),
                format!("have its server listen on {vip} too, and a firewall there let queries to it in"),
            );
        }
    }
    false
}

fn find_missing(subject: &str, vip: IpAddr, evidence: &str, sheet: &mut Sheet) {
    let length = match vip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    sheet.find(
        id::VIP_MISSING,
        Severity::Error,
        subject,
        evidence,
        format!("there: ip addr add {vip}/{length} dev lo"),
    );
}

fn judge_return(subject: &str, through: &ThroughVip, sheet: &mut Sheet) {
    match through.outcome.return_path() {
        Some(true) => sheet.pass(
            id::WRONG_MAC,
            subject,
            format!("{}: answers go where routes lead", through.vip),
        ),
        // The other way is an ending of its own.
        Some(false) => {}
        None if through.asked_return => sheet.skip(
            id::WRONG_MAC,
            subject,
            format!(
                "{}: a query from a made-up MAC address was not answered; a switch may have dropped it",
                through.vip
            ),
        ),
        None => {}
    }
}

fn judge_tcp(subject: &str, through: &ThroughVip, sheet: &mut Sheet) {
    let Some(outcome) = &through.tcp else {
        if through.protocol == Protocol::Tcp {
            sheet.pass(id::TCP_CLOSED, subject, format!("{}: answers", through.vip));
        }
        return;
    };
    let evidence = format!("{} by TCP: {outcome}", through.vip);
    if outcome.passed() {
        sheet.pass(id::TCP_CLOSED, subject, evidence);
    } else if outcome.is_own_fault() || outcome.stood_in() {
        sheet.skip(id::TCP_CLOSED, subject, evidence);
    } else {
        sheet.find(
            id::TCP_CLOSED,
            Severity::Error,
            subject,
            evidence,
            "let it serve TCP on the VIP (RFC 7766), server and firewall; or protocols = [\"udp\"] for \
             the service",
        );
    }
}

#[cfg(test)]
mod tests;
