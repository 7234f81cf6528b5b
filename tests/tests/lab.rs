//! The lab itself: that its hosts, servers, load and relays do what tests take for granted, and
//! that nothing is left of it. Needs root.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{Client, Host, Lab, Load, Ports, Relay, Segment, Software, Topology, dns, lab};

const ALL: [Software; 3] = [Software::Nsd, Software::Knot, Software::Unbound];

/// How long an answer may take. Long, since the machine may be busy; nothing here is timed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// Asks from a client.
fn ask(client: &Client, server: Ipv4Addr) -> anyhow::Result<String> {
    client.node.run(move || dns::ask_identity(server, PATIENCE))
}

fn assert_no_answer(client: &Client, server: Ipv4Addr, why: &str) {
    let answer = client.node.run(move || dns::ask_identity(server, SILENCE));
    assert!(answer.is_err(), "{why}: {answer:?}");
}

/// Has the router send what is for the VIP to a backend, as the balancer would.
fn steer_to(lab: &Lab, backend: usize) {
    let mac = &lab.backends[backend].mac;
    lab.router
        .ip(&format!(
            "neigh replace {} lladdr {mac} dev br0 nud permanent",
            lab::VIP
        ))
        .unwrap();
}

#[test]
fn every_server_answers_on_its_address_and_on_the_vip() {
    let lab = Lab::start(&Topology::of(&ALL)).unwrap();
    for (place, backend) in lab.backends.iter().enumerate() {
        let client = &lab.clients[0];
        assert_eq!(ask(client, backend.address).unwrap(), backend.identity());
        steer_to(&lab, place);
        assert_eq!(ask(client, lab::VIP).unwrap(), backend.identity());
    }
}

#[test]
fn the_vip_is_the_balancers_in_arp() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).unwrap();
    // Nothing listens on the balancer; the router learns whose the address is all the same.
    assert_no_answer(&lab.clients[0], lab::VIP, "the balancer");
    let mut command = Command::new("ip");
    command.args(["neigh", "show", &lab::VIP.to_string()]);
    let output = lab.router.output(command).unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("lladdr 02:00:00:00:00:01"), "{table}");
}

#[test]
fn a_backend_can_be_on_the_second_segment() {
    let mut topology = Topology::of(&[Software::Nsd, Software::Knot]);
    topology.backends[1].segment = Segment::Second;
    let lab = Lab::start(&topology).unwrap();
    let backend = &lab.backends[1];
    assert_eq!(backend.address, Ipv4Addr::new(192, 168, 1, 202));
    assert_eq!(
        ask(&lab.clients[0], backend.address).unwrap(),
        backend.identity()
    );
    let address = backend.address;
    let from_balancer = move || dns::ask_identity(address, PATIENCE);
    assert_eq!(lab.balancer.run(from_balancer).unwrap(), backend.identity());
}

#[test]
fn servers_die_freeze_fall_silent_and_come_back() {
    let mut lab = Lab::start(&Topology::of(&ALL)).unwrap();
    for place in 0..ALL.len() {
        let address = lab.backends[place].address;
        let identity = lab.backends[place].identity();
        let answers = |lab: &Lab| ask(&lab.clients[0], address).ok();
        let is_silent = |lab: &Lab, why| assert_no_answer(&lab.clients[0], address, why);

        lab.backends[place].kill().unwrap();
        is_silent(&lab, "killed");
        lab.backends[place].start().unwrap();
        assert_eq!(answers(&lab).as_ref(), Some(&identity), "started again");

        lab.backends[place].freeze().unwrap();
        is_silent(&lab, "frozen");
        lab.backends[place].thaw().unwrap();
        assert_eq!(answers(&lab).as_ref(), Some(&identity), "thawed");

        lab.backends[place].set_silent(true).unwrap();
        is_silent(&lab, "silent");
        lab.backends[place].set_silent(false).unwrap();
        assert_eq!(answers(&lab).as_ref(), Some(&identity), "speaking");

        lab.backends[place].set_link(false).unwrap();
        is_silent(&lab, "link down");
        lab.backends[place].set_link(true).unwrap();
        assert_eq!(answers(&lab).as_ref(), Some(&identity), "link up");
    }
}

#[test]
fn load_counts_what_is_answered_lost_and_by_whom() {
    let mut lab = Lab::start(&Topology::of(&[Software::Nsd])).unwrap();
    let backend = &lab.backends[0];
    let (address, identity) = (backend.address, backend.identity());
    let load = Load::start(&lab.clients[0].node, address, 1000, Ports::Fresh).unwrap();
    thread::sleep(Duration::from_millis(500));
    let killed = Instant::now();
    lab.backends[0].kill().unwrap();
    thread::sleep(Duration::from_millis(500));
    lab.backends[0].start().unwrap();
    let restarted = Instant::now();
    thread::sleep(Duration::from_millis(500));
    let report = load.stop().unwrap();

    let window = report.loss_windows();
    assert_eq!(window.len(), 1, "{window:?}");
    assert!(
        window[0].duration() >= Duration::from_millis(450),
        "{window:?}"
    );
    let margin = Duration::from_millis(50);
    assert_eq!(report.lost_outside(killed - margin..restarted + margin), 0);
    assert!(report.lost() >= 450, "{} lost", report.lost());
    assert_eq!(
        report.by_identity().into_iter().collect::<Vec<_>>(),
        [(identity, report.answered())]
    );
    assert!(report.latency(0.5).unwrap() < Duration::from_millis(50));
}

