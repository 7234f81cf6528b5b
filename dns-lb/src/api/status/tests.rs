//! A document with something in every field, and its names.

use serde_json::{Value, json};

use super::*;
use crate::api::testing::assert_shipped;

impl Status {
    /// A document with something in every field.
    pub(crate) fn sample() -> Self {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let total = EndingCounters {
            transmitted: 1_234_567,
            not_service: 12,
            ..EndingCounters::default()
        };
        let no_service = EndingCounters {
            not_service: 12,
            ..EndingCounters::default()
        };
        let service = EndingCounters {
            transmitted: 1_234_567,
            ..EndingCounters::default()
        };
        let backend = |number: u8, health, outcome: &str, rtt_us: Option<u64>| Backend {
            name: format!("dns{number}"),
            address: [192, 168, 0, 200 + number].into(),
            local: false,
            mac: rtt_us.map(|_| MacAddress([2, 0, 0, 0, 0, number])),
            interface: rtt_us.map(|_| "eth0".to_owned()),
            unresolved: None,
            admin: Admin::Enabled,
            health,
            set_by: rtt_us.is_none().then(|| SetBy {
                by: "uid 0 (root), pid 42".to_owned(),
                at: time("2026-01-31T11:30:00.000Z"),
                reason: Some("new disk".to_owned()),
            }),
            weight: 1,
            configured_weight: 2,
            share: if rtt_us.is_some() { 1.0 } else { 0.0 },
            packets: if rtt_us.is_some() { 1_234_567 } else { 0 },
            packets_per_second: rtt_us.map(|_| 2_000.5),
            bytes: if rtt_us.is_some() { 92_592_525 } else { 0 },
            last_probe: Some(LastProbe {
                at: time("2026-01-31T12:00:00.100Z"),
                outcome: outcome.to_owned(),
                cause: if rtt_us.is_some() {
                    "passed"
                } else {
                    "timeout"
                }
                .to_owned(),
                rtt_us,
            }),
            since: time("2026-01-31T11:00:00.000Z"),
            reason: rtt_us.is_none().then(|| "timeout".to_owned()),
            transitions: Transitions { up: 2, down: 1 },
            frozen: rtt_us
                .is_none()
                .then(|| "interface eth0 is down".to_owned()),
            passes_to_rise: Some(3),
            identity: rtt_us.map(|_| format!("dns{number}.example")),
            probes: Probes {
                total: 10,
                failed: 4,
                own_faults: 3,
                late: if rtt_us.is_some() { 0 } else { 2 },
                latest_us: if rtt_us.is_some() { 700 } else { 21_000 },
                causes: [("passed", 3), ("timeout", 4), ("own_fault", 3)]
                    .map(|(cause, count)| (cause.to_owned(), count))
                    .into(),
                rtt: Durations {
                    count: 3,
                    sum_us: 642,
                    buckets: [(250, 2), (500, 1)].into(),
                },
            },
        };
        Self {
            version: "0.1.0".to_owned(),
            started_at: time("2026-01-31T10:00:00.000Z"),
            generation: 7,
            dataplane: Dataplane {
                interfaces: vec![Interface {
                    name: "eth0".to_owned(),
                    mode: AttachedMode::Native,
                    attached: true,
                    program_id: 41,
                    link_id: 5,
                }],
                counters: Counters {
                    total: endings(&total),
                    no_service: endings(&no_service),
                },
            },
            tables: Tables {
                builds: Durations {
                    count: 2,
                    sum_us: 9_000,
                    buckets: [(5_000, 2)].into(),
                },
                last_us: Some(4_400),
                failed: 1,
            },
            services: vec![Service {
                name: "resolvers".to_owned(),
                vips: vec![[192, 168, 0, 200].into()],
                port: 53,
                protocols: vec![Protocol::Udp],
                policy: Policy::Hash,
                packets: 1_234_567,
                packets_per_second: Some(2_000.5),
                bytes: 92_592_525,
                failed_open: false,
                usable: 1,
                quorum: 1,
                endings: endings(&service),
                tcp: Tcp {
                    packets: 70,
                    connections: 10,
                },
                queries: Some(queries(&QueryCounters {
                    a: 1_000,
                    edns: 900,
                    ..QueryCounters::default()
                })),
                backends: vec![
                    backend(1, Health::Up, "answered NOERROR", Some(213)),
                    backend(2, Health::Down, "timeout", None),
                ],
            }],
            announced: vec![[192, 168, 0, 200].into()],
            recent_transitions: vec![Transition {
                at: time("2026-01-31T11:00:00.000Z"),
                service: "resolvers".to_owned(),
                backend: "dns2".to_owned(),
                from: Health::Up,
                to: Health::Down,
                reason: Some("timeout".to_owned()),
            }],
        }
    }
}

