use Severity::{Error, Info, Skipped, Warning};

use super::{
    egress::{Traffic, judge_sending},
    *,
};
use crate::doctor::{Peer, agent::Said};

fn config(head: &str) -> Config {
    Config::parse(&format!(
        "interfaces = [\"eth0\"]\n{head}\n\
         [[service]]\nname = \"s\"\nvips = [\"192.0.2.200\"]\n\
         [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n"
    ))
    .expect("a configuration")
}

/// An interface that is as it should be, with our program on it.
pub(in crate::doctor) fn healthy() -> Interface {
    Interface {
        index: 2,
        mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        is_up: true,
        is_running: true,
        mtu: 1500,
        attached: Some(Attached {
            is_native: true,
            program: 7,
        }),
        xdp_features: Some(NATIVE | SENDS | SEVERAL_BUFFERS),
        offloads: Ok(BTreeSet::new()),
        kind: None,
        is_promiscuous: false,
        vlans: vec![],
        settings: Settings {
            rp_filter: Ok(0),
            arp_ignore: Ok(0),
            arp_announce: Ok(0),
        },
    }
}

fn judged(head: &str, programs: Option<&[u32]>, agent_runs: bool, eth0: Interface) -> Sheet {
    let config = config(head);
    let context = Context {
        config: &config,
        program: programs.map(|programs| programs.iter().copied().collect()),
        agent_runs,
    };
    let mut sheet = Sheet::default();
    let interfaces = [("eth0".to_owned(), eth0)].into();
    judge(&context, &interfaces, &mut sheet);
    judge_egress(
        &context,
        &interfaces,
        &["eth0".to_owned()].into(),
        &mut sheet,
    );
    sheet
}

#[test]
fn an_interface_as_it_should_be_has_nothing() {
    let sheet = judged("", Some(&[7]), true, healthy());
    assert_eq!(sheet.found(), []);
    assert_eq!(sheet.passed().len(), 13, "{:?}", sheet.passed());
}

#[test]
fn what_an_interface_lacks_is_named() {
    type Change = fn(&mut Interface);
    let offload = |name: &str| Ok([name.to_owned()].into());
    let rows: [(Change, Severity, &str); 11] = [
        (|it| it.is_running = false, Error, "interface-down"),
        (|it| it.is_up = false, Error, "interface-down"),
        (|it| it.mac = None, Error, "interface-not-ethernet"),
        (
            |it| it.kind = Some("bridge".into()),
            Warning,
            "interface-above",
        ),
        (
            |it| it.kind = Some("vlan".into()),
            Warning,
            "interface-above",
        ),
        (|it| it.is_promiscuous = true, Warning, "promiscuous"),
        (|it| it.attached = None, Error, "xdp-not-attached"),
        (
            |it| it.attached.as_mut().unwrap().program = 8,
            Error,
            "xdp-foreign",
        ),
        (
            |it| it.attached.as_mut().unwrap().is_native = false,
            Warning,
            "xdp-generic",
        ),
        (
            |it| it.settings.rp_filter = Ok(1),
            Warning,
            "rp-filter-strict",
        ),
        (
            |it| it.settings.rp_filter = Err(String::new()),
            Skipped,
            "rp-filter-strict",
        ),
    ];
    for (change, severity, id) in rows {
        let mut eth0 = healthy();
        change(&mut eth0);
        let sheet = judged("", Some(&[7]), true, eth0.clone());
        assert_eq!(sheet.found(), [(severity, id, "eth0")], "{eth0:?}");
    }
    for feature in ["rx-lro", "rx-gro-hw"] {
        let eth0 = Interface {
            offloads: offload(feature),
            ..healthy()
        };
        let sheet = judged("", Some(&[7]), true, eth0);
        assert_eq!(sheet.found(), [(Warning, "lro-on", "eth0")]);
    }
    for (vlans, found) in [(vec![], 0), (vec!["eth0.10".to_owned()], 1)] {
        let eth0 = Interface {
            offloads: offload("rx-vlan-hw-parse"),
            vlans,
            ..healthy()
        };
        let sheet = judged("", Some(&[7]), true, eth0);
        let expected = [(Warning, "vlan-offload", "eth0")];
        assert_eq!(sheet.found(), expected[..found]);
    }
}

#[test]
fn an_interface_that_is_not_there_is_all_that_is_said() {
    let config = config("");
    let context = Context {
        config: &config,
        program: None,
        agent_runs: true,
    };
    let mut sheet = Sheet::default();
    judge(&context, &BTreeMap::new(), &mut sheet);
    assert_eq!(sheet.found(), [(Error, "interface-missing", "eth0")]);
    assert_eq!(sheet.passed().len(), 0);
}

#[test]
fn what_xdp_sends_has_to_be_taken() {
    let veth = || Some("veth".to_owned());
    let bridge = || Some("bridge".to_owned());
    let takes = Some(NATIVE | SENDS);
    let refuses = Some(NATIVE);
    for (kind, features, traffic, expected) in [
        (None, takes, Traffic::Across, None),
        (None, refuses, Traffic::None, None),
        (None, refuses, Traffic::Back, None),
        (None, refuses, Traffic::Across, Some(Warning)),
        (None, None, Traffic::Back, None),
        (None, None, Traffic::Across, Some(Skipped)),
        (veth(), takes, Traffic::Back, None),
        (veth(), refuses, Traffic::None, Some(Info)),
        (veth(), refuses, Traffic::Back, Some(Error)),
        (veth(), refuses, Traffic::Across, Some(Error)),
        (veth(), None, Traffic::Back, Some(Skipped)),
        (veth(), refuses, Traffic::Stack, None),
        (bridge(), Some(0), Traffic::Across, Some(Error)),
        (bridge(), None, Traffic::Across, Some(Error)),
        (bridge(), Some(0), Traffic::Stack, None),
    ] {
        let eth0 = Interface {
            kind: kind.clone(),
            xdp_features: features,
            ..healthy()
        };
        let mut sheet = Sheet::default();
        judge_sending("eth0", &eth0, traffic, &mut sheet);
        let found = sheet.found().first().map(|found| found.0);
        assert_eq!(found, expected, "{kind:?} {features:?} {traffic:?}");
    }
}

