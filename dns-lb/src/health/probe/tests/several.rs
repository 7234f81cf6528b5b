//! Several questions and ways, and the ways of a backend that is this very host.

use super::*;
use crate::{health::LinkReach, mac::MacAddress};

const TWO: &str = "[[service.health.queries]]\nquery = \"a.test. A\"\n\
                   [[service.health.queries]]\nquery = \"b.test. A\"";

/// Answers the question for `a.test` well, and the other as given.
fn answer(query: &[u8], other: Option<ResponseCode>) -> Vec<Vec<u8>> {
    let name = Message::from_vec(query).unwrap().queries[0].name().clone();
    match other {
        _ if name.to_string() == "a.test." => vec![good_octets(query)],
        Some(code) => vec![with_code(query, code)],
        None => vec![],
    }
}

#[tokio::test]
async fn as_many_questions_as_wanted_must_pass() {
    let one = format!("queries_to_pass = 1\n{TWO}");
    let outcome = probe_server(&patient(TWO), |query| {
        answer(query, Some(ResponseCode::NXDomain))
    })
    .await;
    assert!(outcome.passed(), "{outcome}");
    let outcome = probe_server(&patient(TWO), |query| {
        answer(query, Some(ResponseCode::ServFail))
    })
    .await;
    assert_eq!(outcome.to_string(), "SERVFAIL not accepted (b.test. A)");
    let outcome = probe_server(&impatient(TWO), |query| answer(query, None)).await;
    assert_eq!(outcome.to_string(), "timeout (b.test. A)");
    // Does not wait for the other.
    let outcome = probe_server(&patient(&one), |query| answer(query, None)).await;
    assert_eq!(outcome.to_string(), "NOERROR");
    assert!(outcome.rtt().unwrap() < patient("").timeout);
    let outcome = probe_server(&patient(&one), |query| {
        vec![with_code(query, ResponseCode::Refused)]
    })
    .await;
    assert_eq!(outcome.cause(), "rcode");
}

/// A backend that is this very host, with these VIPs.
fn local(server: SocketAddr, vips: &[&str]) -> Target {
    Target {
        vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(),
        local: true,
        ..target(server)
    }
}

#[tokio::test]
async fn this_host_is_asked_on_the_vip_and_from_it() {
    let check = HealthCheck {
        path: crate::config::ProbePath::Vip,
        ..patient("")
    };
    let socket = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let target = local(socket.local_addr().unwrap(), &["127.0.0.2"]);
    let serving = async {
        let mut buffer = [0; 512];
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let reply = good_octets(&buffer[..length]);
        socket.send_to(&reply, client).await.unwrap();
        client
    };
    let (outcome, client) = tokio::join!(probe_target(&target, &check), serving);
    assert_eq!(outcome.to_string(), "NOERROR");
    assert_eq!(client.ip().to_string(), "127.0.0.2");
    drop(socket);

    let server = Server::start("127.0.0.2:0", |query| vec![good_octets(query)]).await;
    let target = local(server.address, &["127.0.0.2", "127.0.0.3"]);
    let outcome = probe_target(&target, &check).await;
    assert_eq!(outcome.to_string(), "port refused (127.0.0.3)");
}

#[tokio::test]
async fn a_vip_that_this_host_lacks_is_the_backends_failure() {
    let server = Server::start("127.0.0.1:0", |query| vec![good_octets(query)]).await;
    let target = local(server.address, &["192.0.2.1"]);
    for transport in ["udp", "tcp"] {
        let settings = format!("transport = \"{transport}\"");
        let check = HealthCheck {
            path: crate::config::ProbePath::Vip,
            ..impatient(&settings)
        };
        let outcome = probe_target(&target, &check).await;
        assert_eq!(outcome.to_string(), "the VIP 192.0.2.1 is not on this host");
        assert_eq!(outcome.cause(), "vip_missing");
        assert!(!outcome.is_own_fault() && !outcome.suggests_diagnosis());
    }
}

#[tokio::test]
async fn a_backend_that_is_nowhere_is_not_asked() {
    let check = HealthCheck {
        path: crate::config::ProbePath::Vip,
        ..patient("")
    };
    let target = target("127.0.0.1:53".parse().unwrap());
    let probe_at = async |reach: Reach| {
        let prober = Prober::new();
        prober
            .probe(&target, &check, &reach, Extra::default())
            .await
    };
    let outcome = probe_at(Reach {
        unresolved: Some("nobody on eth0 answers for it".to_owned()),
        ..Reach::default()
    })
    .await;
    assert_eq!(
        outcome.to_string(),
        "not found on the link: nobody on eth0 answers for it"
    );
    assert!(!outcome.is_own_fault());
    assert_eq!(outcome.cause(), "not_found");
    let outcome = probe_at(Reach::default()).await;
    assert!(outcome.is_own_fault());
    let outcome = probe_at(Reach {
        own_fault: Some("eth0 is down".to_owned()),
        ..Reach::default()
    })
    .await;
    assert_eq!(outcome.to_string(), "eth0 is down");
    assert!(outcome.is_own_fault());
}

