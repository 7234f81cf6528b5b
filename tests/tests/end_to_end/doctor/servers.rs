//! What is wrong with a server, or on the link, beside an agent at work.

use dns_lb_tests::{
    Death, Node, Software, Topology, agent,
    lab::{VIP, VIP_V6},
};
use serde_json::Value;

use super::{Practice, other_configuration, without};
use crate::stage::Stage;

const DNS1: &str = "resolvers/dns1";
const DNS2: &str = "resolvers/dns2";

/// Of probes of each backend, those that it has failed.
fn failed_probes(stage: &Stage) -> Vec<u64> {
    let output = stage.agent.run(&["status", "--json"]).expect("a status");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let backends = status["services"][0]["backends"].as_array();
    let backends = backends.expect("backends").iter();
    backends
        .map(|backend| backend["probes"]["failed"].as_u64().expect("a count"))
        .collect()
}

/// Runs a command of `ip` or several, then the doctor, then what undoes it.
fn with(node: &Node, change: &str, undo: &str, looks: impl FnOnce()) {
    node.ip(change).expect("ip");
    looks();
    node.ip(undo).expect("ip");
}

#[test]
fn each_thing_that_is_wrong_with_a_server_is_named() {
    let topology = Topology::dual_stack(&[Software::Nsd, Software::Knot]);
    let mut stage = Stage::set_configured(&topology, |backends| {
        agent::configuration(&["eth0"], "hash", backends)
    });
    let balancer = stage.lab.balancer.clone();
    let before = failed_probes(&stage);
    let vip = VIP.to_string();
    let vip_v6 = VIP_V6.to_string();
    // The router has a route to the IPv6 VIP, which the balancer does not have itself.
    let practice = Practice::open(
        &balancer,
        &[
            ("info", "hash-key-fingerprint", "/etc/dns-lb/hash.key"),
            ("info", "vip-unanswered", &vip_v6),
        ],
    );
    assert_eq!(failed_probes(&stage), before, "the doctor disturbs probes");

    // Who answers for the VIPs.
    let dns1 = stage.lab.backends[0].node.clone();
    let dns2 = stage.lab.backends[1].node.clone();
    dns1.sysctl(&["net/ipv4/conf/all/arp_ignore=0"]).unwrap();
    let by_dns1 = [("error", "vip-answered-by-backend", DNS1)];
    practice.expect("arp_ignore is 0 on dns1", &by_dns1, &[]);
    dns1.sysctl(&["net/ipv4/conf/all/arp_ignore=1"]).unwrap();

    let add = format!("addr add {VIP_V6}/128 dev eth0 nodad");
    let del = format!("addr del {VIP_V6}/128 dev eth0");
    with(&dns2, &add, &del, || {
        let found = [("error", "vip-answered-by-backend", DNS2)];
        practice.expect(
            "dns2 has the VIP on eth0",
            &found,
            &[("vip-unanswered", &vip_v6)],
        );
    });
    let (add, del) = (
        format!("addr add {VIP}/32 dev br0"),
        format!("addr del {VIP}/32 dev br0"),
    );
    with(&stage.lab.router, &add, &del, || {
        let found = [("error", "vip-answered-by-other", vip.as_str())];
        practice.expect("the router has the VIP", &found, &[]);
    });

    // How servers answer.
    for (death, id) in [
        (Death::VipMissing, "vip-missing"),
        (Death::WrongSource, "wrong-source"),
        (Death::WrongMac, "wrong-mac"),
    ] {
        let backend = &mut stage.lab.backends[0];
        let doom = death.prepare(backend).expect("a death");
        doom.strike(backend).expect("it strikes");
        practice.expect(id, &[("error", id, DNS1)], &[]);
        doom.undo(backend).expect("it is undone");
    }
    dns1.nft("table inet closed { chain input { type filter hook input priority filter; tcp dport 53 reject with tcp reset; }; }")
        .unwrap();
    practice.expect("no TCP", &[("error", "tcp-closed", DNS1)], &[]);
    dns1.nft("delete table inet closed").unwrap();
    dns1.nft("table inet closed { chain input { type filter hook input priority filter; ip daddr 192.168.0.201 udp dport 53 drop; }; }")
        .unwrap();
    let own = [("info", "own-address-silent", DNS1)];
    practice.expect("its own address is closed", &own, &[]);
    dns1.nft("delete table inet closed").unwrap();
    stage.lab.backends[1].freeze().expect("a frozen server");
    practice.expect("a server hangs", &[("error", "server-silent", DNS2)], &[]);
    stage.lab.backends[1].thaw().expect("a server that goes on");

    // Where servers are.
    let address = stage.lab.backends[1].address;
    let (add, del) = (
        format!("route add {address} via 192.168.0.254"),
        format!("route del {address} via 192.168.0.254"),
    );
    with(&balancer, &add, &del, || {
        let found = [
            ("error", "backend-behind-gateway", DNS2),
            ("skipped", "server-silent", DNS2),
        ];
        practice.expect("dns2 is behind a router", &found, &[]);
    });
    let backends: Vec<_> = stage.lab.backends.iter().collect();
    let mac = format!("mac = \"{}\"\n", stage.lab.backends[0].mac);
    let same = agent::configuration(&["eth0"], "hash", &backends) + &mac;
    let file = other_configuration(&balancer, &same);
    let found = [("warning", "backend-same-mac", "resolvers")];
    practice.expect_with("one MAC address", &["--config", file], &found, &[]);
    let nobody = same
        .replace(&address.to_string(), "192.168.0.77")
        .replace(&mac, "");
    let file = other_configuration(&balancer, &nobody);
    let found = [
        ("error", "backend-not-found", DNS2),
        ("skipped", "server-silent", DNS2),
    ];
    practice.expect_with("nobody has the address", &["--config", file], &found, &[]);
    let here = nobody.replace("192.168.0.77", "192.168.0.1");
    let file = other_configuration(&balancer, &here);
    let found = [
        ("error", "backend-is-this-host", DNS2),
        ("skipped", "server-silent", DNS2),
    ];
    practice.expect_with("it is the balancer", &["--config", file], &found, &[]);

    let here = agent::configuration(&["eth0"], "hash", &backends)
        + "\n[[service.backend]]\nname = \"here\"\naddress = \"192.168.0.1\"\nlocal = true\n";
    let file = other_configuration(&balancer, &here);
    let found = [
        ("info", "vip-announced-here", "eth0"),
        ("error", "vip-missing", "resolvers/here"),
        ("error", "server-silent", "resolvers/here"),
    ];
    let what = "no server here, and one VIP of two";
    practice.expect_with(what, &["--config", file], &found, &[]);

    // Who may look.
    let skipped = [
        ("warning", "capability-missing", "this process"),
        ("skipped", "vip-answered-by-backend", vip.as_str()),
        ("skipped", "vip-answered-by-backend", vip_v6.as_str()),
        ("skipped", "vip-missing", DNS1),
        ("skipped", "vip-missing", DNS2),
    ];
    let unseen = [("vip-unanswered", vip_v6.as_str())];
    practice.expect_of("no CAP_NET_RAW", without("net_raw"), &skipped, &unseen);

    // And all of it is gone, also without an agent, whose program steers on.
    stage.agent.terminate().expect("the agent ends");
    practice.expect("no agent", &[("info", "agent-not-running", "host")], &[]);
}