/// Generic XDP sends by any device, however long the frames are that it is given.
#[test]
fn what_native_xdp_wants_generic_does_not() {
    let veth = Interface {
        kind: Some("veth".to_owned()),
        mtu: 9_000,
        xdp_features: Some(NATIVE),
        ..healthy()
    };
    let attached = |is_native| {
        let program = 7;
        Some(Attached { is_native, program })
    };
    let native = [(Error, "xdp-cannot-send", "eth0")];
    let slow = [(Warning, "xdp-generic", "eth0")];
    for (head, is_native, expected) in [
        ("", true, &native[..]),
        ("", false, &slow),
        ("xdp_mode = \"generic\"", false, &[]),
    ] {
        let eth0 = Interface {
            attached: attached(is_native),
            ..veth.clone()
        };
        let sheet = judged(head, Some(&[7]), true, eth0);
        assert_eq!(sheet.found(), expected, "{head} {is_native}");
    }
}

#[test]
fn the_mode_that_it_would_be_is_known_without_an_agent() {
    for (head, features, expected) in [
        ("", Some(NATIVE | SENDS), None),
        ("", Some(SENDS), Some(Warning)),
        ("xdp_mode = \"native\"", Some(SENDS), Some(Error)),
        ("xdp_mode = \"generic\"", Some(SENDS), None),
        ("", None, Some(Skipped)),
    ] {
        let eth0 = Interface {
            attached: None,
            xdp_features: features,
            ..healthy()
        };
        let sheet = judged(head, Some(&[]), false, eth0);
        let found = sheet.found();
        let found = found.iter().find(|(_, id, _)| *id == "xdp-generic");
        assert_eq!(found.map(|found| found.0), expected, "{head} {features:?}");
    }
}

#[test]
fn large_frames_need_several_buffers() {
    for (mtu, features, is_ours, expected) in [
        (ONE_BUFFER, NATIVE | SENDS, false, None),
        (9_000, NATIVE | SENDS | SEVERAL_BUFFERS, false, None),
        (ONE_BUFFER + 1, NATIVE | SENDS, false, Some(Warning)),
        // The driver has taken the program as it is.
        (9_000, NATIVE | SENDS, true, None),
    ] {
        let mut eth0 = Interface {
            mtu,
            xdp_features: Some(features),
            ..healthy()
        };
        if !is_ours {
            eth0.attached = None;
        }
        let sheet = judged("", Some(&[7]), is_ours, eth0);
        let found = sheet.found();
        let found = found.iter().find(|(_, id, _)| *id == "mtu-too-large");
        assert_eq!(found.map(|found| found.0), expected, "{mtu} {features}");
    }
}

#[test]
fn what_leaves_by_another_interface_has_to_fit_it() {
    let config = config("");
    let context = Context {
        config: &config,
        program: Some([7].into()),
        agent_runs: true,
    };
    let other = |mtu| Interface { mtu, ..healthy() };
    for (mtu, expected) in [
        (1500, vec![]),
        (9000, vec![]),
        (1400, vec![(Warning, "mtu-mismatch", "eth1")]),
    ] {
        let interfaces = [
            ("eth0".to_owned(), healthy()),
            ("eth1".to_owned(), other(mtu)),
        ]
        .into();
        let mut sheet = Sheet::default();
        judge_egress(
            &context,
            &interfaces,
            &["eth1".to_owned()].into(),
            &mut sheet,
        );
        assert_eq!(sheet.found(), expected);
    }
}

#[test]
fn whose_a_program_is_is_said_only_where_it_is_known() {
    let sheet = judged("", None, true, healthy());
    assert_eq!(sheet.found(), [(Skipped, "xdp-foreign", "eth0")]);

    let pinned = |program_id| {
        Ok(Pinned {
            version: 4,
            program_id,
        })
    };
    let agent = |http| Agent {
        listen: "127.0.0.1:8053".parse().unwrap(),
        http,
        socket: "/run/dns-lb/admin.sock".into(),
        peer: Peer::Absent(String::new()),
    };
    let said = || {
        Ok(Said {
            version: String::new(),
            programs: vec![8],
        })
    };
    let none = || Err(String::new());
    assert_eq!(own_programs(&Err(String::new()), &agent(none())), None);
    assert_eq!(own_programs(&pinned(None), &agent(none())), Some([].into()));
    assert_eq!(
        own_programs(&pinned(Some(7)), &agent(said())),
        Some([7, 8].into())
    );
    assert_eq!(
        own_programs(&Err(String::new()), &agent(said())),
        Some([8].into())
    );
}

#[test]
fn without_an_agent_it_is_only_worth_a_word_that_nothing_is_steered() {
    let eth0 = Interface {
        attached: None,
        ..healthy()
    };
    let sheet = judged("", Some(&[]), false, eth0);
    assert_eq!(sheet.found(), [(Info, "xdp-not-attached", "eth0")]);
}
