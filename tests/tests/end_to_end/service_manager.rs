//! What the agent tells a service manager: sd_notify(3), heard at the manager's end.

use std::{
    net::TcpStream,
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Agent, Lab, Node, Process, Software, Topology,
    agent::{CONFIG, configuration},
    node::Stdout,
};
use nix::sys::signal::Signal;

use crate::stage::{START_LIMIT, binary};

const SOCKET: &str = "/run/notify";

/// Within which the manager of this test wants to hear of the loop.
const WATCHDOG: Duration = Duration::from_millis(600);

/// A manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn on(node: &Node) -> Self {
        let socket = node.run(|| UnixDatagram::bind(SOCKET)).expect("a socket");
        Self(socket)
    }

    /// The next message, but for signs of life.
    fn heard(&self, limit: Duration) -> Option<String> {
        self.next(limit, |message| message != "WATCHDOG=1")
    }

    /// The next message that is wanted, within this time.
    fn next(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut buffer = [0; 4096];
        loop {
            // None at all would mean: for ever.
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.0.set_read_timeout(Some(left)).expect("a time limit");
            let length = self.0.recv(&mut buffer).ok()?;
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if wanted(&message) {
                return Some(message);
            }
        }
    }

    fn await_message(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.next(START_LIMIT, wanted)
            .unwrap_or_else(|| panic!("the manager has not heard: {what}"))
    }

    /// Forgets what has been said so far.
    fn forget(&self) {
        while self.next(Duration::ZERO, |_| true).is_some() {}
    }
}

/// A lab, an agent that has a manager, and a way to run commands beside it.
struct Managed {
    lab: Lab,
    agent: Agent,
    process: Process,
    manager: Manager,
    configuration: String,
}

impl Managed {
    fn start() -> Self {
        let lab = Lab::start(&Topology::of(&[Software::Nsd, Software::Knot])).expect("a lab");
        let backends: Vec<_> = lab.backends.iter().collect();
        let configuration = configuration(&["eth0"], "hash", &backends);
        let node = &lab.balancer;
        node.write(CONFIG, &configuration).expect("a configuration");
        let manager = Manager::on(node);
        let agent = Agent::beside(node, binary());
        let mut command = agent.command();
        command
            .arg("run")
            .env("NOTIFY_SOCKET", SOCKET)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        let process = node.spawn("dns-lb", command, Stdout::Log).expect("a start");
        Self {
            lab,
            agent,
            process,
            manager,
            configuration,
        }
    }

    fn write(&self, configuration: &str) {
        let node = &self.lab.balancer;
        node.write(CONFIG, configuration).expect("a configuration");
    }
}

#[test]
fn ready_means_attached_and_listening_and_stopping_comes_last() {
    let managed = Managed::start();
    let first = managed.manager.heard(START_LIMIT);
    assert_eq!(first.as_deref(), Some("READY=1"));
    // At this moment, not soon after it.
    managed.lab.balancer.run(|| {
        let pins = Path::new("/sys/fs/bpf/dns-lb");
        let entries = std::fs::read_dir(pins).expect("pins");
        let names = entries.map(|entry| entry.expect("a pin").file_name());
        let names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        assert!(
            names.iter().any(|name| name.starts_with("link_")),
            "not attached: {names:?}"
        );
        TcpStream::connect("127.0.0.1:8053").expect("the status server");
        UnixStream::connect("/run/dns-lb/admin.sock").expect("the admin socket");
    });
    let status = managed.agent.status().expect("a status");
    assert!(status.generation > 0, "no tables: {status:?}");

    managed.manager.await_message("all backends up", |message| {
        message.starts_with("STATUS=2 of 2 backends up in 1 service, generation ")
    });
    let ended = managed.process.terminate(START_LIMIT).expect("an end");
    assert!(ended.success(), "{ended}");
    let mut last = String::new();
    while let Some(message) = managed.manager.heard(Duration::ZERO) {
        last = message;
    }
    assert_eq!(last, "STOPPING=1");
}

#[test]
fn a_reload_is_said_when_it_begins_and_when_it_is_over_also_if_it_is_refused() {
    let managed = Managed::start();
    let manager = &managed.manager;
    manager.await_message("a farm that is up", |message| {
        message.starts_with("STATUS=2 of 2")
    });
    managed.write(&managed.configuration.replace("\"hash\"", "\"source\""));
    let reload = managed.agent.run(&["reload"]).expect("dns-lb reload");
    assert!(reload.status.success(), "{reload:?}");
    // The command waits, and so does systemd for the command: all has been said by then.
    let said = || {
        manager.next(Duration::ZERO, |message| {
            !message.starts_with("STATUS=") && message != "WATCHDOG=1"
        })
    };
    let reloading = said().expect("a reload is said");
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(said().as_deref(), Some("READY=1"));

    managed.write(&managed.configuration.replace("\"hash\"", "\"fastest\""));
    // As the unit has it: the file cannot say where the socket is.
    let reload = ["reload", "--socket", "/run/dns-lb/admin.sock"];
    let reload = managed.agent.run(&reload).expect("dns-lb reload");
    assert_eq!(reload.status.code(), Some(2), "{reload:?}");
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(said.contains("fastest"), "{said}");
    managed
        .process
        .signal(Signal::SIGHUP)
        .expect("the agent runs on");
    for _ in 0..2 {
        manager.await_message("a reload that begins", |message| {
            message.starts_with("RELOADING=1\n")
        });
        let over = manager.await_message("a reload that is over", |message| {
            message.starts_with("READY=1")
        });
        let reason = over.strip_prefix("READY=1\nSTATUS=not reloaded: ");
        assert!(
            reason.is_some_and(|reason| reason.contains("fastest") && !reason.contains('\n')),
            "{over}"
        );
    }
    let goes_on = manager.await_message("how things are", |message| {
        message.starts_with("STATUS=2 of 2")
    });
    assert!(goes_on.contains("; not reloaded: "), "{goes_on}");

    managed.write(&managed.configuration);
    managed
        .process
        .signal(Signal::SIGHUP)
        .expect("the agent runs on");
    manager.await_message("a reload that is over", |message| message == "READY=1");
    let mended = manager.await_message("how things are", |message| {
        message.starts_with("STATUS=2 of 2")
    });
    assert!(!mended.contains("not reloaded"), "{mended}");
}

#[test]
fn the_loop_gives_signs_of_life_and_none_when_it_hangs() {
    let managed = Managed::start();
    // A farm of many, all of them dead and asked in vain: the loop has something to do.
    let mut configuration = managed.configuration.clone();
    for number in 1..=200 {
        configuration.push_str(&format!(
            "\n[[service.backend]]\nname = \"ghost{number}\"\naddress = \"192.168.1.{number}\"\n"
        ));
    }
    let manager = &managed.manager;
    manager.await_message("a start", |message| message == "READY=1");
    managed.write(&configuration);
    let reload = managed.agent.run(&["reload"]).expect("dns-lb reload");
    assert!(reload.status.success(), "{reload:?}");
    manager.forget();
    let is_life = |message: &str| message == "WATCHDOG=1";
    for _ in 0..5 {
        manager.await_message("a sign of life", is_life);
    }

    managed.process.freeze().expect("the agent runs");
    manager.forget();
    thread::sleep(3 * WATCHDOG);
    assert_eq!(manager.next(Duration::ZERO, |_| true), None);
    managed
        .process
        .signal(Signal::SIGCONT)
        .expect("it is there");
    manager.await_message("a sign of life", is_life);
}
