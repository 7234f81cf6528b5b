use proptest::{collection::vec, prelude::*};

use super::{
    super::{Known, assign, build_table},
    *,
};

const HERE: Location = Location {
    mac: MacAddress([2, 0, 0, 0, 0, 1]),
    ifindex: 2,
    source_mac: MacAddress([2, 0, 0, 0, 0, 2]),
};

/// A backend of weight 1 of which all is well.
const WELL: Knowledge = Knowledge {
    admin: Admin::Enabled,
    weight: 1,
    warmth: 100,
    health: Health::Up,
    is_proven: true,
    location: Some(HERE),
};
const DOWN: Knowledge = Knowledge {
    health: Health::Down,
    ..WELL
};
const DRAINING: Knowledge = Knowledge {
    admin: Admin::Draining,
    ..WELL
};
const DISABLED: Knowledge = Knowledge {
    admin: Admin::Disabled,
    ..WELL
};

/// The plan for one service with such settings, and a backend for each of these.
fn plan_for(settings: &str, backends: &[Knowledge]) -> PlannedService {
    let tables = (1..=backends.len()).map(|number| {
        format!("[[service.backend]]\nname = \"b{number}\"\naddress = \"10.0.0.{number}\"\n")
    });
    let config = Config::parse(&format!(
        "interfaces = [\"lo\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n{settings}\n{}",
        tables.collect::<String>()
    ))
    .expect("a configuration");
    let assignment = assign(&config, &Known::default());
    let plan = plan(&config, &assignment, |_, backend| backends[backend]);
    assert_eq!(plan.assigned, (1..=backends.len() as u16).collect());
    plan.services.into_iter().next().expect("one service")
}

fn members(service: &PlannedService) -> Vec<u16> {
    service.members.iter().map(|member| member.id).collect()
}

#[test]
fn who_is_enabled_has_weight_and_a_place_and_is_not_down_takes_queries() {
    let unknown = Knowledge {
        health: Health::Unknown,
        ..WELL
    };
    let weightless = Knowledge { weight: 0, ..WELL };
    let lost = Knowledge {
        location: None,
        ..WELL
    };
    let all = [WELL, unknown, DOWN, weightless, lost, DRAINING, DISABLED];
    let service = plan_for("", &all);
    assert_eq!(members(&service), [1, 2]);
    assert!(!service.failed_open);
    let takes: Vec<(u16, u8, u8)> = service
        .backends
        .iter()
        .map(|(id, entry)| (*id, entry.takes_flows, entry.keeps_flows))
        .collect();
    // Whoever has a place has an entry. What is established stays on who is draining or has no
    // weight, not on who is down or disabled.
    let expected = [
        (1, 1, 1),
        (2, 1, 1),
        (3, 0, 0),
        (4, 0, 1),
        (6, 0, 1),
        (7, 0, 0),
    ];
    assert_eq!(takes, expected);
}

#[test]
fn when_all_are_down_the_service_says_what_happens() {
    let weightless = Knowledge { weight: 0, ..DOWN };
    let drained = Knowledge {
        admin: Admin::Draining,
        ..DOWN
    };
    for (on_no_backend, expected, otherwise) in [
        ("fail-open", vec![1], OnNoBackend::Pass),
        ("pass", vec![], OnNoBackend::Pass),
        ("drop", vec![], OnNoBackend::Drop),
    ] {
        let setting = format!("on_no_backend = \"{on_no_backend}\"");
        let service = plan_for(&setting, &[DOWN, weightless, drained]);
        assert_eq!(members(&service), expected, "{on_no_backend}");
        assert_eq!(service.failed_open, on_no_backend == "fail-open");
        assert_eq!(service.on_no_backend, otherwise);
    }
}

#[test]
fn with_nobody_to_fail_open_to_nothing_has_failed_open() {
    let lost = Knowledge {
        location: None,
        ..WELL
    };
    for backend in [Knowledge { weight: 0, ..DOWN }, lost, DRAINING, DISABLED] {
        let service = plan_for("", &[backend]);
        assert!(service.members.is_empty());
        assert!(!service.failed_open);
    }
}

