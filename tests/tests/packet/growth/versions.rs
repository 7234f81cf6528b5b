//! Maps that another version made.

use super::*;

/// Makes the pinned maps what version 3 would have made of them.
fn turn_into_version_3() {
    let open = |name| MapData::from_pin(pin(name)).map(Map::Array).expect("a map");
    let mut vips: Array<_, VipSlot> = open(map::VIPS).try_into().expect("slots");
    for place in 0..vips.len() {
        let slot = vips.get(&place, 0).expect("a slot");
        vips.set(place, VipSlot { bank: 0, ..slot }, 0)
            .expect("written");
    }
    let mut backends: Array<_, Backend> = open(map::BACKENDS).try_into().expect("backends");
    for place in 0..backends.len() {
        let entry = backends.get(&place, 0).expect("an entry");
        let entry = Backend {
            takes_flows: 0,
            ..entry
        };
        backends.set(place, entry, 0).expect("written");
    }
    set_version(3);
}

fn set_version(abi_version: u32) {
    let data = MapData::from_pin(pin(map::CONTROL)).expect("a map");
    let mut map: Array<_, Control> = Map::Array(data).try_into().expect("control");
    let control = map.get(&0, 0).expect("read");
    let control = Control {
        abi_version,
        ..control
    };
    map.set(0, control, 0).expect("written");
}

fn generation() -> u64 {
    let data = MapData::from_pin(pin(map::CONTROL)).expect("a map");
    let map: Array<MapData, Control> = Map::Array(data).try_into().expect("control");
    map.get(&0, 0).expect("read").generation
}

#[test]
fn maps_of_an_older_version_are_kept_where_their_layout_is_the_same() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let (before, ids) = (counts(&fixture), resolvers(&fixture.assignment));
        let (maps, generation_before) = (map_ids(), generation());
        drop(fixture);
        turn_into_version_3();

        let mut fixture = Fixture::load(services(0), Path::new(PIN_DIR));
        assert_eq!(resolvers(&fixture.assignment), ids);
        let (action, _) = run_pinned(&query(), 1).expect("the old program steers");
        assert_eq!(action, Action::Transmit as u32);
        fixture.attach();
        assert_settled();
        for (name, id) in maps {
            let replaced = [map::CONTROL, map::VIPS, map::TABLES, map::BACKENDS];
            assert_eq!(map_id(name) != id, replaced.contains(&name), "{name}");
        }
        assert_eq!(counts(&fixture).0, before.0 + 1);
        assert!(generation() > generation_before);
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn where_a_version_does_not_tell_ids_everything_is_made_anew() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        fixture.run(&query());
        let (maps, generation_before) = (map_ids(), generation());
        drop(fixture);
        set_version(2);
        let mut fixture = Fixture::load(services(0), Path::new(PIN_DIR));
        fixture.attach();
        assert_settled();
        for (name, id) in maps {
            assert_ne!(map_id(name), id, "{name}");
        }
        assert_eq!(counts(&fixture).0, 0);
        assert!(generation_before > 0 && generation() > 0);
        assert!(fixture.run(&query()).is(Action::Transmit));
    });
}

#[test]
fn a_newer_version_is_refused_and_steers_on() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let (maps, program) = (map_ids(), attached_program());
        drop(fixture);
        set_version(ABI_VERSION + 1);
        for others in [0, 20] {
            match Fixture::try_load(services(others), Path::new(PIN_DIR)) {
                Err(DatapathError::Abi { found, .. }) => assert_eq!(found, ABI_VERSION + 1),
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("it was loaded"),
            }
        }
        assert_eq!((map_ids(), attached_program()), (maps, program));
        assert_settled();
    });
}
