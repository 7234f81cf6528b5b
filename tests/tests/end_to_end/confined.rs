//! The agent as its unit runs it: as a user of its own, with four capabilities and the system calls that
//! the unit names, shown one directory of the bpffs.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use dns_lb_tests::{
    Agent, Lab, Load, Ports, Process, Software, Topology,
    agent::{CONFIG, configuration},
    lab::VIP,
    node::Stdout,
    process::program,
};

use crate::stage::{RATE, START_LIMIT, binary};

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");

/// Where every user may run the binary, whoever owns the tree that it was built in.
const BINARY: &str = "/run/dns-lb-binary";

/// Whom the package makes a user; here one without a name will do.
const USER: u32 = 64053;

/// What the unit says, as far as it can be done without systemd.
struct Unit(String);

impl Unit {
    fn read(name: &str) -> Self {
        let path = Path::new(PACKAGING).join(name);
        Self(fs::read_to_string(path).expect("a unit"))
    }

    /// The values of a setting, in their order.
    fn values(&self, setting: &str) -> Vec<&str> {
        let lines = self.0.lines();
        let values = lines.filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
        let values: Vec<&str> = values.collect();
        assert!(!values.is_empty(), "the unit has no {setting}");
        values
    }

    fn value(&self, setting: &str) -> &str {
        let values = self.values(setting);
        assert_eq!(values.len(), 1, "{setting} is there more than once");
        values[0]
    }

    fn capabilities(&self) -> Vec<&str> {
        let capabilities = self.value("AmbientCapabilities");
        assert_eq!(capabilities, self.value("CapabilityBoundingSet"));
        capabilities.split(' ').collect()
    }

    /// A mount namespace in which the bpffs is seen as the unit says.
    fn view(&self) -> String {
        let (hidden, shown) = (self.value("TemporaryFileSystem"), self.value("BindPaths"));
        let hidden = hidden.strip_suffix(":ro").expect("read-only");
        format!(
            "mkdir -p /run/view\n\
             mount --bind {shown} /run/view\n\
             mount -t tmpfs -o mode=0755 tmpfs {hidden}\n\
             mkdir {shown}\n\
             mount --move /run/view {shown}\n\
             mount -o remount,ro {hidden}\n"
        )
    }
}

