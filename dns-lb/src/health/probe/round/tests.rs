use std::net::IpAddr;

use super::{
    super::{LinkReach, ways::source},
    *,
};
use crate::{
    config::ProbePath,
    health::{
        BackendKey,
        link::{LinkError, Operation},
        testing::check_with,
    },
    mac::MacAddress,
};

const VIP: &str = "192.0.2.1";
const REAL: &str = "192.0.2.11";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(sources: &[&str]) -> LinkReach {
    LinkReach {
        // Has a carrier anywhere.
        interface: "lo".to_owned(),
        ifindex: 1,
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        sources: sources.iter().map(|source| address(source)).collect(),
    }
}

fn reach(sources: &[&str]) -> Reach {
    Reach {
        link: Some(link(sources)),
        ..Reach::default()
    }
}

fn target(vips: &[&str]) -> Target {
    Target {
        backend: BackendKey {
            service: "s".into(),
            backend: "b".into(),
        },
        address: address(REAL),
        port: 53,
        vips: vips.iter().map(|vip| address(vip)).collect(),
        local: false,
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn passed(milliseconds: u32) -> Ending {
    Ending::Passed {
        code: ResponseCode::NoError,
        rtt: milliseconds * MILLISECOND,
    }
}

fn silent(vip: Option<&str>) -> Ending {
    Ending::TimedOut {
        vip: vip.map(address),
        ignored: None,
    }
}

fn refused() -> Ending {
    Ending::Refused { rtt: MILLISECOND }
}

fn own_fault() -> Ending {
    OwnFault::Link(LinkError {
        operation: Operation::OpenPacketSocket,
        error: std::io::Error::from_raw_os_error(libc::EPERM),
    })
    .into()
}

fn ask(way: usize, protocol: usize, question: usize) -> Errand {
    Errand::Ask {
        way,
        protocol,
        question,
    }
}

/// Plays findings in this order until the round is over, and gives the outcome and how many it took.
fn play(
    settings: &str,
    vips: &[&str],
    extra: Extra,
    findings: Vec<(Errand, Found)>,
) -> (Outcome, usize) {
    let check = check_with(settings);
    let (prober, target) = (Prober::new(), target(vips));
    let reach = reach(&["192.0.2.100"]);
    let (ways, _) = ways(&target, check.path, &reach, false).unwrap();
    let round = Round {
        asker: Asker {
            prober: &prober,
            target: &target,
            reach: &reach,
            deadline: Instant::now(),
            serials_count_for: Duration::ZERO,
        },
        check: &check,
        ways,
        protocols: match check.transport {
            Transport::Both => &[Protocol::Udp, Protocol::Tcp],
            _ => &[Protocol::Udp],
        },
    };
    let errands = round.errands(extra);
    let mut tally = Tally::new(&round, &errands);
    let mut taken = 0;
    for (errand, found) in findings {
        assert!(!tally.is_over());
        tally.take(errand, found);
        taken += 1;
        if tally.is_over() {
            break;
        }
    }
    (tally.outcome(), taken)
}

/// The same with answers alone.
fn play_endings(settings: &str, vips: &[&str], endings: Vec<(Errand, Ending)>) -> (Outcome, usize) {
    let findings = endings
        .into_iter()
        .map(|(errand, ending)| (errand, Found::Ending(ending.into())));
    play(settings, vips, Extra::default(), findings.collect())
}

#[test]
fn a_round_passes_when_every_way_does_and_is_as_slow_as_the_slowest() {
    let vips = [VIP, "192.0.2.2"];
    let both = "transport = \"both\"";
    let (outcome, taken) = play_endings(
        both,
        &vips,
        vec![
            (ask(1, 1, 0), passed(2)),
            (ask(0, 0, 0), passed(9)),
            (ask(0, 1, 0), passed(3)),
            (ask(1, 0, 0), passed(1)),
        ],
    );
    assert_eq!((outcome.to_string().as_str(), taken), ("NOERROR", 4));
    assert_eq!(outcome.rtt(), Some(9 * MILLISECOND));

    let (outcome, taken) = play_endings(
        both,
        &vips,
        vec![(ask(1, 1, 0), refused()), (ask(0, 0, 0), passed(9))],
    );
    assert_eq!(
        (outcome.to_string().as_str(), taken),
        ("port refused (192.0.2.2, TCP)", 1)
    );
}

#[test]
fn a_fault_of_our_own_decides_only_where_nothing_fails() {
    let settings = "path = \"both\"";
    let (outcome, _) = play_endings(
        settings,
        &[VIP],
        vec![(ask(0, 0, 0), own_fault()), (ask(1, 0, 0), passed(1))],
    );
    assert!(outcome.is_own_fault());
    assert_eq!(
        outcome.to_string(),
        format!(
            "cannot open a packet socket on the interface: Operation not permitted (os error 1); \
             probes through the VIP need CAP_NET_RAW ({VIP})"
        )
    );
    let (outcome, _) = play_endings(
        settings,
        &[VIP],
        vec![(ask(0, 0, 0), own_fault()), (ask(1, 0, 0), refused())],
    );
    assert_eq!(outcome.to_string(), format!("port refused ({REAL})"));
}

#[test]
fn a_vip_that_is_silent_where_the_own_address_answers_is_missing() {
    let missing = format!("answers on {REAL}, not on the VIP {VIP}: is it on the loopback?");
    let diagnosing = Extra {
        diagnose: true,
        ..Extra::default()
    };
    for (real, text) in [
        (passed(1), missing.as_str()),
        (silent(None), "timeout"),
        (refused(), "timeout"),
        (own_fault(), "timeout"),
    ] {
        let findings = vec![
            (Errand::Diagnose, Found::Ending(real.into())),
            (ask(0, 0, 0), Found::Ending(silent(Some(VIP)).into())),
        ];
        let (outcome, _) = play("", &[VIP], diagnosing, findings);
        assert_eq!(outcome.to_string(), text);
        assert!(outcome.suggests_diagnosis());
    }
    // It never makes a failure of a pass, nor is it waited for.
    let findings = vec![(ask(0, 0, 0), Found::Ending(passed(1).into()))];
    let (outcome, _) = play("", &[VIP], diagnosing, findings);
    assert!(outcome.passed());
    let findings = vec![
        (Errand::Diagnose, Found::Ending(refused().into())),
        (ask(0, 0, 0), Found::Ending(passed(1).into())),
    ];
    let (outcome, _) = play("", &[VIP], diagnosing, findings);
    assert!(outcome.passed());
    // Where both ways are asked anyway, the one tells of the other.
    let endings = vec![(ask(1, 0, 0), passed(1)), (ask(0, 0, 0), silent(Some(VIP)))];
    let (outcome, _) = play_endings("path = \"both\"", &[VIP], endings);
    assert_eq!(outcome.to_string(), format!("{missing} ({VIP})"));
    assert_eq!(outcome.cause(), "vip_missing");
}

#[test]
fn a_server_that_answers_to_the_querys_mac_address_fails() {
    let extra = Extra {
        check_return: true,
        ..Extra::default()
    };
    for (way, text) in [
        (Some(true), "NOERROR"),
        (None, "NOERROR"),
        (
            Some(false),
            "answered to the MAC address that the query came from, not to the client's",
        ),
    ] {
        let findings = vec![
            (ask(0, 0, 0), Found::Ending(passed(1).into())),
            (Errand::CheckReturn { way: 0 }, Found::ReturnPath(way)),
        ];
        let (outcome, taken) = play("", &[VIP], extra, findings);
        assert_eq!(taken, 2);
        assert_eq!(outcome.to_string(), text);
        assert_eq!(outcome.return_path(), way);
        assert_eq!(outcome.passed(), way != Some(false));
    }
    // A failure does not wait for it.
    let findings = vec![(ask(0, 0, 0), Found::Ending(refused().into()))];
    let (outcome, _) = play("", &[VIP], extra, findings);
    assert_eq!(outcome.cause(), "refused");
    assert_eq!(outcome.return_path(), None);
}

#[test]
fn silence_where_there_is_no_carrier_is_our_own_fault() {
    let check = check_with("");
    let (prober, target) = (Prober::new(), target(&[VIP]));
    // Not even an interface: nothing is known of its carrier.
    let mut reach = reach(&["192.0.2.100"]);
    reach.link.as_mut().unwrap().interface = "no-such-link".to_owned();
    let (ways, _) = ways(&target, check.path, &reach, false).unwrap();
    let round = Round {
        asker: Asker {
            prober: &prober,
            target: &target,
            reach: &reach,
            deadline: Instant::now(),
            serials_count_for: Duration::ZERO,
        },
        check: &check,
        ways,
        protocols: &[Protocol::Udp],
    };
    let mut tally = Tally::new(&round, &[]);
    let found = Found::Ending(silent(Some(VIP)).into());
    tally.take(ask(0, 0, 0), found);
    assert_eq!(tally.outcome().cause(), "timeout");
}

#[test]
fn a_vip_is_asked_from_an_address_of_its_family_and_scope() {
    for (sources, vip, wanted) in [
        (&["192.0.2.3", "2001:db8::3"][..], VIP, Some("192.0.2.3")),
        (
            &["fe80::3", "2001:db8::3"],
            "2001:db8::1",
            Some("2001:db8::3"),
        ),
        (&["2001:db8::3", "fe80::3"], "fe80::1", Some("fe80::3")),
        (&["fe80::3"], "2001:db8::1", Some("fe80::3")),
        (&["192.0.2.3"], "2001:db8::1", None),
    ] {
        assert_eq!(source(&link(sources), address(vip)), wanted.map(address));
    }
}

#[test]
fn a_vip_of_a_family_that_this_host_lacks_is_asked_on_the_own_address() {
    let (target, reach) = (
        target(&[VIP, "2001:db8::1", "2001:db8::2"]),
        reach(&["192.0.2.3"]),
    );
    let (ways, unasked) = ways(&target, ProbePath::Vip, &reach, false).unwrap();
    let asked: Vec<_> = ways.iter().map(|way| way.address()).collect();
    assert_eq!(asked, [address(VIP), address(REAL)]);
    assert!(matches!(ways[1], Way::StandIn { .. }));
    let (trusted, _) = super::ways(&target, ProbePath::Vip, &reach, true).unwrap();
    assert!(
        matches!(trusted[1], Way::Real { .. }),
        "it has answered there"
    );
    let mut outcome = Outcome::from(passed(1));
    outcome.unasked = unasked;
    assert_eq!(
        outcome.to_string(),
        "NOERROR; 2001:db8::1 not asked itself: no IPv6 address on lo"
    );
}

#[test]
fn what_stands_in_for_a_vip_may_pass_and_its_failure_is_our_own_fault() {
    let vips = [VIP, "2001:db8::1"];
    let lack = "no own IPv6 address on lo to ask the VIP 2001:db8::1 from";
    for (endings, text) in [
        ([passed(1), passed(1)], "NOERROR"),
        ([refused(), passed(1)], lack),
        ([silent(None), passed(1)], lack),
        ([refused(), refused()], "port refused (192.0.2.1)"),
    ] {
        let [stand_in, vip] = endings;
        let endings = vec![(ask(1, 0, 0), stand_in), (ask(0, 0, 0), vip)];
        let (outcome, taken) = play_endings("", &vips, endings);
        assert_eq!((outcome.to_string().as_str(), taken), (text, 2));
        assert_eq!(outcome.is_own_fault(), text == lack);
    }
    // Where the own address is to be asked anyway, it must answer.
    let endings = vec![(ask(1, 0, 0), refused())];
    let (outcome, _) = play_endings("path = \"both\"", &vips, endings);
    assert_eq!(outcome.cause(), "refused");
}
