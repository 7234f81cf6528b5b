//! `docs/preparing-servers.md`: each daemon is configured by what the page shows, and serves clients; and
//! without it, it does what the page says of it.
//!
//! The files of a daemon are the page's blocks with `daemon=NAME` and `file=PATH`, to the letter: the
//! page's addresses are the lab's. Its check is the block in TOML with its name. Beside that it has
//! what Debian's package gives it.

use std::{
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Agent, Host, Lab, Node, Process, Segment, Topology, lab::VIP, node::Stdout, process,
};
use serde_json::Value;

use super::{
    block::{Action, Block},
    page::Page,
    scene::{self, own_folder},
};
use crate::stage::{Hold, START_LIMIT, binary};

/// A daemon of the page.
struct Daemon {
    /// In the words behind a block's language.
    name: &'static str,
    /// In the page's table.
    title: &'static str,
    /// Where Debian has its configuration.
    folder: &'static str,
    /// What its package and its unit prepare.
    prepare: &'static str,
    /// As its unit has it.
    command: &'static [&'static str],
    /// Whether it is bound to anything as Debian has it.
    binds: bool,
    /// A file that gives it the zone and nothing else, if it is to have one.
    zone_alone: Option<(&'static str, &'static str)>,
    /// What clients ask, and what is a part of the answer.
    question: (&'static str, &'static str),
}

/// The VIP of the pages; the lab has another one.
const VIP_V6: &str = "2001:db8::53";

const SOA: (&str, &str) = ("example.net SOA", "ns.example.net.");
const LOCALHOST: (&str, &str) = ("localhost A", "127.0.0.1");

const DAEMONS: [Daemon; 5] = [
    Daemon {
        name: "nsd",
        title: "NSD",
        folder: "/etc/nsd",
        prepare: "rm -rf /var/lib/nsd\ninstall -d -o nsd -g nsd /var/lib/nsd /run/nsd",
        command: &["nsd", "-d", "-P", ""],
        binds: true,
        zone_alone: Some((
            "/etc/nsd/nsd.conf.d/zone.conf",
            "zone:\n    name: example.net\n    zonefile: /etc/nsd/example.net.zone\n",
        )),
        question: SOA,
    },
    Daemon {
        name: "knot",
        title: "Knot DNS",
        folder: "/etc/knot",
        prepare: "rm -rf /var/lib/knot\ninstall -d -o knot -g knot /var/lib/knot /run/knot",
        command: &["knotd"],
        binds: false,
        zone_alone: Some((
            "/etc/knot/knot.conf",
            "server:\n    rundir: /run/knot\n    user: knot:knot\n\
             database:\n    storage: /var/lib/knot\n\
             zone:\n  - domain: example.net\n    file: /etc/knot/example.net.zone\n",
        )),
        question: SOA,
    },
    Daemon {
        name: "unbound",
        title: "Unbound",
        folder: "/etc/unbound",
        prepare: "rm -rf /var/lib/unbound\ninstall -d -o unbound -g unbound /var/lib/unbound\n\
                  install -o unbound /usr/share/dns/root.key /var/lib/unbound/",
        command: &["unbound", "-d", "-p"],
        binds: true,
        zone_alone: None,
        question: LOCALHOST,
    },
    Daemon {
        name: "bind",
        title: "BIND",
        folder: "/etc/bind",
        // The machine's own cache is not the lab's.
        prepare: "mountpoint -q /var/cache/bind || mount -t tmpfs none /var/cache/bind\n\
                  chown bind:bind /var/cache/bind\ninstall -d -o bind -g bind /run/named",
        command: &["named", "-f", "-u", "bind"],
        binds: true,
        zone_alone: None,
        question: LOCALHOST,
    },
    Daemon {
        name: "recursor",
        title: "PowerDNS Recursor",
        folder: "/etc/powerdns",
        prepare: "install -d -o pdns -g pdns /run/pdns-recursor",
        command: &[
            "pdns_recursor",
            "--daemon=no",
            "--write-pid=no",
            "--disable-syslog",
            "--log-timestamp=no",
        ],
        binds: true,
        zone_alone: None,
        question: LOCALHOST,
    },
];