/// What a server had before it died does not count against those that are left.
#[tokio::test]
async fn the_serial_of_a_dead_server_takes_nobody_down() {
    use hickory_proto::rr::{Name, rdata::SOA};
    fn soa(query: &[u8], serial: u32) -> Vec<Vec<u8>> {
        let query = Message::from_vec(query).unwrap();
        let name = query.queries[0].name().clone();
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        reply.add_queries(query.queries);
        let root: Name = ".".parse().unwrap();
        let data = SOA::new(root.clone(), root, serial, 1, 1, 1, 1);
        reply.add_answer(Record::from_rdata(name, 60, RData::SOA(data)));
        vec![reply.to_vec().unwrap()]
    }
    let check = impatient("query = \"a.test. SOA\"\nmax_serial_lag = 0");
    let primary = Server::start("127.0.0.1:0", |query| soa(query, 101)).await;
    let secondary = Server::start("127.0.0.1:0", |query| soa(query, 100)).await;
    let prober = Prober::new();
    let (reach, extra) = (Reach::default(), Extra::default());
    let one = Target {
        backend: backend("one"),
        ..target(primary.address)
    };
    let two = Target {
        backend: backend("two"),
        ..target(secondary.address)
    };
    assert!(prober.probe(&one, &check, &reach, extra).await.passed());
    drop(primary);
    for _ in 0..5 {
        assert!(!prober.probe(&one, &check, &reach, extra).await.passed());
    }
    let outcome = prober.probe(&two, &check, &reach, extra).await;
    assert!(
        outcome.passed(),
        "the only server that is left is called down: {outcome}"
    );
}

/// On an interface that has no address.
fn on_link() -> Reach {
    let link = LinkReach {
        interface: "lo".to_owned(),
        ifindex: 1,
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        sources: Vec::new(),
    };
    Reach {
        link: Some(link),
        ..Reach::default()
    }
}

#[tokio::test]
async fn a_network_out_of_reach_is_the_backends_failure_where_this_host_has_a_route() {
    // What the kernel says of a connection to the broadcast address.
    let target = target("255.255.255.255:53".parse().unwrap());
    let check = patient("transport = \"tcp\"");
    for (reach, is_own_fault) in [(Reach::default(), true), (on_link(), false)] {
        let prober = Prober::new();
        let outcome = prober.probe(&target, &check, &reach, Extra::default());
        let outcome = outcome.await;
        assert!(outcome.to_string().contains("Network is unreachable"));
        assert_eq!(outcome.is_own_fault(), is_own_fault, "{outcome}");
    }
}

/// This host has lost its IPv6 address; the servers listen on the VIPs alone.
#[tokio::test]
async fn a_lost_own_address_is_not_the_backends_fault() {
    let check = HealthCheck {
        path: crate::config::ProbePath::Vip,
        ..patient("")
    };
    let closed = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let target = Target {
        vips: vec!["2001:db8::53".parse().unwrap()],
        ..target(closed)
    };
    let reach = on_link();
    let outcome = Prober::new()
        .probe(&target, &check, &reach, Extra::default())
        .await;
    assert!(outcome.is_own_fault(), "{outcome}");
    assert_eq!(
        outcome.to_string(),
        "no own IPv6 address on lo to ask the VIP 2001:db8::53 from"
    );
}

#[tokio::test]
async fn a_query_waits_for_a_descriptor_and_the_want_of_one_is_our_own_fault() {
    let server = Server::start("127.0.0.1:0", |query| vec![good_octets(query)]).await;
    let target = target(server.address);
    let prober = Prober {
        descriptors: Turns::new(1),
        ..Prober::new()
    };
    let (reach, extra) = (Reach::default(), Extra::default());
    let only = prober.descriptors.wait(tokio::time::Instant::now());
    let only = only.await.unwrap();
    for transport in ["udp", "tcp"] {
        let check = impatient(&format!("transport = \"{transport}\""));
        let outcome = prober.probe(&target, &check, &reach, extra).await;
        assert!(outcome.is_own_fault());
        assert_eq!(
            outcome.to_string(),
            "no descriptor free; raise the limit of open files (LimitNOFILE=)"
        );
    }
    let check = patient("");
    let release = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(only);
    };
    let (outcome, ()) = tokio::join!(prober.probe(&target, &check, &reach, extra), release);
    assert!(outcome.passed(), "{outcome}");
}

#[tokio::test]
async fn a_thousand_silent_servers_are_asked() {
    let allowed = crate::health::raise_limit().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let _listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut check = impatient("transport = \"both\"");
    check.timeout = Duration::from_millis(800);
    let target = target(address);
    let prober = Prober::new();
    let (reach, extra) = (Reach::default(), Extra::default());
    let probes = (0..1_000).map(|_| prober.probe(&target, &check, &reach, extra));
    let outcomes = futures_util::future::join_all(probes).await;
    let own: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.is_own_fault())
        .map(ToString::to_string)
        .collect();
    assert!(
        !own.iter().any(|fault| fault.contains("open files (os")),
        "{own:?}"
    );
    // With fewer files, some have to wait until it is too late for them.
    if allowed >= 8_192 {
        assert_eq!(own, [""; 0]);
    }
}
