use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SECOND: Duration = Duration::from_secs(1);

fn awaited(ports: &Ports, transport: Transport) -> BTreeSet<u16> {
    ports.awaited(transport).into_iter().collect()
}

/// With paused time, which the runtime advances as soon as all tasks wait.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn datagrams_leave_from_ports_of_a_pool() {
    let mut ports = Ports::new();
    let mut used = BTreeSet::new();
    for number in 0..200 {
        let (port, is_new) = ports.for_datagram(LOOPBACK, 0, |_| true).unwrap();
        assert_eq!(is_new, number == 0);
        used.insert(port.number);
    }
    let pool = awaited(&ports, Transport::Udp);
    assert_eq!(pool.len(), POOL);
    assert!(used.is_subset(&pool) && used.len() > 1, "{used:?}");

    let (port, is_new) = ports
        .for_datagram(Ipv6Addr::LOCALHOST.into(), 0, |_| true)
        .unwrap();
    assert!(is_new && awaited(&ports, Transport::Udp).contains(&port.number));
}

#[tokio::test(start_paused = true)]
async fn only_ports_that_may_be_used_are() {
    let mut ports = Ports::new();
    let (one, _) = ports.for_datagram(LOOPBACK, 0, |_| true).unwrap();
    for _ in 0..10 {
        let (port, _) = ports
            .for_datagram(LOOPBACK, 0, |number| number == one.number)
            .unwrap();
        assert_eq!(port.number, one.number);
    }
    let error = ports.for_datagram(LOOPBACK, 0, |_| false).unwrap_err();
    assert_eq!(error.operation, Operation::HoldPort);
}

#[tokio::test(start_paused = true)]
async fn each_renewal_replaces_one_port_and_in_time_all() {
    let mut ports = Ports::new();
    drop(ports.for_datagram(LOOPBACK, 0, |_| true).unwrap());
    let first = awaited(&ports, Transport::Udp);
    for round in 1..=POOL {
        pass(SECOND).await;
        assert!(ports.renew(0));
        let now = awaited(&ports, Transport::Udp);
        assert_eq!(now.len(), POOL);
        // A port that was let go of may come again.
        assert!(first.difference(&now).count() <= round);
        assert!(ports.lingering.len() <= UDP_LINGER.as_secs() as usize);
    }
    let last = awaited(&ports, Transport::Udp);
    assert!(first.intersection(&last).count() < POOL / 2);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_port_is_awaited_as_long_as_its_probe() {
    let mut ports = Ports::new();
    drop(ports.for_datagram(LOOPBACK, 0, |_| true).unwrap());
    let oldest = ports.pools[&LOOPBACK].ports[0].number;
    let (port, _) = ports
        .for_datagram(LOOPBACK, 0, |number| number == oldest)
        .unwrap();
    for _ in 0..10 {
        pass(SECOND).await;
        ports.renew(0);
    }
    assert!(awaited(&ports, Transport::Udp).contains(&oldest));
    drop(port);
    assert!(!awaited(&ports, Transport::Udp).contains(&oldest));
    let is_held = |ports: &Ports| {
        let mut held = ports.lingering.iter();
        held.any(|lingering| lingering.port.number == oldest)
    };
    assert!(is_held(&ports));
    ports.renew(0);
    assert!(!is_held(&ports));
}

#[tokio::test(start_paused = true)]
async fn a_connections_port_is_awaited_until_it_ends_and_held_a_while_longer() {
    let mut ports = Ports::new();
    let port = ports.for_connection(LOOPBACK, 0).unwrap();
    let other = ports.for_connection(LOOPBACK, 0).unwrap();
    assert_ne!(port.number, other.number);
    ports.end_connection(&port);
    drop(port);
    assert_eq!(ports.awaited(Transport::Tcp), [other.number]);
    ports.renew(0);
    assert_eq!(ports.lingering.len(), 1);
    pass(TCP_LINGER).await;
    ports.renew(0);
    assert_eq!(ports.lingering.len(), 0);
    assert_eq!(ports.awaited(Transport::Tcp), [other.number]);
}

#[tokio::test(start_paused = true)]
async fn lingering_ports_are_bounded() {
    let mut ports = Ports::new();
    for _ in 0..LINGERING + 10 {
        let port = ports.for_connection(LOOPBACK, 0).unwrap();
        ports.end_connection(&port);
    }
    assert_eq!(ports.lingering.len(), LINGERING);
}

#[tokio::test(start_paused = true)]
async fn what_no_probe_uses_is_let_go_of() {
    let mut ports = Ports::new();
    drop(ports.for_datagram(LOOPBACK, 0, |_| true).unwrap());
    pass(IDLE - SECOND).await;
    ports.renew(0);
    assert_eq!(ports.awaited(Transport::Udp).len(), POOL);
    assert!(!ports.is_unused());
    pass(SECOND).await;
    assert!(ports.renew(0));
    assert!(ports.awaited(Transport::Udp).is_empty());
    assert!(ports.is_unused());
}
