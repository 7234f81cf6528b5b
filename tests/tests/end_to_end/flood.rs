//! More SYNs than the balancer can remember.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use dns_lb_tests::{Node, Software, Topology, agent, dns, lab::VIP};
use etherparse::PacketBuilder;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use crate::{
    stage::Stage,
    tcp::{open, stay},
};

/// For what the agent finds out on a machine that has a flood to carry.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fewest connections that the balancer can be told to remember.
const FLOWS: u32 = 1_024;

/// More than half as many: fewer, and the kernel's map would keep them by itself as long as they are
/// used, since it takes more of what was used once than of what was used again (`inactive_low` in
/// kernel/bpf/bpf_lru_list.c).
const CONNECTIONS: usize = 600;

/// SYNs in a row, and the pause after them: the lab's links queue a few hundred frames.
const BURST: u32 = 100;
const PAUSE: Duration = Duration::from_millis(4);

/// The most SYNs, if nobody stops the flood.
const MOST: u32 = 500_000;

/// SYNs for the VIP, each from an address of its own in 10.0.0.0/8, until it is dropped.
struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU32,
    stop: AtomicBool,
}

impl Flood {
    /// Starts it on a host.
    fn start(node: &Node) -> Self {
        let shared = Arc::new(Shared::default());
        let flood = Arc::clone(&shared);
        Self {
            shared,
            thread: Some(node.thread(move || flood.send())),
        }
    }

    /// Waits until this many more have been sent.
    fn wait_for(&self, count: u32) {
        let deadline = Instant::now() + PATIENCE;
        let until = self.sent() + count;
        while self.sent() < until {
            assert!(Instant::now() < deadline, "{} SYNs", self.sent());
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn sent(&self) -> u32 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // If the flood has panicked, it has said so, and the test has missed its SYNs.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn send(&self) {
        // With this protocol the kernel takes packets that have an IP header already (raw(7)).
        let socket = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )
        .expect("a raw socket");
        let vip = SockaddrIn::from(SocketAddrV4::new(VIP, 0));
        let mut packet = Vec::new();
        for number in 1..=MOST {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) | number);
            packet.clear();
            PacketBuilder::ipv4(source.octets(), VIP.octets(), 64)
                .tcp(number as u16 | 0x8000, dns::PORT, number, 64_240)
                .syn()
                .write(&mut packet, &[])
                .expect("a packet");
            sendto(socket.as_raw_fd(), &packet, &vip, MsgFlags::empty()).expect("sent");
            self.sent.store(number, Ordering::Relaxed);
            if number % BURST == 0 {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

#[test]
fn connections_outlive_a_flood_of_syns_while_another_server_comes_and_goes() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set_configured(&Topology::of(&servers), |backends| {
        let configuration = agent::configuration(&["eth0"], "hash", backends);
        // A busy machine may keep a server from answering two probes in a row.
        format!("tcp_flows = {FLOWS}\n{configuration}\n[service.health]\nfall = 8\n")
    });
    // The servers answer none of it, which the machine has enough to do without.
    for backend in &stage.lab.backends {
        let node = &backend.node;
        node.ip("route add blackhole 10.0.0.0/8").expect("ip");
    }
    // With a server out, a third of the connections begin where they would not with all of them: as
    // soon as it is back, only what is remembered keeps those where they are.
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    let client = stage.lab.clients[0].node.clone();
    let mut opened = open(&client, CONNECTIONS);

    let flood = Flood::start(&client);
    // Between any two queries of a connection there are more SYNs than are remembered of anything.
    let mut stay_meanwhile = |syns: u32, when: &str| {
        let until = flood.sent() + syns;
        while flood.sent() < until {
            flood.wait_for(4 * FLOWS);
            stay(&mut opened, when);
        }
    };
    stay_meanwhile(20_000, "in the flood");
    stage.bring_back(0, PATIENCE);
    stay_meanwhile(40_000, "when another has come back");
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    stay_meanwhile(40_000, "when another has died");
    drop(flood);

    let steered = stage.agent.status().expect("a status").services[0].tcp;
    assert!(steered.connections > 100_000, "{steered:?}");
}
