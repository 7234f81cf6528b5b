//! Checks of a real server. Those that ask nothing that DNS answers are refused, with what to put in
//! their place.

use hickory_proto::rr::RecordType;

use super::{
    asides::{self, Block},
    ast::{Check, CheckKind, Settings},
    command,
    parse::{has_block, unknown},
    scalar::{self, quoted},
    tree::Statement,
};
use crate::import::problem::Problems;

/// Checks that cannot be translated, and what to do.
const REFUSED: &[(&str, &str)] = &[
    ("HTTP_GET", WEB),
    ("SSL_GET", WEB),
    (
        "SMTP_CHECK",
        "write DNS_CHECK: dns-lb balances DNS alone, and asks DNS questions alone",
    ),
    (
        "FILE_CHECK",
        "remove it, and use `dns-lb drain`, `weight` and `enable` for what was written into the file",
    ),
    (
        "BFD_CHECK",
        "remove it: probes and the kernel's neighbour table tell within a second",
    ),
    ("GENHASH", WEB),
];
const WEB: &str =
    "write DNS_CHECK in its place: a web server on the same host says nothing of its DNS";

/// Whether a word is that of a check.
pub(super) fn is_check(keyword: &str) -> bool {
    matches!(
        keyword,
        "MISC_CHECK" | "DNS_CHECK" | "TCP_CHECK" | "PING_CHECK" | "UDP_CHECK"
    ) || REFUSED.iter().any(|(word, _)| *word == keyword)
}

/// Reads a check.
pub(super) fn check(statement: &Statement, problems: &mut Problems) -> Option<Check> {
    let keyword = statement.keyword();
    if let Some((_, remedy)) = REFUSED.iter().find(|(word, _)| *word == keyword) {
        let what = format!("{keyword} cannot be translated");
        problems.add(&statement.place, what, *remedy);
        return None;
    }
    if let [more, ..] = statement.arguments() {
        let what = format!("{} is not understood after {keyword}", quoted(more));
        problems.add(&statement.place, what, "remove it");
    }
    if !has_block(statement, true, problems) {
        return None;
    }
    let block = match keyword {
        "MISC_CHECK" => Block::MiscCheck,
        "UDP_CHECK" => Block::UdpCheck,
        _ => Block::ConnectionCheck,
    };
    let mut check = Check {
        place: statement.place.clone(),
        kind: CheckKind::Tcp,
        connect_ip: None,
        connect_port: None,
        settings: Settings::default(),
    };
    // What is of one kind alone.
    let mut name = None;
    let mut record_type = None;
    let mut command_line = None;
    let mut timeout = None;
    for inner in statement.statements() {
        if !has_block(inner, false, problems) {
            continue;
        }
        match (keyword, inner.keyword()) {
            ("DNS_CHECK", "name") => {
                let value = dns_name(inner, problems);
                scalar::set(&mut name, inner, value, problems);
            }
            ("DNS_CHECK", "type") => {
                let value = dns_type(inner, problems);
                scalar::set(&mut record_type, inner, value, problems);
            }
            ("MISC_CHECK", "misc_path") => {
                let read = command::read(&inner.raw);
                if let Err(wrong) = &read {
                    let what = format!("misc_path {wrong}");
                    problems.add(&inner.place, what, "write the command between two \"");
                }
                scalar::set(&mut command_line, inner, read.ok(), problems);
            }
            ("MISC_CHECK", "misc_timeout") => {
                let value = scalar::number(inner, 0..=86_400, problems);
                scalar::set(&mut timeout, inner, value, problems);
            }
            ("MISC_CHECK", "misc_dynamic") => {
                let what = "misc_dynamic makes a weight of the exit code, and dns-lb runs no program; \
                            dig's 9, no answer, would be a success with weight 7";
                problems.add(&inner.place, what, "remove it");
            }
            ("MISC_CHECK", "connect_timeout") => {
                unknown(inner, "in MISC_CHECK", problems);
            }
            (_, "connect_ip") if block != Block::MiscCheck => {
                let value = scalar::one(inner, "an address", problems);
                let value = value.and_then(|text| scalar::address(inner, text, problems));
                scalar::set(&mut check.connect_ip, inner, value, problems);
            }
            (_, "connect_port") if block != Block::MiscCheck => {
                let value = scalar::one(inner, "a port", problems);
                let value = value.and_then(|text| scalar::port(inner, text, problems));
                scalar::set(&mut check.connect_port, inner, value, problems);
            }
            _ if asides::take_timing(inner, &mut check.settings.timing, problems) => {}
            _ => {
                let asides = &mut check.settings.asides;
                if !asides::take(block, inner, asides, problems) {
                    unknown(inner, &format!("in {keyword}"), problems);
                }
            }
        }
    }
    check.kind = match keyword {
        "DNS_CHECK" => CheckKind::Dns {
            name: name.map_or_else(|| ".".to_owned(), |name| name.value),
            record_type: record_type.map_or(RecordType::SOA, |record_type| record_type.value),
        },
        "MISC_CHECK" => {
            let Some(command) = command_line else {
                if !statement
                    .statements()
                    .iter()
                    .any(|inner| inner.keyword() == "misc_path")
                {
                    let what = "MISC_CHECK has no misc_path";
                    problems.add(&statement.place, what, "add one, or remove the check");
                }
                return None;
            };
            CheckKind::Misc { command, timeout }
        }
        "PING_CHECK" => CheckKind::Alive("PING_CHECK"),
        "UDP_CHECK" => CheckKind::Alive("UDP_CHECK"),
        _ => CheckKind::Tcp,
    };
    Some(check)
}

fn dns_name(inner: &Statement, problems: &mut Problems) -> Option<String> {
    let name = scalar::one(inner, "a name", problems)?;
    if name.contains('%') || hickory_proto::rr::Name::from_ascii(name).is_err() {
        let what = format!("{} is no name to ask for", quoted(name));
        problems.add(&inner.place, what, "write a domain name, or .");
        return None;
    }
    Some(name.to_owned())
}

fn dns_type(inner: &Statement, problems: &mut Problems) -> Option<RecordType> {
    let word = scalar::one(inner, "a type such as SOA", problems)?;
    let known = [
        ("A", RecordType::A),
        ("NS", RecordType::NS),
        ("CNAME", RecordType::CNAME),
        ("SOA", RecordType::SOA),
        ("MX", RecordType::MX),
        ("TXT", RecordType::TXT),
        ("AAAA", RecordType::AAAA),
        ("RRSIG", RecordType::RRSIG),
        ("DNSKEY", RecordType::DNSKEY),
    ];
    let found = known
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    if found.is_none() {
        let what = format!("DNS_CHECK's type {} is none of keepalived's", quoted(word));
        let remedy = "write A, NS, CNAME, SOA, MX, TXT, AAAA, RRSIG or DNSKEY";
        problems.add(&inner.place, what, remedy);
    }
    found.map(|(_, record_type)| record_type)
}
