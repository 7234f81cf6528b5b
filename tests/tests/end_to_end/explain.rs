//! `dns-lb explain`: what it says comes true.

use std::{
    net::{SocketAddrV4, UdpSocket},
    time::Duration,
};

use dns_lb_tests::{Software, Topology, dns, lab::VIP};
use serde_json::Value;

use crate::stage::Stage;

/// What the agent's command line says of a packet.
fn explain(stage: &Stage, arguments: &[&str]) -> Value {
    let mut all = vec!["explain", "--json"];
    all.extend(arguments);
    let output = stage.agent.run(&all).expect("dns-lb explain");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Who answers a query that comes from this port of the client.
fn ask_from(stage: &Stage, port: u16) -> String {
    stage.lab.clients[0].node.run(move || {
        let socket = UdpSocket::bind(("0.0.0.0", port)).expect("the port");
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a time-out");
        socket
            .send_to(&dns::identity_query(7), SocketAddrV4::new(VIP, dns::PORT))
            .expect("sent");
        let mut octets = [0; 512];
        let length = socket.recv(&mut octets).expect("an answer");
        let (_, identity) = dns::identity_reply(&octets[..length]).expect("an identity");
        identity
    })
}

#[test]
fn what_it_says_comes_true_and_moves_no_counter() {
    let topology = Topology::of(&[Software::Nsd, Software::Knot, Software::Nsd]);
    let stage = Stage::set(&topology, "hash");
    let client = stage.lab.clients[0].address;
    let vip = VIP.to_string();
    let counted = || {
        stage
            .agent
            .run(&["status", "--json"])
            .expect("a status")
            .stdout
    };
    let counters = |status: Vec<u8>| {
        let status: Value = serde_json::from_slice(&status).expect("JSON");
        (
            status["services"][0]["endings"].clone(),
            status["services"][0]["packets"].clone(),
        )
    };
    let mut said = Vec::new();
    let before = counters(counted());
    for port in 20_000..20_012 {
        let from = format!("{client}:{port}");
        let answer = explain(&stage, &["--from", &from, "--to", &vip]);
        assert_eq!(answer["ending"], "transmitted", "{answer:#}");
        assert_eq!(answer["service"], "resolvers");
        assert_eq!(answer["chosen_by"], "table");
        assert_eq!(answer["frame"]["interface"], "eth0");
        assert_eq!(answer["frame"]["destination_mac"], answer["backend"]["mac"]);
        let tcp = explain(&stage, &["--from", &from, "--to", &vip, "--tcp"]);
        assert_eq!(
            tcp["backend"]["name"], answer["backend"]["name"],
            "one flow hash for both"
        );
        said.push((
            port,
            answer["backend"]["name"]
                .as_str()
                .expect("a name")
                .to_owned(),
        ));
    }
    assert_eq!(counters(counted()), before, "asking was counted");
    for (port, name) in said {
        let backend = stage
            .lab
            .backends
            .iter()
            .find(|backend| backend.name == name);
        let identity = backend.expect("a backend of that name").identity();
        assert_eq!(ask_from(&stage, port), identity, "port {port}");
    }
}

#[test]
fn it_says_why_a_packet_is_not_steered() {
    let mut stage = Stage::set(&Topology::of(&[Software::Nsd, Software::Knot]), "qname");
    let client = stage.lab.clients[0].address;
    let from = format!("{client}:4242");
    let answer = explain(&stage, &["--from", &from, "--to", "192.0.2.99"]);
    assert_eq!(answer["ending"], "not_service");
    assert_eq!(answer["backend"], Value::Null);

    let in_words = stage
        .agent
        .run(&[
            "explain",
            "--from",
            &from,
            "--to",
            &VIP.to_string(),
            "--qname",
            "www.example.com",
        ])
        .expect("dns-lb explain");
    let text = String::from_utf8(in_words.stdout).expect("text");
    for expected in [
        "asks for www.example.com. A",
        "resolvers, policy qname",
        "XDP_TX",
        "out by eth0",
        "chosen by: table",
    ] {
        assert!(text.contains(expected), "{text}");
    }

    stage.agent.terminate().expect("it stops");
    let unload = stage.agent.run(&["unload"]).expect("dns-lb unload");
    assert!(unload.status.success());
    let output = stage
        .agent
        .run(&["explain", "--from", &from, "--to", &VIP.to_string()])
        .expect("dns-lb explain");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("nothing steers here"), "{error}");
}
