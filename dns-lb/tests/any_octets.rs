//! Whatever octets come in from the network, by the admin socket or in a file: the agent takes them for
//! what they are or refuses them. Replays what the fuzzer begins with and what it has found, as it is and
//! altered.

mod holds;

use std::{fs, path::PathBuf};

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};

/// A target's `holds`.
type Holds = fn(&[u8]) -> bool;

/// Alterations of fixtures that are tried, for each target.
const ALTERATIONS: u32 = 2_000;

/// A target's fixtures and their names, in order.
fn fixtures(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/fixtures");
    let entries = fs::read_dir(folder.join(target)).expect("the fixtures");
    let mut fixtures: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("a fixture").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), fs::read(&path).expect("a fixture"))
        })
        .collect();
    fixtures.sort_unstable();
    fixtures
}

/// Replays fixtures: those that are called `good_…` are taken, those that are called `bad_…` are not.
fn replay(target: &str, holds: Holds) {
    let (mut good, mut bad) = (0, 0);
    for (name, octets) in fixtures(target) {
        let is_taken = holds(&octets);
        if name.starts_with("good_") {
            assert!(is_taken, "{target}/{name} is refused");
            good += 1;
        } else if name.starts_with("bad_") {
            assert!(!is_taken, "{target}/{name} is taken");
            bad += 1;
        }
    }
    assert!(good > 0 && bad > 0, "fixtures of both kinds for {target}");
    alter(target, holds);
}

/// Changes octets of fixtures, cuts them short, and joins the start of one to the end of another.
fn alter(target: &str, holds: Holds) {
    let fixtures: Vec<Vec<u8>> = fixtures(target)
        .into_iter()
        .map(|(_, octets)| octets)
        .collect();
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let any_two = (
        any::<Index>(),
        any::<Index>(),
        any::<Index>(),
        any::<bool>(),
    );
    let mut runner = TestRunner::new(ProptestConfig {
        cases: ALTERATIONS,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(
        &(any_two, changes),
        |((one, other, cut, joins), changes)| {
            let mut octets = one.get(&fixtures).clone();
            if joins {
                let cut = cut.index(octets.len() + 1);
                octets.truncate(cut);
                let other = other.get(&fixtures);
                octets.extend(other.get(cut..).unwrap_or_default());
            }
            for (place, octet) in changes {
                if !octets.is_empty() {
                    let place = place.index(octets.len());
                    octets[place] = octet;
                }
            }
            holds(&octets);
            Ok(())
        },
    );
    outcome.unwrap_or_else(|error| panic!("{target}: {error}"));
}

#[test]
fn replies() {
    replay("reply", holds::reply::holds);
}

#[test]
fn frames_off_the_link() {
    replay("link", holds::link::holds);
}

#[test]
fn connections_through_the_vip() {
    replay("connection", holds::connection::holds);
}

#[test]
fn configurations() {
    replay("config", holds::config::holds);
}

#[test]
fn bodies_of_commands() {
    replay("admin", holds::admin::holds);
}

#[test]
fn connections_to_the_admin_socket() {
    replay("admin_http", holds::admin_http::holds);
}

#[test]
fn state_files() {
    replay("state_file", holds::state_file::holds);
}
