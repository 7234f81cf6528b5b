//! What is particular to TCP.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use dns_lb::health::{Ignored, link::Arrival};
use dns_lb_tests::{Lab, Software, Topology, dns, lab};
use tokio::time::Instant;

use crate::{
    WITHOUT_SERVER,
    prober::{
        PATIENCE, SILENCE,
        Transport::{Tcp, Udp},
        ask, ask_until, expect_reply, on_balancer, ways,
    },
};

#[test]
fn a_long_reply_comes_whole_by_tcp() {
    let lab = Lab::start(&Topology::dual_stack(&[Software::Knot])).unwrap();
    let ways = ways(&lab, 0);
    on_balancer(&lab, async move |prober| {
        for way in ways {
            expect_reply(ask_until(&prober, &way, Udp).await);
            let deadline = Instant::now() + PATIENCE;
            let judge = |octets: &[u8]| match octets.len() > 10_000 {
                true => Ok(hickory_proto::op::Message::from_vec(octets).unwrap()),
                false => Err(Ignored::Garbage),
            };
            let arrival = prober
                .exchange_tcp(&way, &dns::large_query(1), deadline, judge)
                .await
                .unwrap();
            let Arrival::Reply { reply, .. } = arrival else {
                panic!("{arrival:?}");
            };
            assert_eq!(reply.answers.len(), 50);
        }
    });
}

#[test]
fn a_connection_that_ends_without_a_reply_is_told_from_a_refusal() {
    let mut topology = Topology::of(&[]);
    topology.backends.push(WITHOUT_SERVER);
    let lab = Lab::start(&topology).unwrap();
    let [way, _] = ways(&lab, 0);
    let server = lab.backends[0].node.thread(|| {
        let listener = TcpListener::bind((lab::VIP, dns::PORT)).unwrap();
        drop(listener.accept().unwrap());
        // Later ones find nobody.
    });
    let arrival = on_balancer(&lab, async move |prober| {
        // From before the thread listens on, it may be refused.
        let until = Instant::now() + PATIENCE;
        loop {
            match ask_until(&prober, &way, Tcp).await {
                Arrival::Refused { .. } if Instant::now() < until => thread::yield_now(),
                arrival => return arrival,
            }
        }
    });
    assert!(
        matches!(arrival, Arrival::Closed { ignored: None, .. }),
        "{arrival:?}"
    );
    server.join().unwrap();
}

#[test]
fn a_connection_that_is_given_up_is_reset() {
    let mut topology = Topology::of(&[]);
    topology.backends.push(WITHOUT_SERVER);
    let lab = Lab::start(&topology).unwrap();
    let [way, _] = ways(&lab, 0);
    let (listens, listening) = mpsc::channel();
    let server = lab.backends[0].node.thread(move || {
        let listener = TcpListener::bind((lab::VIP, dns::PORT)).unwrap();
        listens.send(()).unwrap();
        // A connection that came in vain, since its answers found no way, is here as well.
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut asked = Vec::new();
            let error = stream.read_to_end(&mut asked).map_err(|error| error.kind());
            if !asked.is_empty() {
                return error;
            }
        }
    });
    listening.recv().unwrap();
    on_balancer(&lab, async move |prober| {
        let until = Instant::now() + PATIENCE;
        while !server.is_finished() {
            assert!(Instant::now() < until, "the server waits on");
            let arrival = ask(&prober, &way, Tcp, SILENCE).await.unwrap();
            assert_eq!(arrival, Arrival::Nothing { ignored: None });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let end = server.join().unwrap();
        assert_eq!(end.unwrap_err(), ErrorKind::ConnectionReset);
    });
}
