//! From statements to what they say of IPVS. Inside `virtual_server` and `real_server` every word has
//! to be known; blocks of other parts of keepalived are only named.

use std::net::IpAddr;

use super::{
    asides::{self, Block},
    ast::{At, Configuration, Method, Protocol, RealServer, Settings, Target, VirtualServer},
    group, parse_check,
    scalar::{self, quoted},
    tree::Statement,
};
use crate::import::problem::Problems;

/// Blocks and words at the top that have nothing to do with IPVS.
const OTHERS: &[&str] = &[
    "SSL",
    "bfd_instance",
    "child_wait_time",
    "garp_group",
    "global_defs",
    "include_check",
    "instance",
    "interface_up_down_delays",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "track_file",
    "track_group",
    "track_process",
    "use_pid_dir",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_file",
    "vrrp_track_process",
];

/// Flags of schedulers.
const FLAGS: &[&str] = &[
    "ops",
    "hashed",
    "flag-1",
    "flag-2",
    "flag-3",
    "sh-port",
    "sh-fallback",
    "mh-port",
    "mh-fallback",
];

/// Reads statements at the top.
pub(super) fn parse(statements: &[Statement], problems: &mut Problems) -> Configuration {
    let mut configuration = Configuration::default();
    for statement in statements {
        match statement.keyword() {
            "virtual_server" => {
                let server = virtual_server(statement, problems);
                configuration.servers.extend(server);
            }
            "virtual_server_group" => {
                configuration
                    .groups
                    .extend(group::read(statement, problems));
            }
            keyword if OTHERS.contains(&keyword) => {
                configuration.others.push(At {
                    place: statement.place.clone(),
                    value: statement.words.join(" "),
                });
                if keyword == "vrrp_instance" {
                    let interfaces = statement.statements().iter();
                    let interfaces = interfaces.filter(|inner| inner.keyword() == "interface");
                    configuration
                        .interfaces
                        .extend(interfaces.filter_map(|inner| {
                            let name = inner.arguments().first()?;
                            Some(At {
                                place: inner.place.clone(),
                                value: name.clone(),
                            })
                        }));
                }
            }
            _ => unknown(statement, "at the top of the file", problems),
        }
    }
    configuration
}

/// Reports a word that is not known where it stands.
pub(super) fn unknown(statement: &Statement, place: &str, problems: &mut Problems) {
    let what = format!("{} is not understood {place}", quoted(statement.keyword()));
    problems.add(&statement.place, what, "mend its spelling, or remove it");
}

/// Reports a block where there is none to be, or the reverse. `false`: it was so.
pub(super) fn has_block(statement: &Statement, wanted: bool, problems: &mut Problems) -> bool {
    let keyword = quoted(statement.keyword());
    match (statement.block.is_some(), wanted) {
        (true, false) => {
            let what = format!("{keyword} takes no {{ }}");
            problems.add(&statement.place, what, "remove the braces");
            false
        }
        (false, true) => {
            let what = format!("{keyword} has no {{ }}");
            problems.add(&statement.place, what, "add them");
            false
        }
        _ => true,
    }
}

fn virtual_server(statement: &Statement, problems: &mut Problems) -> Option<VirtualServer> {
    if !has_block(statement, true, problems) {
        return None;
    }
    let target = target(statement, problems);
    let mut server = VirtualServer {
        place: statement.place.clone(),
        target: Target::Group(String::new()),
        settings: Settings::default(),
        scheduler: None,
        flags: Vec::new(),
        protocol: None,
        persistence: None,
        granularity: None,
        sorry_server: None,
        real_servers: Vec::new(),
    };
    for inner in statement.statements() {
        in_virtual_server(&mut server, inner, problems);
    }
    if server.real_servers.is_empty()
        && !statement
            .statements()
            .iter()
            .any(|inner| inner.keyword() == "real_server")
    {
        let what = "virtual_server has no real_server";
        problems.add(&statement.place, what, "add one, or remove the block");
    }
    server.target = target?;
    Some(server)
}

fn target(statement: &Statement, problems: &mut Problems) -> Option<Target> {
    let words: Vec<&str> = statement.arguments().iter().map(String::as_str).collect();
    match words[..] {
        ["group", name] => Some(Target::Group(name.to_owned())),
        ["fwmark", ..] => {
            let what = "virtual_server fwmark says no address that clients send to";
            let remedy = "write virtual_server ADDRESS PORT for what the firewall marks";
            problems.add(&statement.place, what, remedy);
            None
        }
        [_] => {
            let what = "virtual_server without a port takes every port";
            problems.add(&statement.place, what, "write virtual_server ADDRESS PORT");
            None
        }
        [address, port] => {
            let address = scalar::address(statement, address, problems);
            let port = scalar::port(statement, port, problems);
            Some(Target::Address {
                address: address?,
                port: port?,
            })
        }
        _ => {
            let what = "virtual_server does not say what it is for";
            let remedy = "write virtual_server ADDRESS PORT, or virtual_server group NAME";
            problems.add(&statement.place, what, remedy);
            None
        }
    }
}

