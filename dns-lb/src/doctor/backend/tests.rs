use std::{io, time::Duration};

use hickory_proto::op::ResponseCode;

use Severity::{Error, Info, Skipped, Warning};

use super::*;
use crate::health::{OwnFault, Shortfall, Unreachable};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const RTT: Duration = Duration::from_micros(200);

fn passed() -> Outcome {
    Ending::Passed {
        code: ResponseCode::NoError,
        rtt: RTT,
    }
    .into()
}

fn refused() -> Outcome {
    Ending::Refused { rtt: RTT }.into()
}

fn silent(vip: Option<IpAddr>) -> Outcome {
    Ending::TimedOut { vip, ignored: None }.into()
}

fn found(own: Option<Outcome>, outcome: Outcome, tcp: Option<Outcome>) -> Sheet {
    let server = Server {
        subject: "s/b".to_owned(),
        address: ADDRESS,
        answers: Ok(Answers {
            own,
            vips: vec![ThroughVip {
                vip: VIP,
                protocol: Protocol::Udp,
                outcome,
                tcp,
                asked_return: false,
            }],
        }),
    };
    let mut sheet = Sheet::default();
    judge_server(&server, &mut sheet);
    sheet
}

#[test]
fn a_server_that_answers_has_nothing() {
    let sheet = found(Some(passed()), passed(), Some(passed()));
    assert_eq!(sheet.found(), []);
    assert_eq!(sheet.passed().len(), 8, "{:?}", sheet.passed());
}

#[test]
fn what_comes_through_the_vip_has_a_name() {
    let vip = (VIP, 53).into();
    let rows: [(Ending, &str); 9] = [
        (
            Ending::VipMissing {
                vip: VIP,
                answers_on: Some(ADDRESS),
            },
            "vip-missing",
        ),
        // The diagnosis was lost on the way.
        (
            Ending::TimedOut {
                vip: Some(VIP),
                ignored: None,
            },
            "vip-missing",
        ),
        (
            Ending::WrongSource {
                source: (ADDRESS, 53).into(),
                vip,
                is_own: true,
                rtt: RTT,
            },
            "wrong-source",
        ),
        (Ending::WrongMac { rtt: RTT }, "wrong-mac"),
        (
            Ending::AnsweredByAnother {
                backend: "c".into(),
                mac: MacAddress([2; 6]),
                rtt: RTT,
            },
            "answered-by-another",
        ),
        (
            Ending::NotAccepted {
                code: ResponseCode::ServFail,
                shortfall: Shortfall::Code,
                rtt: RTT,
            },
            "answer-not-accepted",
        ),
        (Ending::Refused { rtt: RTT }, "vip-not-served"),
        (Ending::Malformed { rtt: RTT }, "vip-not-served"),
        (
            Ending::Unreachable {
                why: Unreachable::Icmp {
                    source: ADDRESS,
                    icmp_type: 3,
                    code: 13,
                },
                rtt: RTT,
            },
            "vip-not-served",
        ),
    ];
    for (ending, id) in rows {
        // What comes by TCP says no more.
        let sheet = found(Some(passed()), ending.into(), Some(silent(Some(VIP))));
        assert_eq!(sheet.found(), [(Error, id, "s/b")]);
    }
}

#[test]
fn a_server_that_answers_nowhere_is_silent_once() {
    for (own, outcome) in [
        (silent(None), silent(Some(VIP))),
        (refused(), refused()),
        (refused(), silent(Some(VIP))),
    ] {
        let sheet = found(Some(own), outcome, None);
        assert_eq!(sheet.found(), [(Error, "server-silent", "s/b")]);
    }
    let server = Server {
        subject: "s/b".to_owned(),
        address: ADDRESS,
        answers: Ok(Answers {
            own: Some(refused()),
            vips: [VIP, ADDRESS]
                .map(|vip| ThroughVip {
                    vip,
                    protocol: Protocol::Tcp,
                    outcome: refused(),
                    tcp: None,
                    asked_return: false,
                })
                .into(),
        }),
    };
    let mut sheet = Sheet::default();
    judge_server(&server, &mut sheet);
    assert_eq!(sheet.found(), [(Error, "server-silent", "s/b")]);
}

#[test]
fn a_service_that_takes_tcp_needs_a_server_that_does() {
    for tcp in [refused(), silent(Some(VIP))] {
        let sheet = found(Some(passed()), passed(), Some(tcp));
        assert_eq!(sheet.found(), [(Error, "tcp-closed", "s/b")]);
    }
    let sheet = found(Some(passed()), passed(), None);
    assert_eq!(sheet.found(), []);
    assert!(!sheet.passed().contains(&"tcp-closed"));
}

