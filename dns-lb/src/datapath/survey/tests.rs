use super::*;

const DEMAND: Demand = Demand {
    services: 2,
    backends: 20,
    vip_keys: 6,
    tcp_flows: 4_096,
};
const LARGER: Demand = Demand {
    services: 20,
    backends: 20,
    vip_keys: 60,
    tcp_flows: 1_024,
};
const COUNTERS: [&str; 2] = [map::SERVICE_COUNTERS, map::BACKEND_COUNTERS];

/// Maps that this version made for a demand, marked with another version.
fn made_for(demand: Demand, version: u32) -> Survey {
    let capacity = Capacity::with_headroom(demand);
    let shapes = map::PINNED.map(|name| {
        let entries = capacity.entries(name);
        (
            name,
            Shape {
                entries,
                ..Shape::wanted(name)
            },
        )
    });
    Survey {
        version,
        maps: shapes.into(),
    }
}

fn sorted(names: &[&'static str]) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[test]
fn maps_that_serve_are_kept() {
    let survey = made_for(DEMAND, ABI_VERSION);
    let succession = survey.decide(DEMAND);
    assert_eq!(succession.replaced, [] as [&str; 0]);
    assert!(succession.ids_known);
    assert_eq!(succession.capacity, Capacity::with_headroom(DEMAND));
}

#[test]
fn another_number_of_connections_replaces_nothing() {
    let survey = made_for(DEMAND, ABI_VERSION);
    for tcp_flows in [1_024, 1_000_000] {
        let succession = survey.decide(Demand {
            tcp_flows,
            ..DEMAND
        });
        assert_eq!(succession.replaced, [] as [&str; 0]);
        assert_eq!(succession.entries[map::TCP_FLOWS], 4_096);
    }
}

#[test]
fn what_is_outgrown_is_replaced_and_connections_stay() {
    let succession = made_for(DEMAND, ABI_VERSION).decide(LARGER);
    // There are no more backends than before, so their counters do.
    let outgrown = [&STEERING[..], &[map::SERVICE_COUNTERS]].concat();
    assert_eq!(sorted(&succession.replaced), sorted(&outgrown));
    assert_eq!(succession.counting_on, [map::SERVICE_COUNTERS]);
    assert!(succession.ids_known && succession.capacity.holds(LARGER));
    assert_eq!(succession.capacity.tcp_flows, 4_096);
}

#[test]
fn nothing_shrinks_when_something_grows() {
    let many_backends = Demand {
        backends: 500,
        ..DEMAND
    };
    let succession = made_for(many_backends, ABI_VERSION).decide(LARGER);
    assert_eq!(succession.capacity.backends, 1_024);
}

#[test]
fn of_version_3_what_is_read_by_other_rules_is_replaced() {
    let succession = made_for(DEMAND, 3).decide(DEMAND);
    assert_eq!(sorted(&succession.replaced), sorted(&STEERING));
    assert!(succession.ids_known);
    for name in COUNTERS {
        assert!(map::since(name) <= 3, "{name}");
    }
}

#[test]
fn where_ids_are_not_known_all_is_replaced() {
    for version in [0, 1, 2] {
        let succession = made_for(DEMAND, version).decide(DEMAND);
        assert_eq!(sorted(&succession.replaced), sorted(&map::PINNED));
        assert!(!succession.ids_known);
        assert_eq!(succession.counting_on, [] as [&str; 0]);
    }
    let mut survey = made_for(DEMAND, ABI_VERSION);
    survey.maps.remove(map::VIPS);
    assert_eq!(
        sorted(&survey.decide(DEMAND).replaced),
        sorted(&map::PINNED)
    );
}

#[test]
fn a_map_of_another_shape_is_replaced() {
    let odd = |name: &'static str, change: fn(&mut Shape)| {
        let mut survey = made_for(DEMAND, ABI_VERSION);
        change(survey.maps.get_mut(name).unwrap());
        survey.decide(DEMAND)
    };
    let succession = odd(map::FRAGMENTS, |shape| shape.key_size += 4);
    assert_eq!(succession.replaced, [map::FRAGMENTS]);
    let succession = odd(map::TCP_FLOWS, |shape| {
        shape.map_type = Some(MapType::Hash);
    });
    assert_eq!(succession.replaced, [map::TCP_FLOWS]);
    let succession = odd(map::BACKEND_COUNTERS, |shape| shape.value_size += 8);
    assert_eq!(succession.replaced, [map::BACKEND_COUNTERS]);
    assert_eq!(succession.counting_on, [] as [&str; 0]);
    let succession = odd(map::SERVICE_COUNTERS, |shape| shape.entries -= 1);
    assert_eq!(succession.counting_on, [map::SERVICE_COUNTERS]);
    let succession = odd(map::BACKENDS, |shape| shape.value_size += 8);
    assert_eq!(sorted(&succession.replaced), sorted(&map::PINNED));
}
