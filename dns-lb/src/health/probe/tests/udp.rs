use std::collections::BTreeSet;

use hickory_proto::{
    op::{Edns, MessageType},
    rr::{
        DNSClass, Name, RecordType,
        rdata::{
            SOA, TXT,
            opt::{EdnsCode, EdnsOption},
        },
    },
};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_right_answer_passes() {
    let outcome = probe_server(&patient(""), |query| vec![good_octets(query)]).await;
    assert!(outcome.passed(), "{outcome}");
    assert_eq!(outcome.to_string(), "NOERROR");
    assert_eq!(outcome.cause(), "passed");
    assert!(outcome.rtt().unwrap() < patient("").timeout);
    assert_eq!(outcome.identity(), None);
}

#[tokio::test]
async fn the_query_is_plain_and_its_id_and_port_differ_each_time() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let mut ids = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for _ in 0..16 {
        let probing = tokio::spawn(async move { probe(address, &patient("")).await });
        let mut buffer = [0; 512];
        let (length, client) = server.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(query.metadata.message_type, MessageType::Query);
        assert!(query.metadata.recursion_desired);
        assert!(query.edns.is_none());
        assert_eq!(query.queries.len(), 1);
        assert_eq!(query.queries[0].to_string(), "localhost.localnet. IN A");
        ids.insert(query.metadata.id);
        ports.insert(client.port());
        server
            .send_to(&good_octets(&buffer[..length]), client)
            .await
            .unwrap();
        assert!(probing.await.unwrap().passed());
    }
    // 16 random numbers out of 2^16 and out of 28,232: fewer than 13 different ones do not happen.
    assert!(ids.len() > 12, "{ids:?}");
    assert!(ports.len() > 12, "{ports:?}");
}

#[test]
fn a_query_is_as_the_check_says() {
    let message = |settings: &str, nsid| {
        let question = check_with(settings).questions.remove(0);
        let expected = Expected::new(&question);
        Message::from_vec(&expected.query(&question, nsid).unwrap()).unwrap()
    };
    let plain = message("recursion_desired = false", false);
    assert!(!plain.metadata.recursion_desired);
    let edns = message("path = \"real\"\nedns_size = 4096", false)
        .edns
        .unwrap();
    assert_eq!(edns.max_payload(), 4096);
    assert!(edns.option(EdnsCode::NSID).is_none());
    for (settings, octets) in [("", 1_232), ("edns_size = 512", 512)] {
        let edns = message(settings, true).edns.unwrap();
        assert_eq!(edns.max_payload(), octets);
        assert!(edns.option(EdnsCode::NSID).unwrap().is_empty());
    }
    let random = "query = \"%r.example.net. A\"";
    let names = [message(random, false), message(random, false)];
    let [one, two] = names.map(|message| message.queries[0].name().to_string());
    assert_ne!(one, two);
    assert!(one.ends_with(".example.net."), "{one}");
}

#[tokio::test]
async fn response_codes_are_judged_by_the_check() {
    for (code, passes, text) in [
        (ResponseCode::NXDomain, true, "NXDOMAIN"),
        (ResponseCode::ServFail, false, "SERVFAIL not accepted"),
        (ResponseCode::Refused, false, "REFUSED not accepted"),
        (ResponseCode::Unknown(11), false, "RCODE11 not accepted"),
    ] {
        let outcome = probe_server(&patient(""), move |query| vec![with_code(query, code)]).await;
        assert_eq!(outcome.passed(), passes, "{outcome}");
        assert_eq!(outcome.to_string(), text);
        assert_eq!(outcome.cause(), if passes { "passed" } else { "rcode" });
    }
}

#[tokio::test]
async fn the_name_may_come_back_in_other_letters() {
    let outcome = probe_server(&patient(""), |query| {
        let mut reply = good_octets(query);
        // Behind the header, whose octets may happen to be letters: the id's are random.
        reply[12..].make_ascii_uppercase();
        vec![reply]
    })
    .await;
    assert_eq!(outcome.to_string(), "NOERROR");
}