#[test]
fn probes_that_eject_more_than_they_may_are_not_believed() {
    for (most, down, believed) in [(100, 3, true), (50, 2, true), (50, 3, false), (0, 1, false)] {
        // Who is drained is none that probes eject.
        let mut backends = vec![WELL, WELL, WELL, WELL, DRAINING];
        backends[..down].fill(DOWN);
        let service = plan_for(&format!("max_ejected = \"{most}%\""), &backends);
        let expected = if believed { 4 - down } else { 4 };
        assert_eq!(
            service.members.len(),
            expected,
            "{most} % of 4, {down} down"
        );
        assert_eq!(service.failed_open, !believed);
    }
    // Who has never been up is none that probes eject, nor whom distrust of them lets in.
    let new = Knowledge {
        is_proven: false,
        ..DOWN
    };
    let service = plan_for("max_ejected = \"50%\"", &[WELL, new, new]);
    assert_eq!(members(&service), [1]);
    assert!(!service.failed_open);
    let service = plan_for("max_ejected = \"0%\"", &[WELL, DOWN, new]);
    assert_eq!(members(&service), [1, 2]);
    // All down is another matter: the service has its say.
    let settings = "max_ejected = \"50%\"\non_no_backend = \"drop\"";
    assert!(plan_for(settings, &[DOWN, DOWN]).members.is_empty());
}

#[test]
fn who_warms_up_gets_its_part_and_the_others_keep_their_proportions() {
    let warming = Knowledge { warmth: 10, ..WELL };
    let heavy = Knowledge {
        weight: 1_000,
        ..WELL
    };
    let service = plan_for("", &[warming, WELL, heavy]);
    let weights: Vec<u16> = service.members.iter().map(|member| member.weight).collect();
    assert_eq!(weights, [6, 64, 64_000]);
    let warm = plan_for("", &[WELL, WELL, heavy]);
    let weights: Vec<u16> = warm.members.iter().map(|member| member.weight).collect();
    assert_eq!(weights, [1, 1, 1_000]);
}

fn knowledge() -> impl Strategy<Value = Knowledge> {
    let admin = prop_oneof![
        4 => Just(Admin::Enabled),
        1 => Just(Admin::Draining),
        1 => Just(Admin::Disabled)
    ];
    let health = prop_oneof![Just(Health::Unknown), Just(Health::Up), Just(Health::Down)];
    (admin, 0_u16..=1_000, 1_u8..=100, health, any::<bool>()).prop_map(
        |(admin, weight, warmth, health, found)| Knowledge {
            admin,
            weight,
            warmth,
            health,
            is_proven: true,
            location: found.then_some(HERE),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is known: who takes queries was let by the operator and has been found; nobody is
    /// left out for nothing; the table names members and nobody else, each of them; and who may
    /// begin connections may keep them.
    #[test]
    fn a_plan_is_sound(
        backends in vec(knowledge(), 1..12),
        on_no_backend in prop_oneof![Just("fail-open"), Just("pass"), Just("drop")],
        max_ejected in 0_u32..=100,
    ) {
        let settings =
            format!("on_no_backend = \"{on_no_backend}\"\nmax_ejected = \"{max_ejected}%\"");
        let service = plan_for(&settings, &backends);
        let of = |id: u16| &backends[usize::from(id) - 1];
        let may = |known: &Knowledge| {
            known.admin == Admin::Enabled && known.weight > 0 && known.location.is_some()
        };
        let chosen = members(&service);
        for &id in &chosen {
            prop_assert!(may(of(id)));
            prop_assert!(service.failed_open || of(id).health != Health::Down);
        }
        for (id, known) in (1..).zip(&backends) {
            let usable = may(known) && known.health != Health::Down;
            prop_assert!(!usable || chosen.contains(&id), "{} is left out", id);
        }
        let any = backends.iter().any(may);
        prop_assert!(on_no_backend != "fail-open" || chosen.is_empty() != any);
        for (id, entry) in &service.backends {
            prop_assert_eq!(entry.takes_flows == 1, chosen.contains(id));
            prop_assert!(entry.takes_flows <= entry.keeps_flows);
        }

        let key = dns_lb_common::HashKey { words: [1, 2] };
        let table = build_table(service.policy, &key, &service.members);
        let named: BTreeSet<u16> = table.slots.iter().copied().collect();
        let expected: BTreeSet<u16> = match chosen.is_empty() {
            true => [dns_lb_common::NO_BACKEND].into(),
            false => chosen.iter().copied().collect(),
        };
        // The lightest beside the heaviest may be below one slot of 65,536.
        prop_assert!(named.is_subset(&expected));
        prop_assert!(named.len() == expected.len() || service.members.iter().any(|m| m.weight < 64));
    }

    /// A plan is made of what is known and of nothing else: equal knowledge, equal plans.
    #[test]
    fn equal_knowledge_makes_equal_plans(backends in vec(knowledge(), 1..12)) {
        prop_assert_eq!(plan_for("", &backends), plan_for("", &backends));
    }
}