const ZONE: &str = "$ORIGIN example.net.\n$TTL 60\n\
    @ SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 60\n\
    @ NS ns.example.net.\nns A 192.0.2.53\n";

/// A server's host, bare at first, and who asks.
struct Bench {
    page: Page,
    lab: Lab,
    _hold: Hold,
}

impl Bench {
    fn new() -> Self {
        let hold = Hold::shared();
        let mut topology = Topology::dual_stack(&[]);
        topology.backends.push(Host {
            software: None,
            segment: Segment::First,
        });
        let bench = Self {
            page: Page::read("docs/preparing-servers.md"),
            lab: Lab::start(&topology).expect("a lab"),
            _hold: hold,
        };
        bench.make_bare();
        let route = format!("route replace {VIP_V6}/128 via 2001:db8::1");
        bench
            .lab
            .router
            .ip(&route)
            .expect("a route to the balancer");
        bench
    }

    fn server(&self) -> &Node {
        &self.lab.backends[0].node
    }

    fn make_bare(&self) {
        scene::make_bare(self.server());
    }

    /// Does what the page says of any server, in the order of the page.
    fn prepare_host(&self) {
        for block in &self.page.blocks {
            match block.action().expect("another test reports it") {
                Action::Run(run) if run.on == "server" => {
                    for step in run.steps {
                        script(self.server(), &step.script);
                    }
                }
                Action::Write { on, file } if on == "server" => {
                    own_folder(self.server(), &file).expect("a folder");
                    self.server().write(file, &block.text).expect("a file");
                }
                _ => {}
            }
        }
    }

    /// The blocks of the page that are a daemon's.
    fn blocks_of(&self, daemon: &Daemon) -> impl Iterator<Item = &Block> {
        let name = daemon.name;
        let blocks = self.page.blocks.iter();
        blocks.filter(move |block| block.word("daemon").as_deref() == Some(name))
    }

    /// Starts a daemon as its unit does, with these files beside the package's.
    fn start(&self, daemon: &Daemon, files: &[(&str, &str)]) -> Process {
        let Daemon {
            folder, prepare, ..
        } = daemon;
        let server = self.server();
        // What was written for a test before is gone with the folder.
        script(
            server,
            &format!(
                "rm -rf {folder}\ncp -a /run/machine-{} {folder}\n{prepare}",
                &folder[1..]
            ),
        );
        let zone = format!("{folder}/example.net.zone");
        for (file, text) in files.iter().copied().chain([(zone.as_str(), ZONE)]) {
            server.write(file, text).expect("a file");
        }
        let mut command = process::program(daemon.command[0]);
        command.args(&daemon.command[1..]);
        server
            .spawn(daemon.name, command, Stdout::Log)
            .expect("a daemon: cargo xtask setup installs it")
    }

