//! `dns_lb::neighbor` against a real kernel: a fresh network namespace for every test, and a second
//! one for the host at the other end of its link. Needs root.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dns_lb::{
    mac::MacAddress,
    neighbor::{self, Handle, Neighbor, Neighbors, Unresolved, Wanted},
};
use dns_lb_tests::Node;
use tokio::{sync::watch, time::timeout};

const HOST: &str = "192.0.2.1";
const HOST_V6: &str = "2001:db8::1";
const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
const NEW_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);
const OWN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

/// Longer than anything here takes on a slow machine, and shorter than the 30 s after which
/// everything is read anew anyway: what comes in time came by notification or retry.
const SOON: Duration = Duration::from_secs(15);

/// The two ends of the link: where the code under test runs, and who it looks for.
struct Ends {
    host: Node,
    peer: Node,
}

impl Ends {
    fn new() -> Self {
        let [host, peer] = ["host", "peer"].map(|name| Node::new(name).expect("a host"));
        let ends = Self { host, peer };
        let peer = ends.peer.tid();
        ends.host(&format!(
            "link add lan0 address {OWN_MAC} type veth peer name host0 address {HOST_MAC} netns {peer}\n\
             addr add 192.0.2.254/24 dev lan0\n\
             addr add 2001:db8::fe/64 dev lan0 nodad\n\
             link set lan0 up"
        ));
        // A question unanswered for 150 ms is a failure.
        let impatient = &["net/ipv4/neigh/lan0/retrans_time_ms=50"];
        ends.host
            .sysctl(impatient)
            .expect("a setting of the kernel");
        ends.peer(
            "addr add 192.0.2.1/24 dev host0\n\
             addr add 2001:db8::1/64 dev host0 nodad\n\
             link set host0 up",
        );
        ends
    }

    /// Runs `ip` where the code under test runs.
    fn host(&self, lines: &str) {
        self.host.ip(lines).expect("ip");
    }

    /// Runs `ip` at the other end.
    fn peer(&self, lines: &str) {
        self.peer.ip(lines).expect("ip");
    }
}