#[test]
fn names_are_those_that_others_build_on() {
    let document = serde_json::to_value(Status::sample()).unwrap();
    let zero_but = |set: &[(&str, u64)]| {
        let mut all = serde_json::to_value(endings(&EndingCounters::default())).unwrap();
        assert_eq!(all.as_object().unwrap().len(), Ending::ALL.len());
        for (name, packets) in set {
            all[name] = Value::from(*packets);
        }
        all
    };
    let probes = |late: u64, latest_us: u64| {
        json!({
            "total": 10, "failed": 4, "own_faults": 3, "late": late, "latest_us": latest_us,
            "causes": {"own_fault": 3, "passed": 3, "timeout": 4},
            "rtt": {"count": 3, "sum_us": 642, "buckets": {"250": 2, "500": 1}},
        })
    };
    let up = json!({
        "name": "dns1",
        "address": "192.168.0.201",
        "local": false,
        "mac": "02:00:00:00:00:01",
        "interface": "eth0",
        "unresolved": null,
        "admin": "enabled",
        "health": "up",
        "set_by": null,
        "weight": 1,
        "configured_weight": 2,
        "share": 1.0,
        "packets": 1_234_567,
        "packets_per_second": 2_000.5,
        "bytes": 92_592_525,
        "last_probe": {
            "at": "2026-01-31T12:00:00.100Z",
            "outcome": "answered NOERROR",
            "cause": "passed",
            "rtt_us": 213,
        },
        "since": "2026-01-31T11:00:00.000Z",
        "reason": null,
        "transitions": {"up": 2, "down": 1},
        "frozen": null,
        "passes_to_rise": 3,
        "identity": "dns1.example",
        "probes": probes(0, 700),
    });
    let down = json!({
        "name": "dns2",
        "address": "192.168.0.202",
        "local": false,
        "mac": null,
        "interface": null,
        "unresolved": null,
        "admin": "enabled",
        "health": "down",
        "set_by": {
            "by": "uid 0 (root), pid 42",
            "at": "2026-01-31T11:30:00.000Z",
            "reason": "new disk",
        },
        "weight": 1,
        "configured_weight": 2,
        "share": 0.0,
        "packets": 0,
        "packets_per_second": null,
        "bytes": 0,
        "last_probe": {
            "at": "2026-01-31T12:00:00.100Z",
            "outcome": "timeout",
            "cause": "timeout",
            "rtt_us": null,
        },
        "since": "2026-01-31T11:00:00.000Z",
        "reason": "timeout",
        "transitions": {"up": 2, "down": 1},
        "frozen": "interface eth0 is down",
        "passes_to_rise": 3,
        "identity": null,
        "probes": probes(2, 21_000),
    });
    let expected = json!({
        "version": "0.1.0",
        "started_at": "2026-01-31T10:00:00.000Z",
        "generation": 7,
        "dataplane": {
            "interfaces": [
                {"name": "eth0", "mode": "native", "attached": true, "program_id": 41, "link_id": 5},
            ],
            "counters": {
                "total": zero_but(&[("transmitted", 1_234_567), ("not_service", 12)]),
                "no_service": zero_but(&[("not_service", 12)]),
            },
        },
        "tables": {
            "builds": {"count": 2, "sum_us": 9_000, "buckets": {"5000": 2}},
            "last_us": 4_400,
            "failed": 1,
        },
        "services": [{
            "name": "resolvers",
            "vips": ["192.168.0.200"],
            "port": 53,
            "protocols": ["udp"],
            "policy": "hash",
            "packets": 1_234_567,
            "packets_per_second": 2_000.5,
            "bytes": 92_592_525,
            "failed_open": false,
            "usable": 1,
            "quorum": 1,
            "endings": zero_but(&[("transmitted", 1_234_567)]),
            "tcp": {"packets": 70, "connections": 10},
            "queries": {
                "types": {
                    "a": 1_000, "aaaa": 0, "any": 0, "https": 0, "mx": 0, "other": 0,
                    "ptr": 0, "srv": 0, "txt": 0,
                },
                "edns": 900,
            },
            "backends": [up, down],
        }],
        "announced": ["192.168.0.200"],
        "recent_transitions": [{
            "at": "2026-01-31T11:00:00.000Z",
            "service": "resolvers",
            "backend": "dns2",
            "from": "up",
            "to": "down",
            "reason": "timeout",
        }],
    });
    assert_eq!(document, expected);
    let read: Status = serde_json::from_value(document).unwrap();
    assert_eq!(read, Status::sample());
}

/// `UPDATE_DOCS=1` mends what is wrong.
#[test]
fn the_schema_is_that_of_the_types() {
    let written = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = written.into_generator().into_root_schema_for::<Status>();
    let schema = serde_json::to_string_pretty(&schema).unwrap();
    assert_shipped("docs/status.schema.json", |_| schema + "\n");
}

/// A newer agent may say more than an older command line knows.
#[test]
fn fields_of_later_versions_are_skipped() {
    let mut document = serde_json::to_value(Status::sample()).unwrap();
    document["later"] = Value::from(1);
    document["services"][0]["backends"][0]["later"] = Value::from(1);
    let read: Status = serde_json::from_value(document).unwrap();
    assert_eq!(read, Status::sample());
}

/// An older agent may say less than a newer command line asks for.
#[test]
fn fields_that_earlier_versions_lack_are_not_needed() {
    let mut status = Status::sample();
    let mut document = serde_json::to_value(&status).unwrap();
    let remove = |object: &mut Value, field: &str| {
        let fields = object.as_object_mut().expect("an object");
        assert!(fields.remove(field).is_some(), "{field}");
    };
    remove(&mut document, "recent_transitions");
    remove(&mut document["services"][0], "packets_per_second");
    for place in 0..2 {
        let backend = &mut document["services"][0]["backends"][place];
        remove(backend, "packets_per_second");
        status.services[0].backends[place].packets_per_second = None;
    }
    status.recent_transitions.clear();
    status.services[0].packets_per_second = None;
    let read: Status = serde_json::from_value(document).unwrap();
    assert_eq!(read, status);
}
