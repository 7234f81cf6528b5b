//! `dns_lb::health::link` against real kernels and servers: the lab's balancer sends probes through
//! the VIP, with no data plane in between. Needs root.

mod connections;
mod prober;
mod reflector;
mod refusals;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dns_lb::{
    health::{
        Ignored,
        link::{Arrival, Operation, Way},
    },
    mac::MacAddress,
};
use dns_lb_tests::{Host, Lab, Segment, Software, Topology, dns, lab};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    prober::{
        OWN_ADDRESS, OWN_ADDRESS_V6, OWN_MAC, PATIENCE, SILENCE, Sender, TRANSPORTS,
        Transport::{Tcp, Udp},
        ask, ask_until, expect_reply, mac, on_balancer, ways,
    },
    reflector::reflect,
    refusals::refusals,
};

const FOREIGN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0xaa, 1]);

pub(crate) const WITHOUT_SERVER: Host = Host {
    software: None,
    segment: Segment::First,
};

#[test]
fn servers_reply_through_the_vip_whoever_owns_it_and_nobody_refuses_the_replies() {
    let servers = [Software::Nsd, Software::Knot];
    let lab = Lab::start(&Topology::dual_stack(&servers)).unwrap();
    let own_vips = |verb: &str| {
        let (vip, vip_v6) = (lab::VIP, lab::VIP_V6);
        let lines = format!("addr {verb} {vip}/32 dev lo\naddr {verb} {vip_v6}/128 dev lo");
        lab.balancer.ip(&lines).unwrap();
    };
    let before = refusals(&lab.balancer);
    for owned in [true, false] {
        own_vips(if owned { "replace" } else { "del" });
        for place in 0..servers.len() {
            let backend = &lab.backends[place];
            for way in ways(&lab, place) {
                for transport in TRANSPORTS {
                    let reply = on_balancer(&lab, async move |prober| {
                        let reply = expect_reply(ask_until(&prober, &way, transport).await);
                        // The kernel sees the same frames as we do, but perhaps later.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        reply
                    });
                    let expected = Sender {
                        identity: backend.identity(),
                        source: way.vip,
                        source_mac: mac(backend),
                        destination_mac: OWN_MAC,
                    };
                    assert_eq!(reply, expected, "{transport:?}, VIP owned: {owned}");
                }
            }
        }
    }
    assert_eq!(refusals(&lab.balancer), before);

    // The counters do count.
    let backend = &lab.backends[0].node;
    backend.run(|| {
        for own in [IpAddr::from(OWN_ADDRESS), OWN_ADDRESS_V6.into()] {
            // Nobody listens.
            assert!(dns::ask_identity(own, PATIENCE).is_err());
            assert!(dns::Conversation::open(own, PATIENCE).is_err());
        }
    });
    for (name, count) in refusals(&lab.balancer) {
        assert!(count > before[&name], "{name}");
    }
}

#[test]
fn a_killed_server_is_refused() {
    let mut lab = Lab::start(&Topology::dual_stack(&[Software::Nsd])).unwrap();
    for way in ways(&lab, 0) {
        on_balancer(&lab, async move |prober| {
            expect_reply(ask_until(&prober, &way, Udp).await);
        });
    }
    lab.backends[0].kill().unwrap();
    for way in ways(&lab, 0) {
        for transport in TRANSPORTS {
            let arrival = on_balancer(&lab, async move |prober| {
                ask_until(&prober, &way, transport).await
            });
            assert!(
                matches!(arrival, Arrival::Refused { rtt } if rtt < SILENCE),
                "{transport:?}: {arrival:?}"
            );
        }
    }
}

#[test]
fn a_backend_without_the_vip_does_not_answer() {
    let lab = Lab::start(&Topology::dual_stack(&[Software::Nsd])).unwrap();
    let way_there = ways(&lab, 0);
    on_balancer(&lab, async move |prober| {
        for way in way_there {
            expect_reply(ask_until(&prober, &way, Udp).await);
        }
    });
    let (vip, vip_v6) = (lab::VIP, lab::VIP_V6);
    let backend = &lab.backends[0].node;
    backend
        .ip(&format!(
            "addr del {vip}/32 dev lo\naddr del {vip_v6}/128 dev lo"
        ))
        .unwrap();
    on_balancer(&lab, async move |prober| {
        for way in way_there {
            for transport in TRANSPORTS {
                let arrival = ask(&prober, &way, transport, SILENCE).await.unwrap();
                assert_eq!(arrival, Arrival::Nothing { ignored: None }, "{transport:?}");
            }
        }
    });
}

