//! Two balancers and keepalived, by the files in `examples/keepalived`: the service address goes to the
//! other when something is wrong with the first, and back without a query lost.
//!
//! What time it takes is printed: machines that run tests are busy. `cargo xtask bench ha` holds it to
//! limits.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Load, Ports, Software, Topology,
    agent::{PATIENCE, Status},
    dns,
    ha::{
        Fault, Pair,
        pair::{ACTIVE, STANDBY},
        printed, takeover, wait_for,
    },
    lab::{VIP, VIP_V6},
};

use crate::stage::{Hold, LOUD, RATE, assert_healthy, assert_lost, binary, ended};

/// Three times as long as a busy machine should need where nothing but VRRP's own timers count.
const POWER_LIMIT: Duration = Duration::from_secs(3);

/// The MAC addresses of the two balancers.
const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

fn servers() -> Topology {
    Topology::dual_stack(&[Software::Nsd, Software::Knot])
}

/// How long a query of the clients' may take, on a busy machine.
const ANSWER: Duration = Duration::from_secs(5);

fn assert_answers_on_ipv6(pair: &Pair, when: &str) {
    let client = &pair.lab.clients[0].node;
    let answer = client.run(|| dns::ask_identity(VIP_V6, ANSWER));
    assert!(answer.is_ok(), "{when}: {answer:?}\n{}", pair.logs());
}

/// Gives the most that a fault's cost may be, beside what the lab loses by itself.
fn goes_over(fault: Fault, lossless: bool) {
    let _hold = Hold::alone();
    let mut pair = Pair::start(&servers(), binary()).expect("a pair");
    assert_answers_on_ipv6(&pair, "before");
    let cost = takeover(&mut pair, fault, LOUD).expect("a takeover");
    println!("{fault}: {cost:?}");
    let mut lost = cost.lost_before + cost.lost_on_return;
    if lossless {
        lost += cost.lost;
    }
    assert_lost(lost, cost.own_losses, || {
        format!("{fault}: {cost:?}\n{}", pair.logs())
    });
    if fault == Fault::Power {
        assert!(cost.lost > 0, "there was nobody, and nothing was lost?");
        assert!(cost.until_last_loss < POWER_LIMIT, "{cost:?}");
    }
    assert_answers_on_ipv6(&pair, "after");
}

#[test]
fn when_the_power_is_gone() {
    goes_over(Fault::Power, false);
}

#[test]
fn when_keepalived_is_stopped() {
    goes_over(Fault::Stopped, true);
}

/// The address stays where it was, too: who asks for it gets either answer, and both steer.
#[test]
fn when_keepalived_is_killed() {
    goes_over(Fault::Keepalived, true);
}

/// It steers on until the address moves.
#[test]
fn when_the_agent_is_killed() {
    goes_over(Fault::Agent, true);
}

#[test]
fn when_the_program_is_detached_by_hand() {
    goes_over(Fault::Detached, false);
}

/// It steers on as if all were up until the address moves.
#[test]
fn when_the_active_one_alone_sees_no_server() {
    goes_over(Fault::CutOff, true);
}

/// Every server is dead, and VRRP is alive: neither host is ready, so the address stays where it is, and
/// queries are answered again as soon as a server is.
#[test]
fn when_all_servers_are_dead_the_address_stays() {
    let _hold = Hold::shared();
    let mut pair = Pair::start(&servers(), binary()).expect("a pair");
    for backend in &mut pair.lab.backends {
        backend.kill().expect("it runs");
    }
    for balancer in &pair.balancers {
        wait_for("it is not ready", PATIENCE, || Ok(!balancer.ready()?.0)).expect("it sees it");
    }
    // Longer than keepalived takes to find that out, of both.
    thread::sleep(Duration::from_secs(5));
    let have: Vec<bool> = pair
        .balancers
        .iter()
        .map(|balancer| balancer.has_vip("eth0").expect("ip"))
        .collect();
    assert_eq!(have, [true, false], "{}", pair.logs());

    pair.lab.backends[1].start().expect("it starts");
    for balancer in &mut pair.balancers {
        let all = |status: &Status| {
            let found = status.backend("dns2");
            found.is_some_and(|dns2| dns2.share > 0.999)
        };
        balancer
            .agent
            .wait_until("dns2 has it all", PATIENCE, all)
            .expect("it sees it");
    }
    let client = &pair.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(2)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
}

/// Counts the ARP answers of a host for the VIP.
const ARP_COUNT: &str = "table arp told {
    counter answers { }
    chain out {
        type filter hook output priority 0
        arp operation reply arp saddr ip 192.168.0.200 counter name answers
    }
}";

/// Lets no VRRP in, which is protocol 112.
const SPLIT: &str = "table inet split {
    chain in {
        type filter hook input priority 0
        meta l4proto 112 drop
    }
}";

#[test]
fn the_standby_says_nothing_and_steers_nothing() {
    let _hold = Hold::shared();
    let pair = Pair::start(&servers(), binary()).expect("a pair");
    let standby = &pair.balancers[1];
    standby.node.nft(ARP_COUNT).expect("nft");
    let steered = ended(&standby.agent, "transmitted");
    let client = &pair.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    for _ in 0..20 {
        // The router has to ask again.
        pair.lab
            .router
            .ip(&format!("neigh flush to {VIP}"))
            .expect("ip");
        thread::sleep(Duration::from_millis(100));
        assert_eq!(pair.mac_at_router().expect("ip"), MACS[0]);
    }
    let report = load.stop().expect("a report");
    assert!(
        report.answered() > report.sent() / 2,
        "{:?}",
        report.tally()
    );
    let list = ["list", "counter", "arp", "told", "answers"];
    let told = printed(&standby.node, "nft", &list).expect("nft");
    assert!(told.contains("packets 0 "), "{told}");
    assert_eq!(ended(&standby.agent, "transmitted"), steered);
    assert_healthy(&pair.balancers);
}

