use std::collections::BTreeSet;

use hickory_proto::rr::{RData, Record, rdata::A};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::health::testing::check;

/// A check that does not make a test wait for long where silence is expected.
fn impatient() -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_millis(60),
        ..check()
    }
}

/// A check that waits long enough for any machine where a reply is expected.
fn patient() -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_secs(30),
        ..check()
    }
}

/// The reply of a good server to a query: one address, no error.
fn good_reply(query: &[u8]) -> Message {
    let query = Message::from_vec(query).unwrap();
    let name = query.queries[0].name().clone();
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.add_queries(query.queries);
    reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(127, 0, 0, 1))));
    reply
}

fn good_octets(query: &[u8]) -> Vec<u8> {
    good_reply(query).to_vec().unwrap()
}

fn with_code(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut reply = good_reply(query);
    reply.metadata.response_code = code;
    reply.to_vec().unwrap()
}

/// Probes a server on the loopback that answers one query with these datagrams.
async fn probe_server(
    check: &HealthCheck,
    respond: impl FnOnce(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Outcome {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, client) = server.recv_from(&mut buffer).await.unwrap();
        for datagram in respond(&buffer[..length]) {
            server.send_to(&datagram, client).await.unwrap();
        }
        // Handed back, so that the port stays open until the probe has ended.
        server
    });
    let outcome = probe(address, check).await;
    drop(serving.await.unwrap());
    outcome
}

#[tokio::test]
async fn a_right_answer_passes() {
    let outcome = probe_server(&patient(), |query| vec![good_octets(query)]).await;
    assert!(outcome.passed(), "{outcome}");
    assert_eq!(outcome.to_string(), "NOERROR");
    assert!(outcome.rtt().unwrap() < patient().timeout);
}

#[tokio::test]
async fn the_query_is_plain_and_its_id_and_port_differ_each_time() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let mut ids = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for _ in 0..16 {
        let check = patient();
        let probing = tokio::spawn(async move { probe(address, &check).await });
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

#[tokio::test]
async fn response_codes_are_judged_by_the_check() {
    for (code, passes, text) in [
        (ResponseCode::NXDomain, true, "NXDOMAIN"),
        (ResponseCode::ServFail, false, "SERVFAIL not accepted"),
        (ResponseCode::Refused, false, "REFUSED not accepted"),
        (ResponseCode::Unknown(11), false, "RCODE11 not accepted"),
    ] {
        let outcome = probe_server(&patient(), move |query| vec![with_code(query, code)]).await;
        assert_eq!(outcome.passed(), passes, "{outcome}");
        assert_eq!(outcome.to_string(), text);
    }
}

#[tokio::test]
async fn the_name_may_come_back_in_other_letters() {
    let outcome = probe_server(&patient(), |query| {
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
    let rows: [(&str, Respond); 7] = [
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
        let outcome = probe_server(&impatient(), move |query| vec![respond(query)]).await;
        assert!(!outcome.passed());
        assert_eq!(outcome.to_string(), text);
    }
}

#[tokio::test]
async fn a_forged_reply_neither_fails_nor_passes_a_backend() {
    let outcome = probe_server(&patient(), |query| {
        let mut forged = with_code(query, ResponseCode::ServFail);
        forged[0] ^= 0x80;
        vec![forged, b"?".to_vec(), good_octets(query)]
    })
    .await;
    assert_eq!(outcome.to_string(), "NOERROR");

    let outcome = probe_server(&patient(), |query| {
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
    let outcome = probe(address, &impatient()).await;
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
    let check = impatient();
    let begun = Instant::now();
    let outcome = probe_server(&check, |_| Vec::new()).await;
    assert_eq!(outcome.to_string(), "timeout");
    assert!(outcome.rtt().is_none());
    assert!(begun.elapsed() >= check.timeout);
}

#[tokio::test]
async fn a_closed_port_fails_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let outcome = probe(address, &patient()).await;
    assert_eq!(outcome.to_string(), "port refused");
    assert!(outcome.rtt().unwrap() < patient().timeout);
    assert!(!outcome.is_own_fault());
}

#[tokio::test]
async fn a_fault_of_our_own_is_named_as_such() {
    // Without SO_BROADCAST the kernel refuses to connect to the broadcast address.
    let outcome = probe("255.255.255.255:53".parse().unwrap(), &check()).await;
    assert!(outcome.is_own_fault());
    assert!(!outcome.passed());
    assert_eq!(
        outcome.to_string(),
        "cannot connect: Permission denied (os error 13)"
    );
}

/// The query that [`replies`] answer, and what is expected of them.
fn expected() -> (Expected, Vec<u8>) {
    let expected = Expected::new(0x1234, &check());
    let query = expected.query().unwrap();
    (expected, query)
}

#[test]
fn a_reply_cut_at_any_octet_fails() {
    let (expected, query) = expected();
    let whole = good_octets(&query);
    // The header, and the question: the name's 20 octets, its type and its class.
    let question_ends = 12 + 20 + 4;
    for length in 0..whole.len() {
        let judged = judge_reply(&whole[..length], &expected);
        if length < question_ends {
            assert_eq!(judged, Err(Ignored::Garbage), "cut at {length}");
        } else {
            assert_eq!(judged, Ok(Reply::Malformed), "cut at {length}");
        }
    }
    assert_eq!(
        judge_reply(&whole, &expected),
        Ok(Reply::Answer(ResponseCode::NoError))
    );
}

#[tokio::test]
async fn a_malformed_reply_of_the_server_fails_at_once() {
    let outcome = probe_server(&patient(), |query| {
        let mut reply = good_octets(query);
        reply.pop();
        vec![reply]
    })
    .await;
    assert_eq!(outcome.to_string(), "garbage reply");
    assert!(!outcome.passed());
}

#[test]
fn a_reply_that_says_it_is_cut_short_is_judged_by_its_code() {
    let (expected, query) = expected();
    for code in [ResponseCode::NoError, ResponseCode::ServFail] {
        let mut reply = good_reply(&query);
        reply.metadata.truncation = true;
        reply.metadata.response_code = code;
        let mut octets = reply.to_vec().unwrap();
        assert_eq!(judge_reply(&octets, &expected), Ok(Reply::Answer(code)));
        octets.pop();
        assert_eq!(judge_reply(&octets, &expected), Ok(Reply::Answer(code)));
    }
}

proptest! {
    #[test]
    fn any_octets_are_judged(octets in vec(any::<u8>(), 0..600)) {
        let (expected, _) = expected();
        // Random octets hold our id with a chance of 2^-16, and our question never.
        prop_assert!(judge_reply(&octets, &expected).is_err());
    }

    /// Octets changed, cut out and put in anywhere: what still counts as an answer still has our
    /// id, QR and question.
    #[test]
    fn mutated_replies_are_judged(
        changes in vec((any::<Index>(), any::<u8>()), 1..8),
        cut in any::<Index>(),
        tail in vec(any::<u8>(), 0..40),
    ) {
        let (expected, query) = expected();
        let mut octets = good_octets(&query);
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        octets.truncate(cut.index(octets.len() + 1));
        octets.extend(tail);
        if judge_reply(&octets, &expected).is_ok() {
            prop_assert_eq!(&octets[..2], &query[..2]);
            prop_assert_eq!(octets[2] & 0xf8, 0x80);
            prop_assert_eq!(&octets[4..6], &[0, 1]);
            let question = octets[12..36].to_ascii_lowercase();
            prop_assert_eq!(question, query[12..36].to_ascii_lowercase());
        }
    }
}