#[test]
fn a_host_that_says_it_cannot_deliver_is_believed() {
    let lab = Lab::start(&Topology::dual_stack(&[Software::Nsd])).unwrap();
    let ways = ways(&lab, 0);
    on_balancer(&lab, async move |prober| {
        for way in ways {
            expect_reply(ask_until(&prober, &way, Udp).await);
        }
    });
    let (vip, vip_v6) = (lab::VIP, lab::VIP_V6);
    let backend = &lab.backends[0];
    // What routers without a route say.
    let forwarding = &["net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"];
    backend.node.sysctl(forwarding).unwrap();
    backend
        .node
        .ip(&format!(
            "addr del {vip}/32 dev lo\naddr del {vip_v6}/128 dev lo\n\
             route add unreachable {vip}\nroute add unreachable {vip_v6}"
        ))
        .unwrap();
    let says: [(IpAddr, u8, u8); 2] = [
        (backend.address.into(), 3, 1),
        (backend.address_v6.expect("IPv6").into(), 1, 0),
    ];
    for (way, expected) in ways.into_iter().zip(says) {
        for transport in TRANSPORTS {
            let arrival = on_balancer(&lab, async move |prober| {
                ask_until(&prober, &way, transport).await
            });
            let Arrival::Unreachable {
                source,
                icmp_type,
                code,
                ..
            } = arrival
            else {
                panic!("{transport:?}: {arrival:?}");
            };
            assert_eq!((source, icmp_type, code), expected, "{transport:?}");
        }
    }
}

#[test]
fn a_server_on_the_wildcard_shows_its_own_address() {
    let mut topology = Topology::dual_stack(&[]);
    topology.backends.push(WITHOUT_SERVER);
    let lab = Lab::start(&topology).unwrap();
    let backend = &lab.backends[0];
    let own: [IpAddr; 2] = [
        backend.address.into(),
        backend.address_v6.expect("IPv6").into(),
    ];
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    // Of both families, and it never looks whom a query was for. It is there before the first query.
    let bind = || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, dns::PORT));
    let socket = backend.node.run(bind).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let server = backend.node.thread(move || {
        let mut buffer = [0; 512];
        while !is_done.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..length], from).unwrap();
            }
        }
    });
    for (way, own) in ways(&lab, 0).into_iter().zip(own) {
        let arrival = on_balancer(&lab, async move |prober| {
            let until = Instant::now() + PATIENCE;
            loop {
                let deadline = Instant::now() + SILENCE;
                // The query comes back, which will do.
                let query = dns::identity_query(7);
                let judge = |octets: &[u8]| match octets == query {
                    true => Ok(()),
                    false => Err(Ignored::Garbage),
                };
                let arrival = prober.exchange_udp(&way, &query, deadline, judge).await;
                match arrival.unwrap() {
                    Arrival::Nothing { .. } if Instant::now() < until => {}
                    arrival => return arrival,
                }
            }
        });
        let Arrival::Reply { source, .. } = arrival else {
            panic!("{arrival:?}");
        };
        assert_eq!(source, SocketAddr::new(own, dns::PORT));
    }
    done.store(true, Ordering::Relaxed);
    server.join().unwrap();
}

#[test]
fn a_foreign_mac_address_shows_who_answers_to_the_frame() {
    let mut topology = Topology::of(&[Software::Nsd]);
    topology.backends.push(WITHOUT_SERVER);
    let lab = Lab::start(&topology).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let reflector = lab.backends[1].node.thread(move || reflect(&is_done));

    let to = |backend| Way {
        source_mac: FOREIGN_MAC,
        ..ways(&lab, backend)[0]
    };
    let (by_route, by_frame) = (to(0), to(1));
    let destinations = on_balancer(&lab, async move |prober| {
        let reply = expect_reply(ask_until(&prober, &by_route, Udp).await);
        // A veth lets all frames through, so ask what the interface lets through at least.
        let show = Command::new("bridge")
            .args(["fdb", "show", "dev", "eth0"])
            .output();
        let addresses = String::from_utf8(show.unwrap().stdout).unwrap();
        assert!(addresses.contains(&FOREIGN_MAC.to_string()), "{addresses}");

        let until = Instant::now() + PATIENCE;
        loop {
            let deadline = Instant::now() + SILENCE;
            let arrival = prober
                .exchange_udp(&by_frame, &dns::identity_query(1), deadline, |_| Ok(()))
                .await;
            match arrival.unwrap() {
                Arrival::Nothing { .. } if Instant::now() < until => {}
                Arrival::Reply {
                    destination_mac, ..
                } => break [reply.destination_mac, destination_mac],
                other => panic!("{other:?}"),
            }
        }
    });
    done.store(true, Ordering::Relaxed);
    reflector.join().unwrap();
    assert_eq!(destinations, [OWN_MAC, FOREIGN_MAC]);
}

