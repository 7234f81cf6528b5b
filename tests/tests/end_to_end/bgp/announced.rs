//! When a VIP is announced, and when it no longer is.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Process, Software, Topology, agent,
    agent::{CONFIG, PATIENCE},
    ha::{Fan, fan::BALANCER, printed, wait_for},
    lab::VIP,
    node::{Node, Stdout},
};

use crate::stage::{Hold, Stage, assert_healthy, binary};

/// Further VIPs of services.
const OTHER: &str = "192.168.0.210";
const THIRD: &str = "192.168.0.211";

fn small() -> Topology {
    Topology::of(&[Software::Nsd, Software::Knot])
}

/// Writes down every change of the router's routes to the VIP.
struct Watch(Process);

impl Watch {
    fn start(router: &Node) -> Self {
        let mut command = Command::new("ip");
        command.args(["monitor", "route"]);
        let watch = router.spawn("ip monitor", command, Stdout::Log);
        Self(watch.expect("ip"))
    }

    fn assert_nothing(&self, when: &str) {
        let log = self.0.log();
        let changes = log.lines().filter(|line| line.contains(&VIP.to_string()));
        assert_eq!(changes.count(), 0, "{when}: {log}");
    }
}

/// Which addresses of the lab's VIPs an interface has.
fn vips(node: &Node, interface: &str) -> BTreeSet<String> {
    let shown = printed(
        node,
        "ip",
        &["-oneline", "address", "show", "dev", interface],
    );
    // Without the interface there are none.
    let shown = shown.unwrap_or_default();
    [VIP.to_string(), OTHER.to_owned(), THIRD.to_owned()]
        .into_iter()
        .filter(|vip| shown.contains(&format!(" {vip}/32 ")))
        .collect()
}

fn await_vips(stage: &Stage, interface: &str, wanted: &[&str]) -> Instant {
    let node = &stage.lab.balancer;
    let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
    let what = format!("{wanted:?} on {interface}; log:\n{}", stage.agent.log());
    wait_for(&what, PATIENCE, || Ok(vips(node, interface) == wanted)).expect("the agent does it")
}

#[test]
fn a_killed_agent_stays_announced_and_its_successor_changes_nothing() {
    let _hold = Hold::shared();
    let mut fan = Fan::start(&small(), binary()).expect("a fan");
    assert_healthy(&fan.balancers);
    let watch = Watch::start(&fan.lab.router);
    fan.balancers[0].agent.kill().expect("it runs");
    thread::sleep(Duration::from_secs(2));
    watch.assert_nothing("without an agent");
    let client = &fan.lab.clients[0].node;
    let load = dns_lb_tests::Load::start(client, VIP, 1_000, dns_lb_tests::Ports::Fresh);
    let report = load.expect("a load").run_for(Duration::from_secs(1));
    assert_eq!(report.expect("a report").lost(), 0, "it steers on");
    fan.balancers[0].agent.restart().expect("it starts");
    fan.settle(false).expect("as before");
    thread::sleep(Duration::from_secs(2));
    watch.assert_nothing("with another agent");
}

/// On one balancer only: it alone does not see one of the two servers.
#[test]
fn without_its_quorum_a_service_is_withdrawn_until_it_has_held_it() {
    let _hold = Hold::shared();
    let configured = |backends: &[&dns_lb_tests::Backend]| {
        let text = agent::configuration(&["eth0"], "hash", backends);
        text.replacen("policy =", "quorum = 2\npolicy =", 1)
    };
    let fan = Fan::start_configured(&small(), binary(), BALANCER, configured).expect("a fan");
    let server = &fan.lab.backends[0].node;
    let drop = "table inet cut_off {
        chain in {
            type filter hook prerouting priority raw
            ip saddr 192.168.0.2 udp dport 53 drop
        }
    }";
    server.nft(drop).expect("nft");
    let routes = |of: &[u8]| {
        let of: BTreeSet<u8> = of.iter().copied().collect();
        wait_for("routes", PATIENCE, || Ok(fan.routes()? == of)).expect("the agent does it")
    };
    routes(&[1, 3]);
    let (is_ready, _) = fan.balancers[1].ready().expect("it runs");
    assert!(!is_ready);
    let mended = Instant::now();
    server.nft("delete table inet cut_off").expect("nft");
    let back = routes(&[1, 2, 3]);
    let hold = Duration::from_secs(1);
    assert!(back - mended >= hold, "{:?}", back - mended);
}

/// The file that `docs/high-availability.md` makes of the example, in two pieces.
fn with_last_resort() -> String {
    let page = include_str!("../../../../docs/high-availability.md");
    let from = page.find("protocol static last_resort").expect("the page");
    let block = page[from..].split("```").next().unwrap_or_default();
    let filter = block.find("# first in the filter").expect("the page");
    let (protocol, rule) = block.split_at(filter);
    let begin = "filter service_addresses {\n";
    BALANCER.replace(begin, &format!("{protocol}\n{begin}{rule}"))
}