    /// Waits until somebody has bound port 53, which this daemon is to do.
    fn await_bound(&self, daemon: &mut Process) {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let mut sockets = process::program("ss");
            sockets.args(["-Hlnu", "sport = :53"]);
            let output = self.server().output(sockets).expect("ss");
            if !output.stdout.is_empty() {
                return;
            }
            daemon.fail_if_ended().expect("it runs");
            assert!(
                Instant::now() < deadline,
                "it binds nothing\n{}",
                daemon.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The agent, with the check that the page has for a daemon.
    fn start_agent(&self, daemon: &Daemon) -> Agent {
        let mut checks = self
            .blocks_of(daemon)
            .filter(|block| block.language() == "toml");
        let check = &checks.next().expect("a check of the page").text;
        let address = self.lab.backends[0].address;
        let configuration = format!(
            "interfaces = [\"eth0\"]\n[[service]]\nname = \"{}\"\nvips = [\"{VIP}\", \"{VIP_V6}\"]\n\
             {check}\n[[service.backend]]\nname = \"dns1\"\naddress = \"{address}\"\n",
            daemon.name
        );
        Agent::start(&self.lab.balancer, binary(), &configuration).expect("an agent")
    }

    /// What a client gets to see of a question.
    fn dig(&self, server: &str, question: &str, more: &[&str]) -> String {
        let mut dig = process::program("dig");
        dig.arg(server)
            .args(question.split(' '))
            .args(["+tries=1", "+time=5"])
            .args(more);
        let output = self.lab.clients[0].node.output(dig).expect("dig");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asserts that a client is answered from each VIP over each protocol.
    fn assert_serves(&self, daemon: &Daemon) {
        let (question, part) = daemon.question;
        for vip in [VIP.to_string(), VIP_V6.to_owned()] {
            for protocol in ["+notcp", "+tcp"] {
                let answer = self.dig(&format!("@{vip}"), question, &[protocol]);
                let good = answer.contains("status: NOERROR") && answer.contains(part);
                assert!(good, "{} at {vip} {protocol}: {answer}", daemon.title);
            }
        }
    }
}

/// Runs a script on a host.
#[track_caller]
fn script(node: &Node, text: &str) {
    let mut command = process::program("bash");
    command.args(["-euo", "pipefail", "-c", text]);
    let output = node.output(command).expect("bash");
    assert!(output.status.success(), "{text}\n{output:?}");
}

/// Ends an agent, and what it leaves.
fn end(mut agent: Agent) {
    agent.terminate().expect("it ends");
    let unload = agent.run(&["unload"]).expect("dns-lb unload");
    assert!(unload.status.success(), "{unload:?}");
}

/// Waits until the agent has made up its mind about the server, and the newest probe ended so.
#[track_caller]
fn await_cause(agent: &Agent, cause: &str, words: impl Fn() -> String) {
    let health = if cause == "passed" { "up" } else { "down" };
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let output = agent.run(&["status", "--json"]).expect("dns-lb status");
        // Until the agent listens there is none.
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let backend = &status["services"][0]["backends"][0];
        let probe = &backend["last_probe"];
        if backend["health"] == health && probe["cause"] == cause {
            return;
        }
        let late = Instant::now() > deadline;
        assert!(!late, "not {cause} but {probe}\n{}", words());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_daemon_serves_as_the_page_configures_it() {
    let bench = Bench::new();
    for daemon in &DAEMONS {
        // In the order that is hard: the daemon is there before the VIP.
        bench.make_bare();
        let files: Vec<(String, &str)> = bench
            .blocks_of(daemon)
            .filter_map(|block| Some((block.word("file")?, block.text.as_str())))
            .collect();
        assert!(
            !files.is_empty(),
            "the page has nothing for {}",
            daemon.title
        );
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (file.as_str(), *text))
            .collect();
        let mut process = bench.start(daemon, &files);
        bench.await_bound(&mut process);
        bench.prepare_host();
        let mut agent = bench.start_agent(daemon);
        if let Err(error) = agent.wait_until_all_up(START_LIMIT) {
            panic!("{}: {error:#}\n{}", daemon.title, process.log());
        }
        bench.assert_serves(daemon);
        process.fail_if_ended().expect("it runs on");
        end(agent);
    }
}

#[test]
fn each_daemon_does_by_itself_what_the_page_says() {
    let bench = Bench::new();
    bench.prepare_host();
    let page = dns_lb_tests::monitoring::read(&bench.page.path).expect("the page");
    for daemon in &DAEMONS {
        let start = format!("| {} |", daemon.title);
        let mut rows = page.lines().filter(|line| line.starts_with(&start));
        let row = rows.next().expect("a row of the table");
        let said = row.rsplit('`').nth(1).expect("a cause");
        let mut process = bench.start(daemon, daemon.zone_alone.as_slice());
        match daemon.binds {
            true => bench.await_bound(&mut process),
            // There is nothing to wait for but its start.
            false => thread::sleep(Duration::from_secs(1)),
        }
        let agent = bench.start_agent(daemon);
        await_cause(&agent, said, || {
            format!("{}: {}", daemon.title, process.log())
        });
        process.fail_if_ended().expect("it runs on");
        if daemon.name == "bind" {
            // The balancer is of the local network, and so allowed; this client is not.
            let answer = bench.dig(&format!("@{VIP}"), "www.example.org A", &[]);
            assert!(answer.contains("status: REFUSED"), "{answer}");
        }
        end(agent);
    }
}