#[test]
fn many_probes_at_a_time_each_get_their_own_reply() {
    let lab = Lab::start(&Topology::dual_stack(&[Software::Nsd, Software::Knot])).unwrap();
    let ways = [0, 1].map(|backend| ways(&lab, backend)).concat();
    let identities = [0, 0, 1, 1].map(|backend: usize| lab.backends[backend].identity());
    on_balancer(&lab, async move |prober| {
        for way in &ways {
            expect_reply(ask_until(&prober, way, Udp).await);
        }
        let mut probes = JoinSet::new();
        for number in 0..400 {
            let (way, prober) = (ways[number % 4], prober.clone());
            // A connection is made of more packets, so fewer of them.
            let transport = if number % 10 < 8 { Udp } else { Tcp };
            probes.spawn(async move {
                (
                    number,
                    ask(&prober, &way, transport, PATIENCE).await.unwrap(),
                )
            });
        }
        for (number, arrival) in probes.join_all().await {
            assert_eq!(expect_reply(arrival).identity, identities[number % 4]);
        }
    });
}

#[test]
fn more_connections_than_a_filter_has_room_for_wait_for_their_turn() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).unwrap();
    let [way, _] = ways(&lab, 0);
    let nobodys = Way {
        destination_mac: FOREIGN_MAC,
        ..way
    };
    dns_lb::health::raise_limit().unwrap();
    on_balancer(&lab, async move |prober| {
        let mut probes = JoinSet::new();
        for _ in 0..2_500 {
            let prober = prober.clone();
            probes.spawn(async move { ask(&prober, &nobodys, Tcp, SILENCE).await });
        }
        let mut silent = 0;
        for arrival in probes.join_all().await {
            match arrival {
                Ok(arrival) => {
                    assert_eq!(arrival, Arrival::Nothing { ignored: None });
                    silent += 1;
                }
                // Its turn has not come in time.
                Err(error) => {
                    assert_eq!(error.operation, Operation::HoldPort);
                    assert_eq!(error.error.raw_os_error(), None, "{error}");
                }
            }
        }
        assert!(silent > 0);
        expect_reply(ask_until(&prober, &way, Tcp).await);
    });
}

#[test]
fn faults_of_this_side_are_no_silence() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).unwrap();
    let [way, _] = ways(&lab, 0);
    let balancer = lab.balancer.clone();
    on_balancer(&lab, async move |prober| {
        expect_reply(ask_until(&prober, &way, Udp).await);

        let not_ours = Way {
            source: Ipv4Addr::new(192, 168, 0, 99).into(),
            ..way
        };
        for transport in TRANSPORTS {
            let error = ask(&prober, &not_ours, transport, PATIENCE).await;
            let error = error.unwrap_err();
            assert_eq!(error.operation, Operation::HoldPort);
            assert!(
                error.to_string().contains("address of this host"),
                "{error}"
            );
        }

        balancer.ip("link set eth0 down").unwrap();
        for transport in TRANSPORTS {
            let error = ask(&prober, &way, transport, PATIENCE).await.unwrap_err();
            assert_eq!(error.error.raw_os_error(), Some(libc::ENETDOWN), "{error}");
        }
        // The kernel tells the socket once, which is for its reader.
        tokio::time::sleep(Duration::from_millis(20)).await;
        balancer.ip("link set eth0 up").unwrap();
        expect_reply(ask_until(&prober, &way, Udp).await);

        balancer.ip("addr del 192.168.0.1/24 dev eth0").unwrap();
        let error = loop {
            // Within a second it is noticed; until then, no reply comes.
            if let Err(error) = ask(&prober, &way, Udp, SILENCE).await {
                break error;
            }
        };
        assert_eq!(error.operation, Operation::HoldPort, "{error}");
        balancer.ip("addr add 192.168.0.1/24 dev eth0").unwrap();
        expect_reply(ask_until(&prober, &way, Udp).await);

        // While a probe waits: no server is there, so it would wait for long.
        let nobody = Way {
            destination_mac: FOREIGN_MAC,
            ..way
        };
        let waiting = tokio::spawn({
            let prober = prober.clone();
            async move { ask(&prober, &nobody, Udp, PATIENCE).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        balancer.ip("link del eth0").unwrap();
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.operation, Operation::Receive, "{error}");
        let error = ask(&prober, &way, Udp, PATIENCE).await.unwrap_err();
        assert!(error.is_interface_gone(), "{error}");
        let until = Instant::now() + PATIENCE;
        while format!("{prober:?}") != "LinkProber { interfaces: [] }" {
            assert!(Instant::now() < until, "{prober:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
