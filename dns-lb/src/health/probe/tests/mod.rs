//! Probes of servers on the loopback, and judgements of octets.

mod judge;
mod several;
mod tcp;
mod udp;

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record, rdata::A},
};
use tokio::net::UdpSocket;

use super::*;
use crate::health::testing::check_with;

/// A check that waits long enough for any machine where a reply is expected.
fn patient(settings: &str) -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_secs(30),
        ..check_with(&format!("path = \"real\"\n{settings}"))
    }
}

/// A check that does not make a test wait for long where silence is expected.
fn impatient(settings: &str) -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_millis(60),
        ..patient(settings)
    }
}

fn backend(name: &str) -> BackendKey {
    BackendKey {
        service: "s".into(),
        backend: name.into(),
    }
}

fn target(server: SocketAddr) -> Target {
    Target {
        backend: backend("b"),
        address: server.ip(),
        port: server.port(),
        vips: vec!["192.0.2.1".parse().unwrap()],
        local: false,
    }
}

async fn probe(server: SocketAddr, check: &HealthCheck) -> Outcome {
    probe_target(&target(server), check).await
}

async fn probe_target(target: &Target, check: &HealthCheck) -> Outcome {
    let (reach, extra) = (Reach::default(), Extra::default());
    Prober::new().probe(target, check, &reach, extra).await
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

/// A socket that answers each datagram with those that `respond` gives, until it is dropped.
struct Server {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(
        address: &str,
        respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                // The error of an earlier client that is gone.
                let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                    continue;
                };
                for datagram in respond(&buffer[..length]) {
                    socket.send_to(&datagram, client).await.unwrap();
                }
            }
        });
        Self { address, serving }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Probes a server on the loopback that answers with these datagrams.
async fn probe_server(
    check: &HealthCheck,
    respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Outcome {
    let server = Server::start("127.0.0.1:0", respond).await;
    probe(server.address, check).await
}