#[test]
fn load_keeps_its_rate_and_loses_nothing_by_itself() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).unwrap();
    for ports in [Ports::Fresh, Ports::Fixed] {
        let load = Load::start(
            &lab.clients[0].node,
            lab.backends[0].address,
            5000,
            ports.clone(),
        );
        let report = load.unwrap().run_for(Duration::from_secs(2)).unwrap();
        assert!(
            (9_000..=10_100).contains(&report.sent()),
            "{ports:?}: {}",
            report.sent()
        );
        assert_eq!(report.lost(), 0, "{ports:?}: {:?}", report.loss_windows());
    }
}

#[test]
fn load_sends_one_query_from_each_port() {
    let lab = Lab::start(&Topology::of(&[Software::Knot])).unwrap();
    let ports = Ports::Each(10_000..=19_999);
    let load = Load::start(&lab.clients[0].node, lab.backends[0].address, 5000, ports).unwrap();
    let report = load.join().unwrap();
    assert_eq!((report.sent(), report.lost()), (10_000, 0));
}

#[test]
fn a_relay_waits_five_seconds_for_a_silent_first_server() {
    let mut topology = Topology::of(&[Software::Nsd]);
    topology.clients = 2;
    topology.backends.push(Host {
        software: None,
        segment: Segment::First,
    });
    let lab = Lab::start(&topology).unwrap();
    let (good, silent) = (lab.backends[0].address, &lab.backends[1]);
    silent.set_silent(true).unwrap();

    let relay = |client: usize, nameservers: &[Ipv4Addr]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lab-child"));
        program.arg("mail-relay");
        Relay::start(&lab.clients[client].node, program, nameservers).unwrap()
    };
    let start = Instant::now();
    let slow = relay(0, &[silent.address, good]);
    let quick = relay(1, &[good, silent.address]);
    thread::sleep(Duration::from_secs(11));
    let end = Instant::now();

    let slow = slow.delivery(start..end);
    assert_eq!((slow.mails, slow.deferred), (1, 0), "{slow:?}");
    let per_hour = slow.mails_per_hour();
    assert!(
        (330.0..=361.0).contains(&per_hour),
        "{per_hour} mails an hour"
    );
    let seconds = slow.longest_lookup.as_secs_f64();
    assert!((4.9..5.5).contains(&seconds), "{slow:?}");
    let quick = quick.delivery(start..end);
    assert!(quick.mails > 100 && quick.deferred == 0, "{quick:?}");
}

/// All threads of the machine with the namespaces that they are in, as `net:[…]` and `mnt:[…]`,
/// and when they started, in clock ticks since boot.
fn threads() -> Vec<(PathBuf, BTreeSet<String>, u64)> {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    list(Path::new("/proc"))
        .flat_map(|process| list(&process.path().join("task")))
        .filter_map(|thread| {
            // Threads end while we look; those are none that stay.
            let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
            let fields = stat.rsplit_once(')')?.1;
            let started = fields.split_whitespace().nth(19)?.parse().ok()?;
            let inode = |kind| {
                let link = fs::read_link(thread.path().join("ns").join(kind)).ok()?;
                Some(link.to_string_lossy().into_owned())
            };
            Some((
                thread.path(),
                BTreeSet::from([inode("net")?, inode("mnt")?]),
                started,
            ))
        })
        .collect()
}

fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().map(str::to_owned).collect()
}

fn interfaces() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap();
    let names = table.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn nothing_is_left_of_a_killed_lab() {
    let (mounts_before, interfaces_before) = (mounts(), interfaces());
    let mut child = Command::new(env!("CARGO_BIN_EXE_lab-child"))
        .arg("hold-lab")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "up\n", "the lab in another process is not up");

    // The namespaces of the lab are those of the process's threads but for the first.
    let tasks = format!("/proc/{}/task/", child.id());
    let first = format!("{tasks}{}", child.id());
    let during = threads();
    let of = |thread: &str| {
        let found = during.iter().find(|(path, ..)| path == Path::new(thread));
        found.unwrap().1.clone()
    };
    let machine = of(&first);
    let inside: BTreeSet<_> = during
        .iter()
        .filter(|(path, ..)| path.starts_with(&tasks))
        .flat_map(|(_, namespaces, _)| namespaces.difference(&machine).cloned())
        .collect();
    // Two for each of router, balancer, client and three backends.
    assert_eq!(inside.len(), 12, "{inside:?}");
    let inhabitants = |all: &[(PathBuf, BTreeSet<String>, u64)]| -> BTreeSet<PathBuf> {
        let inside = all
            .iter()
            .filter(|(_, namespaces, _)| !namespaces.is_disjoint(&inside));
        inside.map(|(path, ..)| path.clone()).collect()
    };
    assert!(
        inhabitants(&during).len() >= 6 + ALL.len(),
        "hosts and servers"
    );

    child.kill().unwrap();
    child.wait().unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    // The kernel counts 100 ticks a second for user space, and may number the next lab's
    // namespaces as it did these: only threads of before count.
    let killed = (seconds * 100.0) as u64;
    let survivors = || {
        let mut all = threads();
        all.retain(|(_, _, started)| *started < killed);
        inhabitants(&all)
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while !survivors().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(survivors(), BTreeSet::new());
    assert!(mounts().is_subset(&mounts_before));
    assert!(interfaces().is_subset(&interfaces_before));
}
