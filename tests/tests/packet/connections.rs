//! TCP connections, and what becomes of them when their backend's place in the tables changes.

use dns_lb::{config::Protocol, health::Health};

use crate::{
    fixture::{CLIENT, Fixture, VIP, service, with_program},
    frames::{self, ACK, Extra, SYN},
};

/// The backend that has a segment of the client's connection from this port.
fn backend(fixture: &mut Fixture, port: u16, flags: u8) -> u16 {
    let segment = frames::tcp(port, 53, flags, &[]);
    let extra = Extra::default();
    let datagram = frames::datagram(CLIENT.into(), VIP.into(), frames::TCP, &extra, &segment);
    let run = fixture.run(&frames::frame(0, &datagram));
    match run.backends[..] {
        [(backend, _)] => backend,
        _ => panic!("backends counted: {:?}", run.backends),
    }
}

#[test]
fn a_connection_opened_anew_leaves_a_backend_that_takes_no_new_ones() {
    let mut resolvers = service("resolvers", VIP, &[(201, 1), (202, 1)]);
    resolvers.protocols = vec![Protocol::Tcp];
    with_program(vec![resolvers], |mut fixture| {
        let [leaves, stays] = fixture.assignment.backends[0][..] else {
            panic!("two backends");
        };
        // One port whose connection is established there, one whose connection is pending.
        let mut ports = (1_000..).filter(|&port| backend(&mut fixture, port, SYN) == leaves);
        let (established, pending) = (ports.next().unwrap(), ports.next().unwrap());
        for _ in 0..2 {
            assert_eq!(backend(&mut fixture, established, ACK), leaves);
        }
        fixture.config.services[0].backends[0].weight = 0;
        fixture.apply(|_| Health::Up);
        assert_eq!(backend(&mut fixture, established, ACK), leaves);
        for port in [established, pending] {
            assert_eq!(backend(&mut fixture, port, SYN), stays);
            for _ in 0..3 {
                assert_eq!(backend(&mut fixture, port, ACK), stays);
            }
        }
    });
}