/// What root does before each start, for another user than the package's.
fn preparation() -> String {
    let unit = Unit::read("dns-lb-bpffs.service");
    let lines = unit.values("ExecStart");
    let lines = lines.iter().map(|line| {
        line.replace("-o dns-lb -g dns-lb", &format!("-o {USER} -g {USER}"))
            .replace("dns-lb:dns-lb", &format!("{USER}:{USER}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A lab whose balancer is prepared for the agent as the package and the unit prepare it.
struct Confined {
    lab: Lab,
    agent: Agent,
    unit: Unit,
    configuration: String,
}

impl Confined {
    fn prepare() -> Self {
        let lab = Lab::start(&Topology::of(&[Software::Nsd, Software::Knot])).expect("a lab");
        let backends: Vec<_> = lab.backends.iter().collect();
        let configuration = configuration(&["eth0"], "hash", &backends);
        let node = &lab.balancer;
        node.write(CONFIG, &configuration).expect("a configuration");
        node.write("/etc/dns-lb/hash.key", "00112233445566778899aabbccddeeff\n")
            .expect("a key");
        node.write(BINARY, "").expect("a mount point");
        let bind = format!("mount --bind {} {BINARY}", binary().display());
        let directories = format!(
            "install -d -o {USER} -g {USER} /run/dns-lb /var/lib/dns-lb\n\
             chgrp {USER} /etc/dns-lb/hash.key\n\
             chmod 0640 /etc/dns-lb/hash.key\n\
             chmod 0700 /sys/fs/bpf\n"
        );
        let confined = Self {
            agent: Agent::beside(node, binary()),
            unit: Unit::read("dns-lb.service"),
            lab,
            configuration,
        };
        confined.root(&bind);
        confined.root(&directories);
        confined
    }

    /// Has root do something on the balancer.
    fn root(&self, script: &str) {
        let mut command = program("sh");
        command.args(["-euc", script]);
        let output = self.lab.balancer.output(command).expect("sh");
        assert!(output.status.success(), "{script}: {output:?}");
    }

    /// The agent with these capabilities, in the unit's view of the bpffs; run by what `wrapper` says.
    fn command(&self, capabilities: &[&str], wrapper: &str) -> Command {
        self.root(&preparation());
        let names = |prefix: &str| {
            let names = capabilities.iter().map(|name| {
                let name = name.strip_prefix("CAP_").expect("a capability");
                format!("{prefix}{}", name.to_lowercase())
            });
            names.collect::<Vec<_>>().join(",")
        };
        let (all, added) = (names("+"), format!("-all,{}", names("+")));
        let run = self.unit.value("ExecStart");
        let run = run.strip_prefix("/usr/sbin/dns-lb ").expect("the binary");
        // To the journal of this machine nobody listens.
        let run = run.replace("--log-format journald", "--log-format text");
        let script = format!(
            "{}exec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs \
             --bounding-set {added} --inh-caps {added} --ambient-caps {all} \
             {wrapper} {BINARY} {run}",
            self.unit.view()
        );
        let mut command = program("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &script]);
        command
    }

    fn start(&self) -> Process {
        let command = self.command(&self.unit.capabilities(), "");
        let node = &self.lab.balancer;
        node.spawn("dns-lb", command, Stdout::Log).expect("a start")
    }

    fn await_all_up(&mut self, process: &mut Process) {
        if let Err(error) = self.agent.wait_until_all_up(START_LIMIT) {
            process.fail_if_ended().expect("the agent runs");
            panic!("{error:#}\n{}", process.log());
        }
    }
}

#[test]
fn it_steers_restarts_reloads_and_is_removed() {
    let mut confined = Confined::prepare();
    let mut process = confined.start();
    confined.await_all_up(&mut process);
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("its status");
    for (field, wanted) in [
        ("Uid:\t", format!("{USER}\t")),
        ("CapEff:\t", "000000c000003000".to_owned()),
        ("CapBnd:\t", "000000c000003000".to_owned()),
        ("NoNewPrivs:\t", "1".to_owned()),
    ] {
        let line = format!("\n{field}{wanted}");
        assert!(status.contains(&line), "{line} is not in: {status}");
    }

    let client = &confined.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    process.kill().expect("the agent runs");
    let mut process = confined.start();
    confined.await_all_up(&mut process);
    let report = load.stop().expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    assert!(report.answered() > 0);

    // Another interface, by the command of the unit's ExecReload, given by the user itself.
    confined
        .lab
        .balancer
        .ip("link add eth7 type veth peer name eth8\nlink set eth7 up")
        .expect("another interface");
    let more = confined
        .configuration
        .replace("[\"eth0\"]", "[\"eth0\", \"eth7\"]");
    confined.lab.balancer.write(CONFIG, &more).expect("a file");
    let reload = confined.unit.value("ExecReload");
    let reload = reload.replace("/usr/sbin/dns-lb", BINARY);
    confined.root(&format!(
        "setpriv --reuid {USER} --regid {USER} --clear-groups {reload}"
    ));
    let links = confined.lab.balancer.output({
        let mut command = program("ip");
        command.args(["link", "show", "eth7"]);
        command
    });
    let links = links.expect("ip").stdout;
    let links = String::from_utf8_lossy(&links);
    assert!(links.contains("prog/xdp"), "{links}");

    // For root everything is where it is without a unit.
    confined.root("bpftool map dump pinned /sys/fs/bpf/dns-lb/control | grep -q generation");
    let refused = confined.agent.run(&["unload"]).expect("dns-lb unload");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("another dns-lb agent"), "{said}");
    let ended = process.terminate(START_LIMIT).expect("an end");
    assert!(ended.success(), "{ended}");
    let unload = confined.agent.run(&["unload"]).expect("dns-lb unload");
    assert!(unload.status.success(), "{unload:?}");
    confined.root("test ! -e /sys/fs/bpf/dns-lb");
}

#[test]
fn it_takes_over_from_an_agent_of_roots() {
    let mut confined = Confined::prepare();
    let mut agent = Agent::start(&confined.lab.balancer, binary(), &confined.configuration)
        .expect("an agent of root's");
    agent.wait_until_all_up(START_LIMIT).expect("it steers");
    let before = agent.status().expect("a status").generation;
    agent.terminate().expect("it ends");
    // systemd gives these to the user.
    confined.root(&format!(
        "chown -R {USER}:{USER} /run/dns-lb /var/lib/dns-lb"
    ));
    let mut process = confined.start();
    confined.await_all_up(&mut process);
    let status = confined.agent.status().expect("a status");
    assert!(status.generation > before, "new maps: {status:?}");
}

#[test]
fn what_it_cannot_remove_it_leaves_empty() {
    let mut confined = Confined::prepare();
    let mut command = confined.command(&confined.unit.capabilities(), "");
    // The arguments end the script.
    let script = command.get_args().last().expect("a script").to_owned();
    let script = script.into_string().expect("text") + " --detach-on-exit";
    command = program("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", &script]);
    let node = &confined.lab.balancer;
    let mut process = node.spawn("dns-lb", command, Stdout::Log).expect("a start");
    confined.await_all_up(&mut process);
    let ended = process.terminate(START_LIMIT).expect("an end");
    assert!(ended.success(), "{ended}");
    let left = confined.lab.balancer.run(|| {
        let pins = Path::new("/sys/fs/bpf/dns-lb");
        let metadata = fs::metadata(pins).expect("the directory");
        let mode = metadata.permissions().mode();
        (
            metadata.uid(),
            mode & 0o777,
            pins.read_dir().expect("it").count(),
        )
    });
    assert_eq!(left, (USER, 0o700, 0));
}

#[test]
fn each_capability_that_it_lacks_is_named() {
    let confined = Confined::prepare();
    let all = confined.unit.capabilities();
    for lacking in &all {
        let others: Vec<&str> = all.iter().copied().filter(|name| name != lacking).collect();
        if *lacking == "CAP_NET_RAW" {
            without_raw_sockets(&confined, &others);
            continue;
        }
        let command = confined.command(&others, "timeout 20");
        let output = confined.lab.balancer.output(command).expect("the agent");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "without {lacking}: {said}");
        let named = format!("lacks {lacking}");
        assert!(said.contains(&named), "without {lacking}: {said}");
    }
}

/// Without it nothing but probes through the VIP fails, and what fails is no server's fault.
fn without_raw_sockets(confined: &Confined, others: &[&str]) {
    let node = &confined.lab.balancer;
    let command = confined.command(others, "");
    let process = node.spawn("dns-lb", command, Stdout::Log).expect("a start");
    let mut agent = Agent::beside(node, binary());
    let (status, _) = agent
        .wait_until("it says what it lacks", START_LIMIT, |status| {
            let backends = &status.services[0].backends;
            backends.iter().all(|backend| backend.frozen.is_some())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", process.log()));
    let frozen = status.services[0].backends[0].frozen.clone();
    let frozen = frozen.expect("a reason");
    assert!(frozen.contains("CAP_NET_RAW"), "{frozen}");
    process.kill().expect("it runs");
}

#[test]
fn every_system_call_that_it_makes_is_allowed_by_its_unit() {
    let mut confined = Confined::prepare();
    let allowed = allowed(&confined.unit);
    assert!(allowed.contains("bpf") && !allowed.contains("mount"));
    let trace = "/run/trace/calls";
    confined.root(&format!("install -d -o {USER} /run/trace"));
    let wrapper = format!("strace --follow-forks --decode-pids=comm --output {trace}");
    let command = confined.command(&confined.unit.capabilities(), &wrapper);
    let node = confined.lab.balancer.clone();
    let mut process = node.spawn("dns-lb", command, Stdout::Log).expect("a start");
    confined.await_all_up(&mut process);
    // What an agent does in a life: it is asked and told, loses a server, grows, ends.
    let name = "resolvers/dns1";
    for words in [
        &["drain", name][..],
        &["enable", name],
        &["reload"],
        &["status"],
    ] {
        let output = confined.agent.run(words).expect("dns-lb");
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    confined.lab.backends[0].kill().expect("a server");
    confined
        .agent
        .wait_until("a server is down", START_LIMIT, |status| {
            status.health("dns1") == Some("down")
        })
        .expect("the agent sees it");
    let more: String = (1..=100)
        .map(|number| {
            format!(
                "\n[[service.backend]]\nname = \"more{number}\"\naddress = \"192.168.1.{number}\"\n"
            )
        })
        .collect();
    let grown = confined.configuration.clone() + &more;
    node.write(CONFIG, &grown).expect("a configuration");
    let reload = confined.agent.run(&["reload"]).expect("dns-lb reload");
    assert!(reload.status.success(), "{reload:?}");
    let ended = process.terminate(START_LIMIT).expect("an end");
    assert!(ended.success(), "{ended}");

    let calls = node
        .run(move || fs::read_to_string(trace))
        .expect("a trace");
    let made: BTreeSet<&str> = calls.lines().filter_map(called).collect();
    assert!(made.contains("bpf") && made.contains("sendto"), "{made:?}");
    let forbidden: Vec<&&str> = made
        .iter()
        .filter(|call| !allowed.contains(**call))
        .collect();
    assert!(
        forbidden.is_empty(),
        "not allowed by the unit: {forbidden:?}"
    );
}

/// The system call of a line of strace's, `1234<dns-lb> bpf(…`.
fn called(line: &str) -> Option<&str> {
    let (_, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

/// The system calls that the unit's filter lets through: the sets are systemd's own.
fn allowed(unit: &Unit) -> BTreeSet<String> {
    let mut allowed =
        BTreeSet::from(["execve", "exit", "exit_group", "rt_sigreturn"].map(str::to_owned));
    for line in unit.values("SystemCallFilter") {
        let (removes, words) = match line.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, line),
        };
        for word in words.split(' ') {
            for call in members(word) {
                if removes {
                    allowed.remove(&call);
                } else {
                    allowed.insert(call);
                }
            }
        }
    }
    allowed
}

/// The calls of a set, with those of the sets in it; a call is the set of itself.
fn members(word: &str) -> Vec<String> {
    if !word.starts_with('@') {
        return vec![word.to_owned()];
    }
    let mut command = program("systemd-analyze");
    command.args(["syscall-filter", word]);
    let output = command
        .output()
        .expect("systemd-analyze (cargo xtask setup installs it)");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().skip(1).map(str::trim);
    let words = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    words.flat_map(members).collect()
}