/// The two no longer hear each other: both have the address, and whichever the router believes steers, to
/// the same servers.
#[test]
fn split_in_two_no_query_is_lost() {
    let _hold = Hold::alone();
    let mut pair = Pair::start(&servers(), binary()).expect("a pair");
    let lost_by_lab = pair.lab.own_losses().expect("counters");
    let client = pair.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, LOUD, Ports::Fresh).expect("a load");
    for balancer in &pair.balancers {
        balancer.node.nft(SPLIT).expect("nft");
    }
    wait_for("both have it", PATIENCE, || {
        Ok(pair.balancers[0].has_vip("eth0")? && pair.balancers[1].has_vip("eth0")?)
    })
    .expect("neither hears the other");
    let mut believed = BTreeSet::new();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        believed.insert(pair.mac_at_router().expect("ip"));
    }
    println!("the router believed {believed:?}");
    for balancer in &pair.balancers {
        balancer.node.nft("delete table inet split").expect("nft");
    }
    pair.settle().expect("one again");
    thread::sleep(Duration::from_secs(2));
    let report = load.stop().expect("a report");
    let own = pair.lab.own_losses().expect("counters") - lost_by_lab;
    println!("split in two: {} lost", report.lost());
    assert_lost(report.lost(), own, || {
        format!("{:?}\n{}", report.loss_windows(), pair.logs())
    });
}

/// Its link goes down and up, again and again: the address goes over once, and does not come back before the
/// host has been ready for a while.
#[test]
fn a_link_that_flaps_costs_one_takeover() {
    let _hold = Hold::alone();
    let mut pair = Pair::start(&servers(), binary()).expect("a pair");
    let lost_by_lab = pair.lab.own_losses().expect("counters");
    let client = pair.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, LOUD, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_secs(1));
    let first = Instant::now();
    for _ in 0..4 {
        pair.lab.router.ip("link set lb0 down").expect("ip");
        thread::sleep(Duration::from_millis(1_500));
        pair.lab.router.ip("link set lb0 up").expect("ip");
        thread::sleep(Duration::from_secs(2));
    }
    pair.settle().expect("as before");
    thread::sleep(Duration::from_secs(2));
    let report = load.stop().expect("a report");
    let own = pair.lab.own_losses().expect("counters") - lost_by_lab;
    let windows = report.loss_windows();
    println!("a flapping link: {} lost, {own} by the lab", report.lost());
    let lost = report.lost_outside(first - Duration::from_millis(50)..first + POWER_LIMIT);
    assert_lost(lost, own, || format!("{windows:?}\n{}", pair.logs()));
}

/// With an address of its own for the virtual router, the frames are for a macvlan device above `eth0`;
/// the program on `eth0` sees them first.
#[test]
fn a_virtual_mac_address_is_steered_too() {
    let _hold = Hold::alone();
    let virtual_mac = |file: &str| file.replace("    advert_int", "    use_vmac\n    advert_int");
    let files = [virtual_mac(ACTIVE), virtual_mac(STANDBY)];
    // keepalived makes its device for IPv6 by itself; the address is on another device then.
    let files = files.map(|file| file.replace(" dev eth0", ""));
    let topology = Topology::of(&[Software::Nsd, Software::Knot]);
    let files = files.map(|file| {
        let end = file
            .find("vrrp_instance dns6")
            .expect("the second instance");
        file[..end].to_owned()
    });
    let mut pair = Pair::start_virtual(&topology, binary(), files).expect("a pair");
    let lost_by_lab = pair.lab.own_losses().expect("counters");
    let client = pair.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, LOUD, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(pair.mac_at_router().expect("ip"), "00:00:5e:00:01:35");
    // Over and back.
    pair.balancers[0].agent.kill().expect("it runs");
    pair.await_vip_at(1).expect("it moves");
    thread::sleep(Duration::from_secs(1));
    pair.balancers[0].agent.restart().expect("it starts");
    pair.await_vip_at(0).expect("it moves back");
    thread::sleep(Duration::from_secs(1));
    let report = load.stop().expect("a report");
    let own = pair.lab.own_losses().expect("counters") - lost_by_lab;
    println!("with a virtual MAC address: {} lost", report.lost());
    assert_lost(report.lost(), own, || {
        format!("{:?}\n{}", report.loss_windows(), pair.logs())
    });
}

/// keepalived asks every second. The time is held to by `cargo xtask bench ha`.
#[test]
fn ready_is_quick_and_right() {
    let _hold = Hold::alone();
    let pair = Pair::start(&servers(), binary()).expect("a pair");
    let asked = (0..50).map(|_| pair.balancers[1].ready().expect("it runs"));
    let mut took: Vec<Duration> = asked
        .map(|(is_ready, took)| {
            assert!(is_ready, "a standby is as ready as any");
            took
        })
        .collect();
    took.sort_unstable();
    println!("dns-lb ready: {:?} in the median of 50", took[25]);
    assert!(took[25] < Duration::from_millis(500), "{took:?}");
}

/// The two files are one but for what they have to differ in.
#[test]
fn the_files_differ_in_name_and_priority_only() {
    let settings = |file: &str| -> Vec<String> {
        let lines = file.lines().map(|line| {
            let setting = line.split('#').next().unwrap_or_default();
            setting.trim().to_owned()
        });
        lines
            .filter(|setting| {
                let own = setting.starts_with("router_id") || setting.starts_with("priority");
                !setting.is_empty() && !own
            })
            .collect()
    };
    assert_eq!(settings(ACTIVE), settings(STANDBY));
}
