//! A replacement that breaks off, at each of its steps.

use super::*;

#[test]
fn new_maps_that_nothing_steered_by_are_forgotten() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let maps = map_ids();
        drop(fixture);
        // An agent that dies before it switches.
        drop(Fixture::load(services(20), Path::new(PIN_DIR)));
        assert!(pins().contains(&"control_next".to_owned()));
        let mut fixture = Fixture::load(services(0), Path::new(PIN_DIR));
        fixture.attach();
        assert_settled();
        assert_eq!(map_ids(), maps);
        assert_connections_stay(&mut fixture, &reached);
    });
}

/// Puts maps back under the names that they had, and their successors under those that they had.
fn unrename(old: &mut BTreeMap<&'static str, MapData>, names: &[&'static str]) {
    for &name in names {
        if map_id(name) == old[name].info().expect("info").id() {
            continue;
        }
        fs::rename(pin(name), pin(&format!("{name}_next"))).expect("renamed");
        old.get_mut(name)
            .expect("a map")
            .pin(pin(name))
            .expect("pinned");
    }
}

fn open_maps() -> BTreeMap<&'static str, MapData> {
    map::PINNED
        .map(|name| (name, MapData::from_pin(pin(name)).expect("a map")))
        .into()
}

#[test]
fn renames_that_broke_off_are_finished() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let mut old = open_maps();
        reload(&mut fixture, services(20));
        let (maps, ids) = (map_ids(), fixture.assignment.clone());
        let before = counts(&fixture);
        drop(fixture);
        // All after the program's, then all but the first, and so on.
        for first in 0..map::PINNED.len() {
            unrename(&mut old, &map::PINNED[first..]);
            assert!(pins().contains(&"control_next".to_owned()));
            let fixture = Fixture::load(services(20), Path::new(PIN_DIR));
            assert!(!fixture.datapath.fill_first());
            assert_settled();
            assert_eq!((map_ids(), &fixture.assignment), (maps.clone(), &ids));
            assert_eq!(counts(&fixture), before);
        }
        let mut fixture = Fixture::load(services(20), Path::new(PIN_DIR));
        fixture.attach();
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn a_switch_that_broke_off_before_the_program_had_its_name_is_made_again() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let mut old = open_maps();
        let mut old_program =
            Xdp::from_pin(pin("program"), XdpAttachType::Interface).expect("the program");
        reload(&mut fixture, services(20));
        drop(fixture);
        // The link has the new program, and nothing has its name yet.
        unrename(&mut old, &map::PINNED);
        fs::rename(pin("program"), pin("program_next")).expect("renamed");
        old_program.pin(pin("program")).expect("pinned");
        let steering = attached_program();
        let mut fixture = Fixture::load(services(20), Path::new(PIN_DIR));
        assert!(fixture.datapath.fill_first());
        assert_eq!(attached_program(), steering);
        fixture.attach();
        assert_settled();
        assert_connections_stay(&mut fixture, &reached);
    });
}

#[test]
fn a_growth_that_an_interface_refuses_is_undone() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        let reached = establish(&mut fixture);
        let (maps, program) = (map_ids(), attached_program());
        // Somebody else's program, in the mode that excludes ours.
        let other_dir = Path::new("/sys/fs/bpf/others");
        let mut other = Fixture::load(services(0), other_dir);
        other
            .datapath
            .attach(&["other".to_owned()], XdpMode::Native)
            .expect("attached");

        let demand = Demand::of(&configuration(services(20)));
        let larger = fixture.datapath.grow(demand).expect("larger maps");
        let interfaces = ["lo".to_owned(), "other".to_owned()];
        let attach =
            |datapath: &mut Datapath| datapath.attach(&interfaces, XdpMode::Generic).map(drop);
        let unfilled = attach(&mut fixture.datapath).expect_err("nothing is in them");
        assert!(matches!(unfilled, DatapathError::Unfilled), "{unfilled}");
        assert_eq!(attached_program(), program);

        let mut writer = fixture.writer.grown(larger).expect("a writer");
        let plan = dns_lb::steer::plan(&fixture.config, &fixture.assignment, |service, backend| {
            let backend = &fixture.config.services[service].backends[backend];
            dns_lb::steer::Knowledge {
                health: Health::Up,
                location: crate::fixture::location(backend),
                ..dns_lb::steer::Knowledge::new(backend.weight)
            }
        });
        writer.apply(&plan, &crate::fixture::KEY).expect("applied");
        let refused = attach(&mut fixture.datapath).expect_err("other is taken");
        assert!(matches!(refused, DatapathError::Attach { .. }), "{refused}");
        assert_eq!((map_ids(), attached_program()), (maps, program));
        assert_settled();
        assert!(!fixture.datapath.holds(demand));
        // The old writer goes on, and a growth can be tried again.
        assert_connections_stay(&mut fixture, &reached);
        reload(&mut fixture, services(20));
        assert_settled();
    });
}

#[test]
fn unload_removes_new_maps_too() {
    with_program(services(0), |mut fixture| {
        fixture.attach();
        drop(fixture);
        drop(Fixture::load(services(20), Path::new(PIN_DIR)));
        assert!(pins().contains(&"control_next".to_owned()));
        assert!(datapath::unload(Path::new(PIN_DIR)).expect("unloaded"));
        assert!(!Path::new(PIN_DIR).exists());
    });
}