/// Nobody is ready: the router has what is announced by the longer path. Then it has the better ones again.
#[test]
fn with_a_last_resort_queries_still_come_when_nobody_is_ready() {
    let _hold = Hold::shared();
    let configured =
        |backends: &[&dns_lb_tests::Backend]| agent::configuration(&["eth0"], "hash", backends);
    let fan = Fan::start_configured(&small(), binary(), &with_last_resort(), configured);
    let mut fan = fan.expect("a fan");
    let routes = |fan: &Fan, of: &[u8]| {
        let of: BTreeSet<u8> = of.iter().copied().collect();
        wait_for("routes", PATIENCE, || Ok(fan.routes()? == of)).expect("BIRD does it")
    };
    // One that is not ready gets nothing, since others are.
    assert!(
        fan.balancers[1]
            .agent
            .terminate()
            .expect("it ends")
            .success()
    );
    routes(&fan, &[1, 3]);
    fan.balancers[1].agent.restart().expect("it starts");
    routes(&fan, &[1, 2, 3]);

    for backend in &mut fan.lab.backends {
        backend.kill().expect("it runs");
    }
    for balancer in &fan.balancers {
        let told = || Ok(vips(&balancer.node, "lo").is_empty());
        wait_for("its VIP is taken back", PATIENCE, told).expect("the agent does it");
    }
    routes(&fan, &[1, 2, 3]);
    for backend in &mut fan.lab.backends {
        backend.start().expect("it starts");
    }
    fan.settle(false).expect("as before");
}

#[test]
fn the_interface_is_kept_as_it_should_be() {
    let mut text = String::new();
    let mut stage = Stage::set_configured(&small(), |backends| {
        text = agent::configuration(&["eth0"], "hash", backends);
        // `lo` has the VIP in this lab, by itself.
        text.clone() + "\n[announce]\ninterface = \"vips\"\n"
    });
    let reload = |stage: &Stage, text: &str| {
        stage.lab.balancer.write(CONFIG, text).expect("a file");
        let output = stage.agent.run(&["reload"]).expect("it runs");
        assert!(output.status.success(), "{output:?}");
    };
    let vip = VIP.to_string();
    let node = stage.lab.balancer.clone();

    // There is no such interface: said once, and tried again.
    thread::sleep(Duration::from_millis(2_500));
    let said = stage.agent.log();
    assert_eq!(
        said.matches("there is no interface vips").count(),
        1,
        "{said}"
    );
    node.ip("link add vips type bridge\nlink set vips up")
        .expect("ip");
    await_vips(&stage, "vips", &[&vip]);

    // Taken away by hand.
    node.ip(&format!("addr del {VIP}/32 dev vips")).expect("ip");
    await_vips(&stage, "vips", &[&vip]);

    // Another VIP, then it and its service go.
    let backend = &stage.lab.backends[0];
    let mut more = text.clone();
    for (name, vips, port) in [
        ("more", format!("[\"{OTHER}\", \"{THIRD}\"]"), 53),
        ("tls", format!("[\"{VIP}\"]"), 853),
    ] {
        let _ = write!(
            more,
            "\n[[service]]\nname = \"{name}\"\nvips = {vips}\nport = {port}\nprotocols = [\"tcp\"]\n\
             [service.health]\npath = \"real\"\ntransport = \"tcp\"\n\
             [[service.backend]]\nname = \"{name}1\"\naddress = \"{}\"\n",
            backend.address
        );
    }
    let announce = "\n[announce]\ninterface = \"vips\"\n";
    reload(&stage, &(more + announce));
    // Nobody answers on port 853, so what is on that VIP is no good to clients.
    await_vips(&stage, "vips", &[OTHER, THIRD]);
    reload(&stage, &(text.clone() + announce));
    await_vips(&stage, "vips", &[&vip]);

    // On another interface, then nowhere.
    node.ip("link add other type bridge\nlink set other up")
        .expect("ip");
    reload(
        &stage,
        &(text.clone() + "\n[announce]\ninterface = \"other\"\n"),
    );
    await_vips(&stage, "other", &[&vip]);
    await_vips(&stage, "vips", &[]);
    reload(&stage, &text);
    await_vips(&stage, "other", &[]);

    // The last: whoever stops takes it back first.
    reload(&stage, &(text + announce));
    await_vips(&stage, "vips", &[&vip]);
    let status = stage.agent.terminate().expect("it ends");
    assert!(status.success());
    assert_eq!(vips(&node, "vips"), BTreeSet::new());
}
