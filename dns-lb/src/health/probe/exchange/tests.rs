use std::sync::Arc;

use super::*;
use crate::health::BackendKey;

const BACKEND: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const BALANCER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const PEER: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
const UNKNOWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);

#[test]
fn a_reply_must_come_from_the_vip_and_not_from_another_backend() {
    let prober = Prober::new();
    let target = Target {
        backend: BackendKey {
            service: "s".into(),
            backend: "b".into(),
        },
        address: "192.0.2.11".parse().unwrap(),
        port: 53,
        vips: vec!["192.0.2.1".parse().unwrap()],
        local: false,
    };
    let link = LinkReach {
        interface: "lo".to_owned(),
        ifindex: 1,
        mac: BACKEND,
        source_mac: BALANCER,
        sources: vec!["192.0.2.100".parse().unwrap()],
    };
    let reach = Reach {
        peers: Arc::new([(PEER, "dns2".into())]),
        ..Reach::default()
    };
    let asker = Asker {
        prober: &prober,
        target: &target,
        reach: &reach,
        deadline: Instant::now(),
        serials_count_for: Duration::ZERO,
    };
    let way = Way::Link {
        link: &link,
        source: link.sources[0],
        vip: target.vips[0],
    };
    for (source, source_mac, against) in [
        ("192.0.2.1:53", BACKEND, None),
        // By a second interface of the backend's, or a router.
        ("192.0.2.1:53", UNKNOWN, None),
        (
            "192.0.2.11:53",
            BACKEND,
            Some("answered from 192.0.2.11, not from the VIP 192.0.2.1: bound to the wildcard?"),
        ),
        (
            "192.0.2.12:53",
            BACKEND,
            Some("answered from 192.0.2.12, not from the VIP 192.0.2.1"),
        ),
        (
            "192.0.2.1:5353",
            BACKEND,
            Some("answered from port 5353 of the VIP 192.0.2.1, not 53"),
        ),
        (
            "192.0.2.1:53",
            PEER,
            Some("answered by another backend, dns2 (02:00:00:00:00:03)"),
        ),
    ] {
        let frame = Frame {
            source: source.parse().unwrap(),
            source_mac,
            destination_mac: BALANCER,
        };
        let ending = asker.judge_frame(&way, &frame, Duration::ZERO);
        let text = ending.map(|ending| ending.to_string());
        assert_eq!(text.as_deref(), against);
    }
}