#[tokio::test]
async fn what_is_no_reply_to_the_query_is_ignored() {
    type Respond = fn(&[u8]) -> Vec<u8>;
    let rows: [(&str, Respond); 8] = [
        ("timeout, ignored garbage", |_| b"garbage".to_vec()),
        ("timeout, ignored garbage", |_| Vec::new()),
        ("timeout, ignored a reply with another id", |query| {
            let mut reply = good_reply(query);
            reply.metadata.id ^= 1;
            reply.to_vec().unwrap()
        }),
        ("timeout, ignored a reply to another question", |query| {
            let mut reply = good_reply(query);
            reply.queries[0].set_name("localhost.localnets.".parse().unwrap());
            reply.to_vec().unwrap()
        }),
        ("timeout, ignored a reply to another question", |query| {
            let mut reply = good_reply(query);
            reply.queries[0].set_query_class(DNSClass::CH);
            reply.to_vec().unwrap()
        }),
        ("timeout, ignored a reply to another question", |query| {
            let mut reply = good_reply(query);
            reply.queries.clear();
            reply.to_vec().unwrap()
        }),
        (
            "timeout, ignored a message that is no reply to a query",
            <[u8]>::to_vec,
        ),
        (
            "timeout, ignored a message that is no reply to a query",
            |query| {
                let mut reply = good_reply(query);
                reply.metadata.op_code = OpCode::Notify;
                reply.to_vec().unwrap()
            },
        ),
    ];
    for (text, respond) in rows {
        let outcome = probe_server(&impatient(""), move |query| vec![respond(query)]).await;
        assert!(!outcome.passed());
        assert_eq!(outcome.to_string(), text);
        assert_eq!(outcome.cause(), "timeout");
        // The backend's own address was asked: there is nothing to compare it with.
        assert!(!outcome.suggests_diagnosis());
    }
}

#[tokio::test]
async fn a_forged_reply_neither_fails_nor_passes_a_backend() {
    let outcome = probe_server(&patient(""), |query| {
        let mut forged = with_code(query, ResponseCode::ServFail);
        forged[0] ^= 0x80;
        vec![forged, b"?".to_vec(), good_octets(query)]
    })
    .await;
    assert_eq!(outcome.to_string(), "NOERROR");

    let outcome = probe_server(&patient(""), |query| {
        let mut forged = good_octets(query);
        forged[0] ^= 0x80;
        vec![forged, with_code(query, ResponseCode::ServFail)]
    })
    .await;
    assert_eq!(outcome.to_string(), "SERVFAIL not accepted");
}

/// A probe of a server whose answer comes from a socket that is bound to another address.
async fn probe_answered_from(other: impl FnOnce(SocketAddr) -> SocketAddr) -> Outcome {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let other = UdpSocket::bind(other(address)).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, client) = server.recv_from(&mut buffer).await.unwrap();
        other
            .send_to(&good_octets(&buffer[..length]), client)
            .await
            .unwrap();
        server
    });
    let outcome = probe(address, &impatient("")).await;
    drop(serving.await.unwrap());
    outcome
}

#[tokio::test]
async fn an_answer_from_another_port_or_address_is_not_heard() {
    for other in ["127.0.0.1:0", "127.0.0.2:0"] {
        let outcome = probe_answered_from(|_| other.parse().unwrap()).await;
        assert_eq!(outcome.to_string(), "timeout");
        assert!(!outcome.passed());
    }
}

#[tokio::test]
async fn an_answer_from_another_address_with_the_right_port_is_not_heard() {
    let outcome = probe_answered_from(|server| ([127, 0, 0, 2], server.port()).into()).await;
    assert_eq!(outcome.to_string(), "timeout");
}

#[tokio::test]
async fn silence_lasts_as_long_as_the_timeout() {
    let check = impatient("");
    let begun = Instant::now();
    let outcome = probe_server(&check, |_| Vec::new()).await;
    assert_eq!(outcome.to_string(), "timeout");
    assert!(outcome.rtt().is_none());
    assert!(begun.elapsed() >= check.timeout);
}

#[tokio::test]
async fn a_closed_port_fails_at_once() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(closed) = UdpSocket::bind(address).await else {
            // A host without IPv6.
            continue;
        };
        let address = closed.local_addr().unwrap();
        drop(closed);
        let outcome = probe(address, &patient("")).await;
        assert_eq!(outcome.to_string(), "port refused");
        assert_eq!(outcome.cause(), "refused");
        assert!(outcome.rtt().unwrap() < patient("").timeout);
        assert!(!outcome.is_own_fault());
    }
}

#[tokio::test]
async fn a_fault_of_our_own_is_named_as_such() {
    // Without SO_BROADCAST the kernel refuses to connect to the broadcast address.
    let outcome = probe("255.255.255.255:53".parse().unwrap(), &patient("")).await;
    assert!(outcome.is_own_fault());
    assert!(!outcome.passed());
    assert_eq!(outcome.cause(), "own_fault");
    assert_eq!(
        outcome.to_string(),
        "cannot connect: Permission denied (os error 13)"
    );
}

#[tokio::test]
async fn a_malformed_reply_of_the_server_fails_at_once() {
    let outcome = probe_server(&patient(""), |query| {
        let mut reply = good_octets(query);
        reply.pop();
        vec![reply]
    })
    .await;
    assert_eq!(outcome.to_string(), "garbage reply");
    assert_eq!(outcome.cause(), "malformed");
    assert!(!outcome.passed());
}

