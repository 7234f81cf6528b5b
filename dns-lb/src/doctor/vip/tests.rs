use Severity::{Error, Info, Skipped, Warning};

use super::*;
use crate::doctor::interface::tests::healthy;

const BACKEND: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xc9]);
const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const STRANGER: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x99]);

const V4: &str = "192.0.2.200";
const V6: &str = "2001:db8::53";

struct Scene {
    vip: &'static str,
    /// Where this host has it.
    own: &'static [(&'static str, AddressState)],
    arp_ignore: u8,
    has_local: bool,
    answer: Result<Vec<MacAddress>, &'static str>,
}

impl Scene {
    fn found(&self) -> Vec<(Severity, String, String)> {
        let vip: IpAddr = self.vip.parse().unwrap();
        let own: Vec<_> = self
            .own
            .iter()
            .map(|&(interface, state)| OwnAddress {
                interface: interface.to_owned(),
                address: vip,
                state,
            })
            .collect();
        let context = Context {
            vips: [vip].into(),
            owners: [
                (BACKEND, Owner::Backend("s/dns1".to_owned())),
                (OWN, Owner::ThisHost),
            ]
            .into(),
            own: &own,
            has_local: self.has_local,
        };
        let mut eth0 = healthy();
        eth0.settings.arp_ignore = Ok(self.arp_ignore);
        eth0.settings.arp_announce = Ok(2);
        let claims = self.answer.clone().map_err(str::to_owned).map(|macs| {
            let claims = macs.into_iter().map(|mac| Claim { address: vip, mac });
            claims.collect()
        });
        let mut sheet = Sheet::default();
        judge(
            &context,
            &[("eth0".to_owned(), eth0)].into(),
            &[(("eth0".to_owned(), vip), claims)].into(),
            &mut sheet,
        );
        let found = sheet.found().into_iter();
        found
            .map(|(severity, id, subject)| (severity, id.to_owned(), subject.to_owned()))
            .collect()
    }
}

const ON_LO: &[(&str, AddressState)] = &[("lo", AddressState::Valid)];
const ON_ETH0: &[(&str, AddressState)] = &[("eth0", AddressState::Valid)];

fn scene() -> Scene {
    Scene {
        vip: V4,
        own: ON_LO,
        arp_ignore: 0,
        has_local: false,
        answer: Ok(vec![]),
    }
}

fn assert_found(scene: &Scene, expected: &[(Severity, &str, &str)]) {
    let found = scene.found();
    let found: Vec<_> = found
        .iter()
        .map(|(severity, id, subject)| (*severity, id.as_str(), subject.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_vip_that_only_this_host_answers_for_is_right() {
    assert_found(&scene(), &[]);
    let answer = Ok(vec![OWN]);
    assert_found(&Scene { answer, ..scene() }, &[]);
    let own = ON_ETH0;
    assert_found(
        &Scene {
            own,
            arp_ignore: 1,
            ..scene()
        },
        &[],
    );
    assert_found(
        &Scene {
            own,
            vip: V6,
            ..scene()
        },
        &[],
    );
}

#[test]
fn a_backend_that_answers_is_named_also_beside_this_host() {
    for vip in [V4, V6] {
        for own in [ON_LO, ON_ETH0, &[]] {
            let scene = Scene {
                vip,
                own,
                answer: Ok(vec![BACKEND]),
                ..scene()
            };
            assert_found(&scene, &[(Error, "vip-answered-by-backend", "s/dns1")]);
        }
    }
}

/// Two hosts, each balancer and server: the one at work answers, from a server's MAC address.
#[test]
fn a_backend_that_answers_may_be_the_other_of_two_that_are_both() {
    let standby = Scene {
        arp_ignore: 1,
        has_local: true,
        answer: Ok(vec![BACKEND]),
        ..scene()
    };
    assert_found(&standby, &[(Warning, "vip-answered-by-backend", "s/dns1")]);
    // Both at once is wrong.
    let active = Scene {
        own: ON_ETH0,
        ..standby
    };
    assert_found(&active, &[(Error, "vip-answered-by-backend", "s/dns1")]);
}

#[test]
fn a_stranger_is_a_conflict_where_this_host_answers_too() {
    let answer = || Ok(vec![STRANGER]);
    let conflict = Scene {
        answer: answer(),
        ..scene()
    };
    assert_found(&conflict, &[(Error, "vip-answered-by-other", V4)]);
    let standby = Scene {
        answer: answer(),
        own: &[],
        ..scene()
    };
    assert_found(&standby, &[(Warning, "vip-answered-by-other", V4)]);
}

#[test]
fn nobody_is_worth_a_word() {
    for silent in [
        Scene {
            own: &[],
            ..scene()
        },
        Scene {
            arp_ignore: 1,
            ..scene()
        },
    ] {
        assert_found(&silent, &[(Info, "vip-unanswered", V4)]);
    }
    // Neighbour discovery does not answer for what is on another interface.
    let scene = Scene { vip: V6, ..scene() };
    assert_found(&scene, &[(Info, "vip-unanswered", V6)]);
}

#[test]
fn what_was_not_asked_is_not_right() {
    let answer = Err("no permission");
    let scene = Scene { answer, ..scene() };
    assert_found(&scene, &[(Skipped, "vip-answered-by-backend", V4)]);
}

#[test]
fn an_address_that_is_not_ours_yet_is_named() {
    for (state, severity) in [
        (AddressState::Duplicate, Error),
        (AddressState::Tentative, Warning),
    ] {
        let own: &'static [_] = match state {
            AddressState::Duplicate => &[("eth0", AddressState::Duplicate)],
            _ => &[("eth0", AddressState::Tentative)],
        };
        let scene = Scene {
            vip: V6,
            own,
            ..scene()
        };
        let expected = [
            (severity, "vip-duplicate", V6),
            (Info, "vip-unanswered", V6),
        ];
        assert_found(&scene, &expected);
    }
}

#[test]
fn a_host_that_serves_as_well_is_told_what_it_announces() {
    let announcing = Scene {
        has_local: true,
        ..scene()
    };
    assert_found(&announcing, &[(Info, "vip-announced-here", "eth0")]);
    let quiet = Scene {
        has_local: true,
        arp_ignore: 1,
        ..scene()
    };
    assert_found(&quiet, &[(Info, "vip-unanswered", V4)]);
}
