//! What an operator sees who looks at the pinned maps with `bpftool`.

use std::{fs, path::Path, process::Command};

use dns_lb::config::Protocol;
use dns_lb_common::map;
use serde_json::Value;

use crate::{
    fixture::{CLIENT, PIN_DIR, VIP, query, service, with_program},
    frames::{self, Extra},
};

/// Dumps a pinned map; each entry as `bpftool` formats it by the map's BTF.
pub(crate) fn dump(path: &Path) -> Vec<Value> {
    let output = Command::new("bpftool")
        .args(["--json", "map", "dump", "pinned"])
        .arg(path)
        .output()
        .expect("bpftool (cargo xtask setup installs it)");
    assert!(
        output.status.success(),
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    entries
        .into_iter()
        .map(|mut entry| entry["formatted"].take())
        .collect()
}

/// The value of an entry; of a per-CPU map that of the first CPU.
fn value(entry: &Value) -> &Value {
    entry
        .get("values")
        .map_or(&entry["value"], |values| &values[0]["value"])
}

#[test]
fn every_pinned_map_prints_named_fields() {
    let mut resolvers = service("resolvers", VIP, &[(201, 1)]);
    resolvers.protocols.push(Protocol::Tcp);
    with_program(vec![resolvers], |mut fixture| {
        // Something for each map: a SYN and an ACK of one connection and a SYN of another, and a
        // fragment.
        let sent = |protocol, extra: &Extra, body: &[u8]| {
            let datagram = frames::datagram(CLIENT.into(), VIP.into(), protocol, extra, body);
            frames::frame(0, &datagram)
        };
        let plain = Extra::default();
        for (port, flags) in [(1, frames::SYN), (1, frames::ACK), (2, frames::SYN)] {
            fixture.run(&sent(
                frames::TCP,
                &plain,
                &frames::tcp(port, 53, flags, &[]),
            ));
        }
        let fragment = Extra {
            fragment: Some((7, 0, true)),
            ..plain
        };
        fixture.run(&sent(frames::UDP, &fragment, &frames::udp(1, 53, &[0; 8])));
        let mut pinned = Vec::new();
        for entry in fs::read_dir(PIN_DIR).expect("the pin directory") {
            let path = entry.expect("an entry").path();
            let entries = dump(&path);
            assert!(!entries.is_empty(), "{}", path.display());
            for entry in &entries {
                assert!(value(entry).is_object(), "{}: {entry}", path.display());
            }
            pinned.push(
                path.file_name()
                    .and_then(|name| name.to_str())
                    .unwrap()
                    .to_owned(),
            );
        }
        pinned.sort();
        let mut expected = map::PINNED.map(str::to_owned);
        expected.sort();
        assert_eq!(pinned, expected);
    });
}

#[test]
fn the_fields_say_what_the_program_goes_by() {
    with_program(
        vec![service("resolvers", VIP, &[(201, 7)])],
        |mut fixture| {
            fixture.run(&query());
            let at = |name: &str| dump(&Path::new(PIN_DIR).join(name));
            let control = &at(map::CONTROL)[0]["value"];
            assert_eq!(control["abi_version"], dns_lb_common::ABI_VERSION);
            assert_eq!(control["generation"], 1);
            let live = &control["banks"][control["active"].as_u64().unwrap() as usize];

            let base = live["backend_base"].as_u64().unwrap() as usize;
            let id = fixture.assignment.backends[0][0];
            let backend = &at(map::BACKENDS)[base + usize::from(id)]["value"];
            assert_eq!(
                backend["destination_mac"],
                serde_json::json!([2, 0, 0, 0, 0, 201])
            );
            assert_eq!(backend["weight"], 7);

            let vip = at(map::VIPS)
                .into_iter()
                .find(|slot| slot["value"]["key"]["port"] == 53)
                .expect("a slot of port 53");
            assert_eq!(vip["value"]["key"]["protocol"], 17);

            let counters = at(map::SERVICE_COUNTERS);
            let service = &counters[usize::from(fixture.assignment.services[0])];
            let sent: u64 = service["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(|cpu| cpu["value"]["endings"]["transmitted"].as_u64().unwrap())
                .sum();
            assert_eq!(sent, 1);
        },
    );
}
