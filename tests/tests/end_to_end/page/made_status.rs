//! Documents that no lab makes: a thousand servers, and names that would do harm.

use dns_lb::api::{
    Timestamp,
    history::{BackendHistory, History},
    status::{LastProbe, Status},
};
use dns_lb_common::Ending;
use serde_json::{Value, json};

/// A name that is markup and script.
pub(crate) const HOSTILE: &str =
    "<img src=x onerror=alert(1)>\"'&amp;</td><script>alert(2)</script>";

/// So many services of ten backends, of which one in a hundred is down.
pub(crate) fn status(services: usize) -> Status {
    let services: Vec<Value> = (0..services).map(service).collect();
    let document = json!({
        "version": "0.1.0",
        "started_at": "2026-01-31T10:00:00.000Z",
        "generation": 7,
        "dataplane": {
            "interfaces": [{ "name": "eth0", "mode": "native", "program_id": 41, "link_id": 5 }],
            "counters": { "total": endings(0), "no_service": endings(0) },
        },
        "tables": { "builds": { "count": 0, "sum_us": 0, "buckets": {} }, "last_us": null, "failed": 0 },
        "services": services,
        "recent_transitions": (0..100).map(|number| json!({
            "at": "2026-01-31T12:00:00.000Z", "service": "service0", "backend": format!("dns{number}"),
            "from": "up", "to": "down", "reason": HOSTILE,
        })).collect::<Vec<_>>(),
    });
    serde_json::from_value(document).expect("a status")
}

fn endings(steered: u64) -> Value {
    let count = |ending: &Ending| match ending {
        Ending::Transmitted => steered,
        Ending::BadSource => 12,
        _ => 0,
    };
    let counts = Ending::ALL.iter();
    counts
        .map(|ending| (ending.name().to_owned(), json!(count(ending))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn service(number: usize) -> Value {
    let name = match number {
        1 => HOSTILE.to_owned(),
        _ => format!("service{number}"),
    };
    let vip = format!("2001:db8:0:1234:5678:9abc:def0:{number:x}");
    let backends = (0..10).map(|place| backend(number, place));
    json!({
        "name": name, "vips": [format!("192.0.2.{number}"), vip],
        "port": 53, "protocols": ["udp", "tcp"], "policy": "hash",
        "packets": 0, "bytes": 0, "failed_open": number == 2, "endings": endings(0),
        "tcp": { "packets": 0, "connections": 0 }, "queries": null,
        "backends": backends.collect::<Vec<_>>(),
    })
}

fn backend(service: usize, place: usize) -> Value {
    let is_down = service % 10 == 1 && place == 7;
    let name = match (service, place) {
        (1, 7) => HOSTILE.to_owned(),
        _ => format!("dns{place}"),
    };
    json!({
        "name": name, "address": format!("2001:db8::{service}:{place}"), "local": false,
        "mac": "02:00:00:00:00:01", "interface": "eth0", "unresolved": null,
        "admin": "enabled", "health": if is_down { "down" } else { "up" }, "set_by": null,
        "weight": 1, "configured_weight": 1, "share": if is_down { 0.0 } else { 0.1 },
        "packets": 0, "bytes": 0, "last_probe": probe(150, is_down),
        "since": "2026-01-31T11:00:00.000Z", "reason": is_down.then_some(HOSTILE),
        "transitions": { "up": 1, "down": 1 }, "frozen": null, "passes_to_rise": 2, "identity": HOSTILE,
        "probes": {
            "total": 4, "failed": 0, "own_faults": 0, "late": 0, "latest_us": 0,
            "causes": { "passed": 4 }, "rtt": { "count": 0, "sum_us": 0, "buckets": {} },
        },
    })
}

/// The same after so many seconds of traffic.
pub(crate) fn at(first: &Status, tick: u64) -> Status {
    let mut status = first.clone();
    let transmitted = Ending::Transmitted.name().to_owned();
    let total = &mut status.dataplane.counters.total;
    total.insert(transmitted.clone(), tick * 100_000);
    for service in &mut status.services {
        service.packets = tick * 1_000;
        service.bytes = tick * 75_000;
        service.endings.insert(transmitted.clone(), tick * 1_000);
        service.packets_per_second = Some(1_000.0 + (tick % 7) as f64);
        for (place, backend) in (0..).zip(&mut service.backends) {
            backend.packets = tick * 100;
            backend.packets_per_second = Some(100.0 + ((place + tick) % 13) as f64);
            if let Some(probe) = &mut backend.last_probe {
                probe.at = Timestamp::now();
                let varies = |rtt: u64| rtt + (31 * place + 17 * tick) % 200;
                probe.rtt_us = probe.rtt_us.map(varies);
            }
        }
    }
    status
}

fn probe(rtt: u64, is_down: bool) -> Value {
    if is_down {
        let at = "2026-01-31T12:00:00.000Z";
        return json!({ "at": at, "outcome": HOSTILE, "cause": "timeout", "rtt_us": null });
    }
    let at = Timestamp::now();
    json!({ "at": at, "outcome": "NOERROR", "cause": "passed", "rtt_us": rtt })
}

/// The last minute of such a status.
pub(crate) fn history(status: &Status) -> History {
    let minute: Vec<f64> = (0..60)
        .map(|second| 90.0 + f64::from(second % 20))
        .collect();
    let services = status.services.iter().map(|service| {
        let backends = service.backends.iter();
        json!({
            "name": service.name, "packets_per_second": minute,
            "backends": backends
                .map(|backend| json!({ "name": backend.name, "packets_per_second": minute }))
                .collect::<Vec<_>>(),
        })
    });
    let document = json!({ "step_s": 1, "services": services.collect::<Vec<_>>() });
    serde_json::from_value(document).expect("a history")
}

/// What has been of a backend: two in three probes failed.
pub(crate) fn backend_history(service: String, backend: String) -> BackendHistory {
    let probe = |number: u64| -> LastProbe {
        serde_json::from_value(probe(number * 10, !number.is_multiple_of(3))).expect("a probe")
    };
    BackendHistory {
        service,
        backend,
        packets_per_second: vec![1.0; 60],
        probes: (0..64).map(probe).collect(),
    }
}
