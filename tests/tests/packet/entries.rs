//! What is read of an array in batches is what reading entry by entry says.

use std::{fmt::Debug, ops::Range};

use aya::{
    Pod,
    maps::{Array, Map, MapData, MapError},
};
use dns_lb::datapath::read_range;
use dns_lb_common::{Backend, VipSlot, map};

use crate::fixture::{PIN_DIR, VIP, service, with_program};

/// More than two batches of 4,096, and no multiple of one.
const ENTRIES: u32 = 10_003;

fn single<T: Pod>(array: &Array<MapData, T>, places: Range<u32>) -> Vec<T> {
    let entry = |place| array.get(&place, 0).expect("an entry");
    places.map(entry).collect()
}

/// Reads a pinned array, bank by bank; how many entries of each are in use.
fn banks<T: Pod + Default + PartialEq + Debug>(name: &str) -> [usize; 2] {
    let data = MapData::from_pin(format!("{PIN_DIR}/{name}")).expect("a map");
    let array = Array::<_, T>::try_from(Map::Array(data)).expect("an array");
    let half = array.len() / 2;
    [0..half, half..array.len()].map(|bank| {
        let read = read_range(&array, bank.clone()).expect("a bank");
        assert_eq!(read, single(&array, bank));
        let used = read.iter().filter(|&entry| *entry != T::default());
        used.count()
    })
}

#[test]
fn ranges_of_every_kind_are_read_whole_and_in_order() {
    let mut array = Array::<MapData, Backend>::create(ENTRIES, 0).expect("a map");
    for place in 0..ENTRIES {
        let entry = Backend {
            ifindex: place + 1,
            ..Backend::default()
        };
        array.set(place, entry, 0).expect("written");
    }
    let last = ENTRIES - 1;
    for places in [
        0..ENTRIES,
        0..1,
        0..4_096,
        0..4_097,
        1..4_097,
        4_095..4_097,
        4_096..8_192,
        5_001..ENTRIES,
        last..ENTRIES,
        last..last,
    ] {
        let read = read_range(&array, places.clone()).expect("a range");
        assert_eq!(read, single(&array, places.clone()), "{places:?}");
    }
}

#[test]
fn a_range_beyond_the_end_is_refused() {
    let array = Array::<MapData, Backend>::create(ENTRIES, 0).expect("a map");
    let error = read_range(&array, 5_000..ENTRIES + 1).expect_err("no such entry");
    assert!(
        matches!(
            error,
            MapError::OutOfBounds {
                index: ENTRIES,
                max_entries: ENTRIES
            }
        ),
        "{error}"
    );
}

#[test]
fn both_banks_are_read_as_they_are() {
    with_program(
        vec![service("resolvers", VIP, &[(201, 1)])],
        |mut fixture| {
            // The first configuration is in one bank: the next is in the other.
            fixture.apply(|_| dns_lb::health::Health::Down);
            for used in [banks::<VipSlot>(map::VIPS), banks::<Backend>(map::BACKENDS)] {
                assert!(used[0] > 0 && used == [used[0]; 2], "{used:?}");
            }
        },
    );
}