fn in_virtual_server(server: &mut VirtualServer, inner: &Statement, problems: &mut Problems) {
    let keyword = inner.keyword();
    if !has_block(inner, keyword == "real_server", problems) {
        return;
    }
    match keyword {
        "real_server" => server.real_servers.extend(real_server(inner, problems)),
        "lb_algo" | "lvs_sched" => {
            let name = scalar::one(inner, "a scheduler such as rr", problems).map(str::to_owned);
            scalar::set(&mut server.scheduler, inner, name, problems);
        }
        "protocol" => {
            let protocol = protocol(inner, problems);
            scalar::set(&mut server.protocol, inner, protocol, problems);
        }
        "persistence_timeout" => {
            // Without a number it is six minutes.
            let seconds = match inner.arguments() {
                [] => Some(360),
                _ => scalar::number(inner, 1..=u32::MAX, problems),
            };
            scalar::set(&mut server.persistence, inner, seconds, problems);
        }
        "persistence_granularity" => {
            let mask = scalar::one(inner, "a netmask", problems).map(str::to_owned);
            scalar::set(&mut server.granularity, inner, mask, problems);
        }
        "persistence_engine" => {
            let what =
                "persistence_engine keeps what a protocol over UDP calls one, and DNS has none";
            problems.add(&inner.place, what, "remove it");
        }
        "sorry_server" => {
            let words = inner.arguments();
            let address = match words {
                [] => scalar::one(inner, "an address", problems),
                [address, ..] => Some(address.as_str()),
            };
            let address =
                address.map(|address| address.parse::<IpAddr>().map(|address| address.to_string()));
            if let Some(Err(_)) = address {
                let what = format!("sorry_server {} is no address", quoted(&words[0]));
                problems.add(&inner.place, what, "write an address and a port");
            }
            let address = address.and_then(Result::ok);
            scalar::set(&mut server.sorry_server, inner, address, problems);
        }
        flag if FLAGS.contains(&flag) => match inner.arguments() {
            [] => server.flags.push(At {
                place: inner.place.clone(),
                value: flag.to_owned(),
            }),
            [more, ..] => {
                let what = format!("{} is not understood after {flag}", quoted(more));
                problems.add(&inner.place, what, "put it on a line of its own");
            }
        },
        _ if in_both(&mut server.settings, inner, problems) => {}
        _ => {
            let asides = &mut server.settings.asides;
            if !asides::take(Block::VirtualServer, inner, asides, problems) {
                unknown(inner, "in virtual_server", problems);
            }
        }
    }
}

/// What virtual and real servers both may say. `false`: it is none of that.
fn in_both(settings: &mut Settings, inner: &Statement, problems: &mut Problems) -> bool {
    match inner.keyword() {
        "lb_kind" | "lvs_method" => {
            let method = method(inner, problems);
            scalar::set(&mut settings.method, inner, method, problems);
        }
        "weight" => {
            let weight = scalar::number(inner, 0..=65_535, problems);
            scalar::set(&mut settings.weight, inner, weight, problems);
        }
        "snmp_name" => {
            let name = scalar::one(inner, "a name", problems).map(str::to_owned);
            scalar::set(&mut settings.snmp_name, inner, name, problems);
        }
        _ => return asides::take_timing(inner, &mut settings.timing, problems),
    }
    true
}

fn protocol(inner: &Statement, problems: &mut Problems) -> Option<Protocol> {
    match scalar::one(inner, "UDP or TCP", problems)? {
        "UDP" => Some(Protocol::Udp),
        "TCP" => Some(Protocol::Tcp),
        other => {
            let what = format!("protocol {} is none of DNS", quoted(other));
            problems.add(&inner.place, what, "write UDP or TCP");
            None
        }
    }
}

fn method(inner: &Statement, problems: &mut Problems) -> Option<Method> {
    let Some(word) = inner.arguments().first() else {
        return scalar::one(inner, "DR", problems).and(None);
    };
    match word.as_str() {
        "DR" if inner.arguments().len() == 1 => Some(Method::DirectRouting),
        "DR" => scalar::one(inner, "DR", problems).and(None),
        "NAT" => Some(Method::Nat),
        "TUN" => Some(Method::Tunnel),
        other => {
            let what = format!("{} {} is not known", inner.keyword(), quoted(other));
            problems.add(&inner.place, what, "write DR");
            None
        }
    }
}

fn real_server(statement: &Statement, problems: &mut Problems) -> Option<RealServer> {
    let (address, port) = match statement.arguments() {
        [address] => (scalar::address(statement, address, problems), Some(None)),
        [address, port] => {
            let address = scalar::address(statement, address, problems);
            // 0 is how one wrote, once, that it is the virtual server's.
            let is_none = !port.is_empty() && port.bytes().all(|octet| octet == b'0');
            match is_none {
                true => (address, Some(None)),
                false => (address, scalar::port(statement, port, problems).map(Some)),
            }
        }
        _ => {
            let what = "real_server does not say which";
            problems.add(&statement.place, what, "write real_server ADDRESS PORT");
            (None, None)
        }
    };
    let mut settings = Settings::default();
    let mut checks = Vec::new();
    let mut has_bad_check = false;
    for inner in statement.statements() {
        if parse_check::is_check(inner.keyword()) {
            match parse_check::check(inner, problems) {
                Some(check) => checks.push(check),
                None => has_bad_check = true,
            }
            continue;
        }
        if !has_block(inner, false, problems) || in_both(&mut settings, inner, problems) {
            continue;
        }
        if !asides::take(Block::RealServer, inner, &mut settings.asides, problems) {
            unknown(inner, "in real_server", problems);
        }
    }
    Some(RealServer {
        place: statement.place.clone(),
        address: address?,
        port: port?,
        settings,
        checks,
        has_bad_check,
    })
}
