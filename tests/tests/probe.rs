//! `dns_lb::health::Prober` against real kernels and servers: what is wrong with a backend is said as
//! it is. Needs root.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dns_lb::{
    config::{Config, HealthCheck, Transport},
    health::{BackendKey, Extra, LinkReach, Outcome, Prober, Reach, Target},
    mac::MacAddress,
};
use dns_lb_tests::{Host, Lab, Segment, Software, Topology, dns, lab};
use nix::net::if_::if_nametoindex;
use tokio::time::Instant;

/// For what comes in the end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a probe waits.
const TIMEOUT: Duration = Duration::from_millis(500);

const OWN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

/// With everything that a probe can do beside its purpose.
const ALL: Extra = Extra {
    trusts_stand_in: false,
    diagnose: true,
    check_return: true,
    ask_identity: true,
};

fn check(settings: &str) -> HealthCheck {
    let text = format!(
        "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n\
         [service.health]\ninterval = \"1s\"\ntransport = \"both\"\n\
         accept_rcodes = [\"NOERROR\", \"NXDOMAIN\", \"REFUSED\"]\n{settings}\n\
         [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n"
    );
    let mut config = Config::parse(&text).unwrap();
    HealthCheck {
        timeout: TIMEOUT,
        ..config.services.remove(0).health
    }
}

/// Probes the lab's first backend through the VIP until an outcome is wanted, or patience ends; gives
/// the last. ARP loses its first question while the bridge finds its carriers.
fn probe_until(
    lab: &Lab,
    check: HealthCheck,
    is_wanted: impl Fn(&Outcome) -> bool + Send + 'static,
) -> Outcome {
    probe_address_until(lab, lab.backends[0].address.into(), check, is_wanted)
}

/// The same, with this for the backend's own address.
fn probe_address_until(
    lab: &Lab,
    address: IpAddr,
    check: HealthCheck,
    is_wanted: impl Fn(&Outcome) -> bool + Send + 'static,
) -> Outcome {
    let backend = &lab.backends[0];
    let target = Target {
        backend: BackendKey {
            service: "s".into(),
            backend: "b".into(),
        },
        address,
        port: dns::PORT,
        vips: vec![lab::VIP.into()],
        local: false,
    };
    let mac = backend.mac.parse().unwrap();
    let thread = lab.balancer.thread(move || {
        let link = LinkReach {
            interface: "eth0".to_owned(),
            ifindex: if_nametoindex("eth0").unwrap(),
            mac,
            source_mac: OWN_MAC,
            sources: vec![OWN_ADDRESS.into()],
        };
        let reach = Reach {
            link: Some(link),
            ..Reach::default()
        };
        let probing = async {
            let prober = Prober::new();
            let until = Instant::now() + PATIENCE;
            loop {
                let outcome = prober.probe(&target, &check, &reach, ALL).await;
                if is_wanted(&outcome) || Instant::now() > until {
                    return outcome;
                }
            }
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(probing)
    });
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn a_good_server_passes_and_what_goes_wrong_then_is_told() {
    let lab = Lab::start(&Topology::dual_stack(&[Software::Nsd])).unwrap();
    let outcome = probe_until(&lab, check("identity = \"chaos\""), |outcome| {
        outcome.passed() && outcome.return_path().is_some() && outcome.identity().is_some()
    });
    assert!(outcome.passed(), "{outcome}");
    assert_eq!(outcome.return_path(), Some(true));
    // What NSD calls itself unless it is told otherwise.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(outcome.identity(), Some(host.trim()));

    let vip = lab::VIP;
    let backend = &lab.backends[0].node;
    backend.ip(&format!("addr del {vip}/32 dev lo")).unwrap();
    let outcome = probe_until(&lab, check(""), |outcome| outcome.cause() == "vip_missing");
    let own = lab.backends[0].address;
    let text = format!("answers on {own}, not on the VIP {vip}: is it on the loopback?");
    assert!(outcome.to_string().starts_with(&text), "{outcome}");

    lab.balancer.ip("link set eth0 down").unwrap();
    let outcome = probe_until(&lab, check(""), Outcome::is_own_fault);
    assert!(outcome.is_own_fault(), "{outcome}");
}

#[test]
fn a_server_on_the_wildcard_answers_from_the_wrong_address() {
    let mut topology = Topology::dual_stack(&[]);
    topology.backends.push(Host {
        software: None,
        segment: Segment::First,
    });
    let lab = Lab::start(&topology).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let server = lab.backends[0].node.thread(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, dns::PORT)).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut buffer = [0; 512];
        while !is_done.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                // QR: the query becomes an empty answer.
                buffer[2] |= 0x80;
                socket.send_to(&buffer[..length], from).unwrap();
            }
        }
    });
    let udp = HealthCheck {
        transport: Transport::Udp,
        ..check("")
    };
    let outcome = probe_until(&lab, udp, |outcome| outcome.cause() == "wrong_source");
    done.store(true, Ordering::Relaxed);
    server.join().unwrap();
    let (own, vip) = (IpAddr::from(lab.backends[0].address), lab::VIP);
    let text = format!("answered from {own}, not from the VIP {vip}: bound to the wildcard?");
    assert_eq!(outcome.to_string(), text);
}

