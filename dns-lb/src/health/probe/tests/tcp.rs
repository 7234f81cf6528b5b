use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const TCP: &str = "transport = \"tcp\"";

async fn read_query(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u16().await.unwrap();
    let mut query = vec![0; usize::from(length)];
    stream.read_exact(&mut query).await.unwrap();
    query
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

/// Probes a server that takes one connection, and writes these pieces in answer to a query. Then it
/// ends the connection, or waits for the client to do so.
async fn probe_server(
    check: &HealthCheck,
    ends: bool,
    respond: impl FnOnce(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let query = read_query(&mut stream).await;
        for piece in respond(&query) {
            stream.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        if !ends {
            let _ = stream.read_u8().await;
        }
    });
    let outcome = probe(address, check).await;
    serving.await.unwrap();
    outcome
}

#[tokio::test]
async fn a_right_answer_passes() {
    let outcome = probe_server(&patient(TCP), false, |query| {
        vec![framed(&good_octets(query))]
    })
    .await;
    assert_eq!(outcome.to_string(), "NOERROR");
    assert!(outcome.rtt().is_some());
}

#[tokio::test]
async fn a_reply_may_come_in_pieces_and_after_what_is_none() {
    let outcome = probe_server(&patient(TCP), true, |query| {
        let mut octets = framed(b"?");
        octets.extend(framed(b""));
        octets.extend(framed(&good_octets(query)));
        octets.chunks(3).map(<[u8]>::to_vec).collect()
    })
    .await;
    assert_eq!(outcome.to_string(), "NOERROR");
}

#[tokio::test]
async fn a_reply_may_have_65535_octets() {
    let outcome = probe_server(&patient(TCP), false, |query| {
        let mut reply = good_octets(query);
        reply.resize(65_535, 0);
        vec![framed(&reply)]
    })
    .await;
    assert_eq!(outcome.to_string(), "NOERROR");
}

#[tokio::test]
async fn a_connection_that_ends_too_early_is_told() {
    let outcome = probe_server(&patient(TCP), true, |_| vec![]).await;
    assert_eq!(outcome.to_string(), "connection closed before a reply");
    assert_eq!(outcome.cause(), "closed");
    let outcome = probe_server(&patient(TCP), true, |query| {
        let mut reply = framed(&good_octets(query));
        reply.pop();
        vec![framed(b"?"), reply]
    })
    .await;
    assert_eq!(
        outcome.to_string(),
        "connection closed before a reply, ignored garbage"
    );
}

#[tokio::test]
async fn silence_is_a_timeout_and_tells_what_was_ignored() {
    let outcome = probe_server(&impatient(TCP), false, |query| {
        let mut reply = good_octets(query);
        reply[0] ^= 1;
        vec![framed(&reply)]
    })
    .await;
    assert_eq!(
        outcome.to_string(),
        "timeout, ignored a reply with another id"
    );
}

#[tokio::test]
async fn a_closed_port_fails_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let outcome = probe(address, &patient(TCP)).await;
    assert_eq!(outcome.to_string(), "port refused");
}

/// A server that cuts its replies by UDP short, and gives them whole by TCP.
async fn probe_cutting_server(check: &HealthCheck, tcp_code: ResponseCode) -> Outcome {
    // A port that is free for both: a few tries find one.
    let (listener, server) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        if UdpSocket::bind(&address).await.is_ok() {
            let respond = |query: &[u8]| {
                let mut reply = good_reply(query);
                reply.answers.clear();
                reply.metadata.truncation = true;
                vec![reply.to_vec().unwrap()]
            };
            break (listener, Server::start(&address, respond).await);
        }
    };
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let query = read_query(&mut stream).await;
        let reply = framed(&with_code(&query, tcp_code));
        stream.write_all(&reply).await.unwrap();
        let _ = stream.read_u8().await;
    });
    let outcome = probe(server.address, check).await;
    serving.abort();
    outcome
}

#[tokio::test]
async fn both_transports_must_pass_and_tcp_makes_up_for_what_was_cut() {
    let check = patient("transport = \"both\"\nmin_answers = 1");
    let outcome = probe_cutting_server(&check, ResponseCode::NoError).await;
    assert_eq!(outcome.to_string(), "NOERROR");
    let outcome = probe_cutting_server(&check, ResponseCode::ServFail).await;
    assert_eq!(outcome.to_string(), "SERVFAIL not accepted (TCP)");
    let outcome = probe_cutting_server(&patient("min_answers = 1"), ResponseCode::NoError).await;
    assert_eq!(outcome.to_string(), "NOERROR, but truncated");
    let outcome = probe_cutting_server(&patient(""), ResponseCode::NoError).await;
    assert_eq!(outcome.to_string(), "NOERROR");
}