#[test]
fn a_server_may_serve_the_vip_alone() {
    let sheet = found(Some(refused()), passed(), None);
    assert_eq!(sheet.found(), [(Info, "own-address-silent", "s/b")]);
}

#[test]
fn what_could_not_be_asked_is_skipped() {
    let fault = || {
        Outcome::from(Ending::from(OwnFault::Socket {
            operation: crate::health::Operation::Send,
            error: io::Error::from_raw_os_error(libc::EPERM),
        }))
    };
    let sheet = found(Some(passed()), fault(), None);
    assert_eq!(sheet.found(), [(Skipped, "vip-missing", "s/b")]);
    let sheet = found(Some(fault()), passed(), Some(fault()));
    let expected = [
        (Skipped, "tcp-closed", "s/b"),
        (Skipped, "own-address-silent", "s/b"),
    ];
    assert_eq!(sheet.found(), expected);

    let server = Server {
        subject: "s/b".to_owned(),
        address: ADDRESS,
        answers: Err("where it is on the link is not known".to_owned()),
    };
    let mut sheet = Sheet::default();
    judge_server(&server, &mut sheet);
    assert_eq!(sheet.found(), [(Skipped, "server-silent", "s/b")]);
}

#[test]
fn silence_of_a_made_up_address_proves_nothing() {
    for (return_path, asked_return, expected) in [
        (Some(true), true, vec![]),
        (None, false, vec![]),
        (None, true, vec![(Skipped, "wrong-mac", "s/b")]),
    ] {
        let through = ThroughVip {
            vip: VIP,
            protocol: Protocol::Udp,
            outcome: passed().returning(return_path),
            tcp: None,
            asked_return,
        };
        let mut sheet = Sheet::default();
        judge_return("s/b", &through, &mut sheet);
        assert_eq!(sheet.found(), expected);
    }
}

/// Two backends, the second as given.
fn places(
    second: Result<MacAddress, Unresolved>,
    is_own_mac: bool,
    local: bool,
    can_resolve: bool,
) -> Sheet {
    let local = if local { "local = true" } else { "" };
    let config = Config::parse(&format!(
        "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.200\"]\n\
         [[service.backend]]\nname = \"a\"\naddress = \"192.0.2.2\"\n\
         [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.1\"\n{local}\n"
    ))
    .expect("a configuration");
    let first = Place {
        found: Ok(MacAddress([2, 0, 0, 0, 0, 2])),
        is_own_mac: false,
    };
    let second = Place {
        found: second,
        is_own_mac,
    };
    let mut sheet = Sheet::default();
    judge_places(&config, &[vec![first, second]], can_resolve, &mut sheet);
    sheet
}

#[test]
fn a_backend_is_on_the_link_and_another_host() {
    let mac = |last| Ok(MacAddress([2, 0, 0, 0, 0, last]));
    let interface = || "eth0".to_owned();
    let gateway = ADDRESS;
    for (found, is_own_mac, local, expected) in [
        (mac(3), false, false, vec![]),
        (
            mac(2),
            false,
            false,
            vec![(Warning, "backend-same-mac", "s")],
        ),
        (
            mac(1),
            true,
            false,
            vec![(Error, "backend-is-this-host", "s/b")],
        ),
        (
            Err(Unresolved::OwnAddress),
            false,
            false,
            vec![(Error, "backend-is-this-host", "s/b")],
        ),
        (Err(Unresolved::OwnAddress), false, true, vec![]),
        (
            mac(3),
            false,
            true,
            vec![(Error, "backend-not-local", "s/b")],
        ),
        (
            Err(Unresolved::BehindGateway { gateway }),
            false,
            false,
            vec![(Error, "backend-behind-gateway", "s/b")],
        ),
        (
            Err(Unresolved::NoRoute),
            false,
            false,
            vec![(Error, "backend-not-found", "s/b")],
        ),
        (
            Err(Unresolved::Failed {
                interface: interface(),
            }),
            false,
            false,
            vec![(Error, "backend-not-found", "s/b")],
        ),
        (
            Err(Unresolved::Resolving {
                interface: interface(),
            }),
            false,
            false,
            vec![(Error, "backend-not-found", "s/b")],
        ),
    ] {
        let sheet = places(found.clone(), is_own_mac, local, true);
        assert_eq!(sheet.found(), expected, "{found:?}");
    }
}

#[test]
fn who_may_not_have_the_kernel_ask_knows_nothing() {
    let interface = || "eth0".to_owned();
    for (found, expected) in [
        (
            Unresolved::Resolving {
                interface: interface(),
            },
            Skipped,
        ),
        (
            Unresolved::Failed {
                interface: interface(),
            },
            Error,
        ),
    ] {
        let sheet = places(Err(found), false, false, false);
        assert_eq!(sheet.found(), [(expected, "backend-not-found", "s/b")]);
    }
}