#[tokio::test]
async fn a_server_says_who_it_is_by_nsid() {
    for (nsid, identity) in [
        (&b"ns1.example.net"[..], Some("ns1.example.net".to_owned())),
        (b"\x00\x1b[", Some("001b5b".to_owned())),
        (b"", None),
        (&[b'x'; 400], Some("x".repeat(255))),
        (&[0; 400], Some("00".repeat(127))),
    ] {
        let respond = move |query: &[u8]| {
            let mut reply = good_reply(query);
            let mut edns = Edns::new();
            let payload = nsid.try_into().unwrap();
            edns.options_mut().insert(EdnsOption::NSID(payload));
            reply.set_edns(edns);
            vec![reply.to_vec().unwrap()]
        };
        let outcome = probe_server(&patient("identity = \"nsid\""), respond).await;
        assert!(outcome.passed(), "{outcome}");
        assert_eq!(outcome.identity(), identity.as_deref());
    }
}

/// Answers what is asked in class IN, and the identity as given.
fn with_identity(query: &[u8], identity: Option<&[&[u8]]>) -> Vec<Vec<u8>> {
    let mut reply = good_reply(query);
    if reply.queries[0].query_class() == DNSClass::CH {
        assert_eq!(reply.queries[0].to_string(), "id.server. CH TXT");
        let Some(strings) = identity else {
            return vec![];
        };
        let text = TXT::from_bytes(strings.to_vec());
        let name = reply.queries[0].name().clone();
        reply.answers = vec![Record::from_rdata(name, 0, RData::TXT(text))];
    }
    vec![reply.to_vec().unwrap()]
}

#[tokio::test]
async fn a_server_says_who_it_is_in_class_chaos() {
    let probe_asking = async |check: HealthCheck, ask_identity, identity| {
        let respond = move |query: &[u8]| with_identity(query, identity);
        let server = Server::start("127.0.0.1:0", respond).await;
        let extra = Extra {
            ask_identity,
            ..Extra::default()
        };
        let (target, reach) = (target(server.address), Reach::default());
        Prober::new().probe(&target, &check, &reach, extra).await
    };
    const NAME: &[&[u8]] = &[b"ns1 \\", b"\n"];
    let settings = "identity = \"chaos\"";
    let outcome = probe_asking(patient(settings), true, Some(NAME)).await;
    assert_eq!(outcome.identity(), Some("ns1 \\\\010"));
    assert!(outcome.passed());
    let outcome = probe_asking(patient(settings), false, Some(NAME)).await;
    assert_eq!(outcome.identity(), None);
    // Silence is no failure.
    let outcome = probe_asking(impatient(settings), true, None).await;
    assert_eq!(outcome.identity(), None);
    assert!(outcome.passed());
}

fn soa(query: &[u8], serial: u32, code: ResponseCode) -> Vec<u8> {
    let mut reply = good_reply(query);
    assert_eq!(reply.queries[0].query_type(), RecordType::SOA);
    let name = reply.queries[0].name().clone();
    let data = SOA::new(Name::root(), Name::root(), serial, 1, 1, 1, 1);
    reply.answers = vec![Record::from_rdata(name, 60, RData::SOA(data))];
    reply.metadata.response_code = code;
    reply.to_vec().unwrap()
}

#[tokio::test]
async fn a_serial_may_be_behind_that_of_others_by_so_many() {
    let check = patient("query = \"example.net. SOA\"\nmax_serial_lag = 2");
    let prober = Prober::new();
    let probe_serial = async |name: &str, serial, code| {
        let respond = move |query: &[u8]| vec![soa(query, serial, code)];
        let server = Server::start("127.0.0.1:0", respond).await;
        let target = Target {
            backend: backend(name),
            ..target(server.address)
        };
        let (reach, extra) = (Reach::default(), Extra::default());
        prober.probe(&target, &check, &reach, extra).await
    };
    let good = ResponseCode::NoError;
    assert!(probe_serial("a", 15, good).await.passed());
    // One's own earlier serial does not count, nor one in a reply that is not accepted.
    assert!(probe_serial("a", 13, good).await.passed());
    assert!(probe_serial("a", 15, good).await.passed());
    let refused = probe_serial("c", 99, ResponseCode::Refused).await;
    assert_eq!(refused.cause(), "rcode");
    assert!(probe_serial("b", 13, good).await.passed());
    let behind = probe_serial("b", 12, good).await;
    assert_eq!(behind.to_string(), "serial 12 is 3 behind the highest, 15");
    assert_eq!(behind.cause(), "serial_behind");
    prober.forget(&backend("a"));
    assert!(probe_serial("b", 12, good).await.passed());

    let none = probe_server(&check, |query| {
        vec![with_code(query, ResponseCode::NXDomain)]
    })
    .await;
    assert_eq!(
        none.to_string(),
        "NXDOMAIN, but no SOA record in the answers"
    );
}