/// Runs a test on a fresh host with `lan0`, at whose other end is its peer.
fn with_link(test: impl AsyncFnOnce(Ends) + Send + 'static) {
    let ends = Ends::new();
    let thread = ends.host.clone().thread(move || {
        wait_until_operational();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test(ends));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The kernel takes up to a second to find that a carrier has come.
fn wait_until_operational() {
    let begun = Instant::now();
    loop {
        let output = Command::new("ip")
            .args(["-o", "link", "show", "lan0"])
            .output()
            .unwrap();
        if String::from_utf8_lossy(&output.stdout).contains(" state UP ") {
            return;
        }
        assert!(begun.elapsed() < SOON, "lan0 does not come up");
        thread::sleep(Duration::from_millis(20));
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn wanted<const N: usize>(addresses: [&str; N]) -> BTreeSet<Wanted> {
    let wish = |text| Wanted {
        address: address(text),
        mac: None,
    };
    addresses.map(wish).into()
}

fn answer(neighbors: &Neighbors, of: &str) -> Result<Neighbor, Unresolved> {
    neighbors.by_address[&address(of)].clone()
}

/// Waits for an answer, and says how long that took.
async fn wait_for(
    neighbors: &mut watch::Receiver<Arc<Neighbors>>,
    of: &str,
    expected: Result<MacAddress, Unresolved>,
) -> Duration {
    let begun = Instant::now();
    let seen = |neighbors: &Arc<Neighbors>| {
        let answer = neighbors.by_address.get(&address(of)).cloned();
        answer.map(|answer| answer.map(|neighbor| neighbor.mac)) == Some(expected.clone())
    };
    let waited = timeout(SOON, neighbors.wait_for(seen)).await.is_ok();
    assert!(
        waited,
        "{of}: {:?}, expected {expected:?}",
        neighbors.borrow().by_address.get(&address(of))
    );
    begun.elapsed()
}

async fn start(addresses: BTreeSet<Wanted>) -> (Handle, watch::Receiver<Arc<Neighbors>>) {
    let handle = neighbor::start(addresses).await.unwrap();
    let neighbors = handle.neighbors();
    (handle, neighbors)
}

fn lan0() -> String {
    "lan0".into()
}

#[test]
fn resolves_what_the_kernel_did_not_know() {
    with_link(async |_ends| {
        let (_handle, mut neighbors) = start(wanted([HOST, HOST_V6])).await;
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;
        wait_for(&mut neighbors, HOST_V6, Ok(HOST_MAC)).await;
        let neighbors = neighbors.borrow();
        let ifindex = answer(&neighbors, HOST).unwrap().ifindex;
        let link = &neighbors.links[&ifindex];
        assert_eq!(link.name, "lan0");
        assert_eq!(link.mac, Some(OWN_MAC));
        assert!(link.up);
    });
}

#[test]
fn what_the_kernel_knows_is_there_at_once() {
    with_link(async |ends| {
        ends.host(&format!(
            "neigh add {HOST} lladdr {NEW_MAC} dev lan0 nud permanent"
        ));
        let (_handle, neighbors) = start(wanted([HOST])).await;
        assert_eq!(
            answer(&neighbors.borrow(), HOST).map(|neighbor| neighbor.mac),
            Ok(NEW_MAC)
        );
    });
}

#[test]
fn a_new_mac_of_the_host_is_seen_when_it_announces_it() {
    with_link(async |ends| {
        let (_handle, mut neighbors) = start(wanted([HOST])).await;
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;
        ends.peer
            .sysctl(&["net/ipv4/conf/host0/arp_notify=1"])
            .expect("a setting of the kernel");
        ends.peer(&format!("link set host0 address {NEW_MAC}"));
        let took = wait_for(&mut neighbors, HOST, Ok(NEW_MAC)).await;
        println!("new MAC address seen {took:?} after its announcement");
    });
}

#[test]
fn a_new_mac_of_our_own_is_seen() {
    with_link(async |ends| {
        let (_handle, mut neighbors) = start(wanted([HOST])).await;
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;
        ends.host(&format!("link set lan0 address {NEW_MAC}"));
        let seen = |neighbors: &Arc<Neighbors>| {
            answer(neighbors, HOST)
                .is_ok_and(|host| neighbors.links[&host.ifindex].mac == Some(NEW_MAC))
        };
        timeout(SOON, neighbors.wait_for(seen))
            .await
            .expect("our new MAC address was not seen")
            .unwrap();
    });
}

#[test]
fn a_lost_carrier_and_a_lost_interface_are_seen_and_so_is_their_return() {
    with_link(async |ends| {
        let (_handle, mut neighbors) = start(wanted([HOST])).await;
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;

        let down = Unresolved::InterfaceDown { interface: lan0() };
        ends.peer("link set host0 down");
        let took = wait_for(&mut neighbors, HOST, Err(down)).await;
        println!("lost carrier seen after {took:?}");
        ends.peer("link set host0 up");
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;

        ends.host("link set lan0 down");
        wait_for(&mut neighbors, HOST, Err(Unresolved::NoRoute)).await;
        ends.host("link set lan0 up");
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;

        ends.host("link del lan0");
        wait_for(&mut neighbors, HOST, Err(Unresolved::NoRoute)).await;
        let gone =
            |neighbors: &Arc<Neighbors>| neighbors.links.values().all(|link| link.name != "lan0");
        timeout(SOON, neighbors.wait_for(gone))
            .await
            .expect("the interface stays in the list")
            .unwrap();
    });
}

#[test]
fn an_address_that_is_not_on_the_link_is_explained() {
    with_link(async |ends| {
        ends.host("route add 198.51.100.0/24 via 192.0.2.1");
        ends.host("route add blackhole 198.51.100.99/32");
        let far = "198.51.100.7";
        let (_handle, mut neighbors) = start(wanted([
            far,
            "198.51.100.99",
            "203.0.113.1",
            "192.0.2.254",
            "192.0.2.255",
            "127.0.0.1",
        ]))
        .await;
        let gateway = Unresolved::BehindGateway {
            gateway: address(HOST),
        };
        {
            let neighbors = neighbors.borrow();
            assert_eq!(answer(&neighbors, far), Err(gateway));
            for (of, why) in [
                ("198.51.100.99", Unresolved::NoRoute),
                ("203.0.113.1", Unresolved::NoRoute),
                ("192.0.2.254", Unresolved::OwnAddress),
                ("192.0.2.255", Unresolved::NoRoute),
                ("127.0.0.1", Unresolved::OwnAddress),
            ] {
                assert_eq!(answer(&neighbors, of), Err(why), "{of}");
            }
        }

        // The way there changes.
        ends.host("route replace 198.51.100.0/24 dev lan0");
        let failed = Unresolved::Failed { interface: lan0() };
        wait_for(&mut neighbors, far, Err(failed)).await;
        ends.host("route del 198.51.100.0/24");
        wait_for(&mut neighbors, far, Err(Unresolved::NoRoute)).await;
    });
}

#[test]
fn a_host_that_is_silent_at_first_is_found_later() {
    const LATE: &str = "192.0.2.2";
    with_link(async |ends| {
        let (_handle, mut neighbors) = start(wanted([LATE])).await;
        assert_eq!(
            answer(&neighbors.borrow(), LATE),
            Err(Unresolved::Resolving { interface: lan0() })
        );
        let failed = Unresolved::Failed { interface: lan0() };
        wait_for(&mut neighbors, LATE, Err(failed)).await;
        // It says nothing by itself: no announcement.
        ends.peer(&format!("addr add {LATE}/24 dev host0"));
        let took = wait_for(&mut neighbors, LATE, Ok(HOST_MAC)).await;
        println!("silent host found after {took:?}");
    });
}

#[test]
fn a_given_mac_needs_only_a_link() {
    with_link(async |_ends| {
        let given = [Wanted {
            address: address("192.0.2.99"),
            mac: Some(NEW_MAC),
        }];
        let (_handle, neighbors) = start(given.into()).await;
        let neighbors = neighbors.borrow();
        let found = answer(&neighbors, "192.0.2.99").unwrap();
        assert_eq!(found.mac, NEW_MAC);
        assert_eq!(neighbors.links[&found.ifindex].name, "lan0");
    });
}

#[test]
fn what_is_wanted_can_change() {
    with_link(async |_ends| {
        let (handle, mut neighbors) = start(BTreeSet::new()).await;
        assert!(neighbors.borrow().by_address.is_empty());
        handle.watch(wanted([HOST]));
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;
        handle.watch(wanted([HOST_V6]));
        wait_for(&mut neighbors, HOST_V6, Ok(HOST_MAC)).await;
        assert_eq!(neighbors.borrow().by_address.len(), 1);

        drop(handle);
        let ended = async { while neighbors.changed().await.is_ok() {} };
        timeout(SOON, ended).await.expect("the task goes on");
    });
}

#[test]
fn lost_notifications_are_made_up_for() {
    with_link(async |ends| {
        let (_handle, mut neighbors) = start(wanted([HOST])).await;
        wait_for(&mut neighbors, HOST, Ok(HOST_MAC)).await;

        // This thread runs the watcher too, so nobody reads while these commands run: thousands of
        // notifications overflow the socket's buffer, and the last, which counts, is lost.
        let flood: String = (0..4000)
            .map(|n| {
                let (high, low) = (n / 250, n % 250);
                format!("neigh replace 10.0.{high}.{low} lladdr {OWN_MAC} dev lan0 nud permanent\n")
            })
            .collect();
        ends.host(&flood);
        ends.host(&format!(
            "neigh replace {HOST} lladdr {NEW_MAC} dev lan0 nud permanent"
        ));

        let took = wait_for(&mut neighbors, HOST, Ok(NEW_MAC)).await;
        println!("caught up {took:?} after the overflow");
    });
}
