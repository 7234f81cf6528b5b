//! What is said of a server that is down, or cannot be asked, is in the tables for who operates.

use super::*;
use crate::{health::link, neighbor::Unresolved};

const PAGE: &str = include_str!("../../../../../docs/operating.md");

/// The words in the first columns of the page, with `…` for anything.
fn patterns() -> Vec<&'static str> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        // The last one ends the text.
        let Some(at) = rest.rfind(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || pattern.ends_with('…')
}

fn failures() -> Vec<Ending> {
    let rtt = Duration::ZERO;
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let vip = address("192.0.2.200:53");
    let wrong_source = |source, is_own| Ending::WrongSource {
        source: address(source),
        vip,
        is_own,
        rtt,
    };
    let lacks = |shortfall| Ending::NotAccepted {
        code: ResponseCode::ServFail,
        shortfall,
        rtt,
    };
    let eth0 = || "eth0".to_owned();
    let not_found = |why: Unresolved| Ending::NotFound {
        why: why.to_string().into(),
    };
    let ignored = Some(Ignored::WrongId);
    vec![
        lacks(Shortfall::Code),
        lacks(Shortfall::NotAuthoritative),
        lacks(Shortfall::Truncated),
        lacks(Shortfall::TooFewAnswers {
            answers: 0,
            wanted: 1,
        }),
        lacks(Shortfall::ValueMissing),
        lacks(Shortfall::SerialMissing),
        lacks(Shortfall::SerialBehind {
            serial: 1,
            lag: 1,
            highest: 2,
        }),
        Ending::Malformed { rtt },
        Ending::Refused { rtt },
        Ending::Closed { ignored: None, rtt },
        Ending::Closed { ignored, rtt },
        Ending::Unreachable {
            why: Unreachable::Kernel(io::ErrorKind::HostUnreachable.into()),
            rtt,
        },
        Ending::Unreachable {
            why: Unreachable::Icmp {
                source: vip.ip(),
                icmp_type: 3,
                code: 13,
            },
            rtt,
        },
        Ending::TimedOut {
            vip: None,
            ignored: None,
        },
        Ending::TimedOut { vip: None, ignored },
        wrong_source("192.0.2.1:53", true),
        wrong_source("192.0.2.9:53", false),
        wrong_source("192.0.2.200:5353", false),
        Ending::WrongMac { rtt },
        Ending::AnsweredByAnother {
            backend: "dns2".into(),
            mac: MacAddress([2, 0, 0, 0, 0, 2]),
            rtt,
        },
        Ending::VipMissing {
            vip: vip.ip(),
            answers_on: Some(vip.ip()),
        },
        Ending::VipMissing {
            vip: vip.ip(),
            answers_on: None,
        },
        not_found(Unresolved::NoRoute),
        not_found(Unresolved::OwnAddress),
        not_found(Unresolved::BehindGateway { gateway: vip.ip() }),
        not_found(Unresolved::NotEthernet { interface: eth0() }),
        not_found(Unresolved::Failed { interface: eth0() }),
    ]
}

fn own_faults() -> Vec<OwnFault> {
    let denied = || io::Error::from_raw_os_error(libc::EPERM);
    vec![
        OwnFault::NoSource {
            vip: "2001:db8::53".parse().unwrap(),
            interface: "eth0".into(),
        },
        OwnFault::NotLocated,
        OwnFault::NoCarrier {
            interface: "eth0".into(),
        },
        OwnFault::NoDescriptor,
        OwnFault::Socket {
            operation: Operation::Connect,
            error: denied(),
        },
        OwnFault::Link(LinkError {
            operation: link::Operation::OpenPacketSocket,
            error: denied(),
        }),
    ]
}

#[test]
fn the_page_for_operators_has_all_that_is_said() {
    let patterns = patterns();
    let failures = failures();
    let faults = own_faults();
    let said = failures.iter().map(ToString::to_string);
    for text in said.chain(faults.iter().map(ToString::to_string)) {
        // Rows that match anything say nothing.
        let words = |pattern: &&&str| pattern.chars().filter(|c| c.is_alphabetic()).count() > 5;
        let found = patterns.iter().filter(words);
        let found: Vec<_> = found.filter(|pattern| matches(pattern, &text)).collect();
        assert!(
            !found.is_empty(),
            "docs/operating.md has no row for: {text}"
        );
    }
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (pattern, text, expected) in [
        ("a … c", "a b c", true),
        ("a … c", "a b c d", false),
        ("a …", "a b", true),
        ("a", "a b", false),
        ("… b", "a b", true),
        ("… b …", "a b c", true),
        ("… b …", "a c", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