#[test]
fn what_routers_say_of_the_way_to_a_server_is_no_fault_of_this_host() {
    let lab = Lab::start(&Topology::dual_stack(&[Software::Nsd])).unwrap();
    let router = &lab.backends[0];
    let settings = &[
        "net/ipv4/ip_forward=1",
        "net/ipv6/conf/all/forwarding=1",
        // At two probes a second, the limit would let nothing through at all. One of 0 is worse on Linux
        // 6.1: each error spends all that `ip_error` may send to the same host within a second.
        "net/ipv4/icmp_ratemask=0",
        "net/ipv6/icmp/ratelimit=0",
    ];
    router.node.sysctl(settings).unwrap();
    let by = [
        router.address.into(),
        router.address_v6.expect("IPv6").into(),
    ];
    // A server for each, lest the kernel remember what it said before.
    for (server, kind, error) in [
        ("203.0.113.1", "prohibit", "No route to host"),
        ("203.0.113.2", "unreachable", "No route to host"),
        ("203.0.113.3", "throw", "Network is unreachable"),
        ("2001:db8:ffff::1", "prohibit", "Permission denied"),
        ("2001:db8:ffff::2", "unreachable", "Network is unreachable"),
    ] {
        let server: IpAddr = server.parse().unwrap();
        let via: IpAddr = by[usize::from(server.is_ipv6())];
        let balancer = &lab.balancer;
        balancer
            .ip(&format!("route add {server} via {via}"))
            .unwrap();
        let refuse = format!("route add {kind} {server}");
        router.node.ip(&refuse).unwrap();
        for transport in [Transport::Udp, Transport::Tcp] {
            // `ip_error` has a limit of its own, one a second. A datagram that is not told of is sent again
            // by the next probe; a segment by the kernel, which also takes no ICMP in while it still sends
            // the first, as so short a way may come to. The second follows after a second.
            let timeout = match transport {
                Transport::Udp => PATIENCE / 5,
                Transport::Tcp | Transport::Both => PATIENCE,
            };
            let check = HealthCheck {
                transport,
                timeout,
                ..check("path = \"real\"")
            };
            let is_told = |outcome: &Outcome| outcome.cause() != "timeout";
            let outcome = probe_address_until(&lab, server, check, is_told);
            assert_eq!(
                outcome.cause(),
                "unreachable",
                "{server} {transport:?}: {outcome}"
            );
            let text = format!("unreachable: {error}");
            assert!(outcome.to_string().starts_with(&text), "{outcome}");
        }
    }
}
