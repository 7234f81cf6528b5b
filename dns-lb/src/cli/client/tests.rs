//! Addresses, and answers of servers that are agents and that are none.

use tokio::net::TcpListener;

use super::*;
use crate::api::server::{StatusRequest, StatusSource, serve};

#[test]
fn any_address_becomes_loopback() {
    for (listen, expected) in [
        ("0.0.0.0:8053", "127.0.0.1:8053"),
        ("[::]:8053", "[::1]:8053"),
        ("192.0.2.1:80", "192.0.2.1:80"),
    ] {
        assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
    }
}

#[test]
fn urls_name_a_host_and_a_port() {
    for (url, expected) in [
        ("http://192.0.2.1:8053", Some("192.0.2.1:8053")),
        ("http://[::1]:8053/", Some("[::1]:8053")),
        ("http://lb.example:8053/status", Some("lb.example:8053")),
        ("192.0.2.1:8053", Some("192.0.2.1:8053")),
        ("https://192.0.2.1:8053", None),
        ("http://192.0.2.1", None),
        ("http://192.0.2.1:8053/metrics", None),
        ("/status", None),
        ("", None),
    ] {
        let found = authority(url).ok();
        assert_eq!(found.as_deref(), expected, "{url}");
    }
}

#[test]
fn names_are_one_part_of_a_path() {
    assert_eq!(path_segment("dns-1.a_b~"), "dns-1.a_b~");
    assert_eq!(path_segment("a/../b é\n"), "a%2F..%2Fb%20%C3%A9%0A");
}

#[tokio::test]
async fn reads_back_what_the_server_gives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (source, mut requests) = StatusSource::new();
    tokio::spawn(serve(listener, source, std::future::pending()));
    let agent = tokio::spawn(async move {
        let Some(StatusRequest::Status(reply)) = requests.recv().await else {
            panic!("the status is asked for");
        };
        reply.send(Status::sample()).unwrap();
    });
    let (status, document) = get_status(&authority, DEADLINE).await.unwrap();
    agent.await.unwrap();
    assert_eq!(status, Status::sample());
    assert_eq!(status, serde_json::from_slice(&document).unwrap());

    // The agent's end of the queue is gone now.
    let error = get_status(&authority, DEADLINE)
        .await
        .unwrap_err()
        .to_string();
    let expected = "says 503 Service Unavailable: the agent is stopping";
    assert!(error.ends_with(expected), "{error}");
}

#[tokio::test]
async fn says_what_to_do_when_no_agent_runs() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = unused.local_addr().unwrap().to_string();
    drop(unused);
    let error = format!("{:#}", get_status(&authority, DEADLINE).await.unwrap_err());
    assert!(error.contains("start it with `dns-lb run`"), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}
