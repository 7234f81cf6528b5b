//! The lab that the blocks of a page share: the hosts that the pages speak of, by the addresses that
//! they have there.

use std::{
    fs,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Host, Lab, Node, Process, Segment, Software, Topology,
    agent::{CONFIG, Status},
    lab::{VIP, VIP_V6},
    node::Stdout,
    process,
};

use super::{
    block::{Action, Block, Run, Step},
    help,
    page::Page,
    shape,
};
use crate::stage::{Hold, START_LIMIT, binary};

/// The configuration of a page that has none: that of `docs/getting-started.md`, and a third server.
const CONFIGURATION: &str = r#"
interfaces = ["eth0"]

[[service]]
name = "resolvers"
vips = ["192.168.0.200"]

[[service.backend]]
name = "dns1"
address = "192.168.0.201"

[[service.backend]]
name = "dns2"
address = "192.168.0.202"

[[service.backend]]
name = "dns3"
address = "192.168.0.203"
"#;

/// What somebody who comes from keepalived has.
const KEEPALIVED: &str =
    include_str!("../../../../dns-lb/src/import/keepalived/fixtures/textbook.conf");

/// With this one a client's packet goes to the server that the pages show.
const HASH_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Where commands are run on a host, by a link to dns-lb beside it.
const HOME: &str = "/run/docs";

/// Seconds that a block may take.
const LIMIT: &str = "30";

/// How long output may take to become what a page shows: an agent probes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lab, and what the blocks of a page have made of it.
pub(super) struct Scene {
    lab: Lab,
    agent: Option<Process>,
    dead: Option<String>,
    /// Let go of last.
    _hold: Hold,
}

impl Scene {
    /// Plays a page, and returns what was not as the page says.
    pub(super) fn play(page: &Page) -> Vec<String> {
        let mut actions = Vec::new();
        for block in &page.blocks {
            // What is wrong with the others, another test reports.
            if let Ok(action) = block.action() {
                actions.push((block, action));
            }
        }
        let mut faults = Vec::new();
        let mut scene = None;
        for (block, action) in &actions {
            let result = match action {
                Action::Ignore => Ok(()),
                Action::Leave(_) => all(block, help::look_up),
                Action::LookUp => all(block, help::look_up_build),
                Action::Write { .. } | Action::Run(_) => scene
                    .get_or_insert_with(|| Self::set(actions.iter().map(|(_, action)| action)))
                    .perform(block, action),
            };
            if let Err(fault) = result {
                faults.push(format!("{block}: {}\n{fault}", block.text.trim_end()));
            }
        }
        faults
    }

    /// Builds the lab for a page with these actions.
    fn set<'a>(actions: impl Iterator<Item = &'a Action> + Clone) -> Self {
        let mut topology =
            Topology::dual_stack(&[Software::Nsd, Software::Knot, Software::Unbound]);
        topology.backends.push(Host {
            software: None,
            segment: Segment::First,
        });
        let hold = Hold::shared();
        let lab = Lab::start(&topology).expect("a lab");
        let mut scene = Self {
            lab,
            agent: None,
            dead: None,
            _hold: hold,
        };
        make_bare(&scene.node("server"));
        let nodes: Vec<Node> = super::block::PLACES.map(|place| scene.node(place)).into();
        for node in nodes {
            node.run(|| {
                fs::create_dir_all(HOME)?;
                std::os::unix::fs::symlink(binary(), format!("{HOME}/dns-lb"))
            })
            // Two places may be the same host.
            .expect("a place for commands");
        }
        let balancer = scene.lab.balancer.clone();
        scene
            .write("balancer", "/etc/keepalived/keepalived.conf", KEEPALIVED)
            .expect("a file of keepalived");
        let written = balancer.write("/etc/dns-lb/hash.key", HASH_KEY);
        written.expect("a hash key");

        let scripts: Vec<&str> = actions
            .clone()
            .filter_map(|action| match action {
                Action::Run(run) if run.on == "balancer" => Some(run),
                _ => None,
            })
            .flat_map(|run| run.steps.iter().map(|step| step.script.as_str()))
            .collect();
        if scripts
            .iter()
            .any(|script| script.contains(&format!("ip addr add {VIP}/")))
        {
            let removed = balancer.ip(&format!("addr del {VIP}/32 dev lo"));
            removed.expect("the lab gives it the VIP");
        }
        let configures =
            |action: &Action| matches!(action, Action::Write { file, .. } if file == CONFIG);
        let starts = scripts
            .iter()
            .any(|script| script.starts_with("dns-lb run"));
        if !actions.clone().any(configures) {
            balancer
                .write(CONFIG, CONFIGURATION)
                .expect("a configuration");
            if !starts {
                scene.start_agent("dns-lb run").expect("an agent");
            }
        }
        scene
    }

    fn node(&self, place: &str) -> Node {
        let backend = |number: usize| self.lab.backends[number].node.clone();
        match place {
            "balancer" => self.lab.balancer.clone(),
            "router" => self.lab.router.clone(),
            "client" => self.lab.clients[0].node.clone(),
            "dns1" => backend(0),
            "dns2" => backend(1),
            "dns3" => backend(2),
            "server" => backend(3),
            _ => unreachable!("a block's place is one of these"),
        }
    }

    fn perform(&mut self, block: &Block, action: &Action) -> Result<(), String> {
        match action {
            Action::Write { on, file } => {
                self.write(on, file, &block.text)?;
                if file == CONFIG && self.agent.is_none() {
                    self.start_agent("dns-lb run")?;
                }
                Ok(())
            }
            Action::Run(run) => self.run(run),
            Action::Ignore | Action::Leave(_) | Action::LookUp => Ok(()),
        }
    }

    fn write(&self, on: &str, file: &str, text: &str) -> Result<(), String> {
        let node = self.node(on);
        let written = own_folder(&node, file).and_then(|()| node.write(file, text));
        written.map_err(|error| format!("{error:#}"))
    }

    fn run(&mut self, run: &Run) -> Result<(), String> {
        self.let_die(run.dead.as_deref())?;
        let node = self.node(&run.on);
        if let Some(before) = &run.before {
            succeed(&node, before, false)?;
        }
        for step in &run.steps {
            if step.is_agent() {
                self.start_agent(&step.script)?;
                continue;
            }
            match &step.shown {
                Some(shown) if run.compared => compare(&node, step, shown, run.fails)?,
                _ => drop(succeed(&node, &step.script, run.fails)?),
            }
        }
        Ok(())
    }

    /// Starts the agent by this command; one that runs is ended before.
    fn start_agent(&mut self, command: &str) -> Result<(), String> {
        let told = |error: anyhow::Error| format!("{error:#}");
        if let Some(agent) = self.agent.take() {
            agent.terminate(PATIENCE).map_err(told)?;
        }
        let mut shell = shell(&format!("exec {command}"));
        shell.current_dir(HOME);
        let node = &self.lab.balancer;
        self.agent = Some(node.spawn("dns-lb", shell, Stdout::Log).map_err(told)?);
        self.await_status("all servers are up", Status::all_up)
    }

    /// Has this server's daemon be dead, and no other's, and the agent know it.
    fn let_die(&mut self, dead: Option<&str>) -> Result<(), String> {
        if self.dead.as_deref() == dead {
            return Ok(());
        }
        for backend in &mut self.lab.backends {
            let told = |error: anyhow::Error| format!("{error:#}");
            if Some(backend.name.as_str()) == dead {
                backend.kill().map_err(told)?;
            } else if self.dead.as_ref() == Some(&backend.name) {
                backend.start().map_err(told)?;
            }
        }
        self.dead = dead.map(str::to_owned);
        let Some(dead) = dead.map(str::to_owned) else {
            return self.await_status("all servers are up", Status::all_up);
        };
        self.await_status("one is down", move |status| {
            let mut backends = status.services.iter().flat_map(|service| &service.backends);
            backends.all(|backend| match backend.name == dead {
                true => backend.health == "down" && backend.share == 0.0,
                false => backend.health == "up",
            })
        })
    }

    /// Waits until the agent, if it runs, says so.
    fn await_status(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<(), String> {
        let node = self.lab.balancer.clone();
        let deadline = Instant::now() + START_LIMIT;
        while let Some(agent) = &mut self.agent {
            agent
                .fail_if_ended()
                .map_err(|error| format!("{error:#}"))?;
            let mut command = Command::new(binary());
            command.args(["status", "--json"]);
            let output = node.output(command).map_err(|error| format!("{error:#}"))?;
            let status: Option<Status> = serde_json::from_slice(&output.stdout).ok();
            if status.as_ref().is_some_and(&wanted) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("not so: {what}: {status:?}\n{}", agent.log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Takes away what the lab has prepared on a server's host.
pub(super) fn make_bare(server: &Node) {
    // Of what is not there, nothing has to be taken away.
    for address in [
        format!("{VIP}/32"),
        format!("{VIP_V6}/128"),
        "2001:db8::53/128".to_owned(),
    ] {
        let _ = server.ip(&format!("addr del {address} dev lo"));
    }
    let settings = &[
        "net/ipv4/conf/all/arp_ignore=0",
        "net/ipv4/conf/all/arp_announce=0",
    ];
    server.sysctl(settings).expect("settings");
}

/// Gives a host a folder of its own for a file below `/etc`, with what the machine has in it: the
/// machine's own is seen read-only.
pub(super) fn own_folder(node: &Node, file: &str) -> anyhow::Result<()> {
    let Some(name) = file
        .strip_prefix("/etc/")
        .and_then(|rest| rest.split('/').next())
    else {
        return Ok(());
    };
    let mut command = process::program("bash");
    let script = "if [ -L \"$1\" ]; then rm \"$1\"; cp -a \"$2\" \"$1\"; fi";
    let folders = [format!("/etc/{name}"), format!("/run/machine-etc/{name}")];
    command.args(["-euc", script, "own-folder"]).args(folders);
    let output = node.output(command)?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// Looks all commands of a block up.
fn all(block: &Block, look_up: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    block
        .commands()
        .iter()
        .try_for_each(|command| look_up(command))
}

/// A shell that stops at the first command that fails, and says which one it was.
fn shell(script: &str) -> Command {
    let mut command = process::program("bash");
    let guard = "trap 'echo \"failed, with $?: $BASH_COMMAND\" >&2' ERR\n";
    command.args(["-euo", "pipefail", "-c", &format!("{guard}{script}")]);
    let path = format!("{HOME}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("PATH", path);
    command
}

/// What a script prints, if it ends as it should.
fn succeed(node: &Node, script: &str, fails: bool) -> Result<String, String> {
    let inner = shell(script);
    let mut command = process::program("timeout");
    command
        .arg(LIMIT)
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.current_dir(HOME);
    let Output {
        status,
        stdout,
        stderr,
    } = node.output(command).map_err(|error| format!("{error:#}"))?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    // dig is content with any answer; who reads the page is not.
    let mut answers = stdout
        .lines()
        .filter_map(|line| line.split_once(", status: "));
    let refused =
        answers.any(|(_, code)| !code.starts_with("NOERROR") && !code.starts_with("NXDOMAIN"));
    let succeeds = status.success() && !refused;
    match succeeds != fails {
        true => Ok(stdout.into_owned()),
        false => Err(format!("{status}\n{stdout}{stderr}")),
    }
}

/// Holds what a command prints against what is shown. What only shows something is asked again for a
/// while: a probe may be on its way.
fn compare(node: &Node, step: &Step, shown: &str, fails: bool) -> Result<(), String> {
    let only_shows = ["dns-lb status", "dns-lb explain"]
        .iter()
        .any(|command| step.script.starts_with(command));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = succeed(node, &step.script, fails)?;
        if shape::is_like(&output, shown) {
            return Ok(());
        }
        if !only_shows || Instant::now() > deadline {
            let (is, to_be) = (shape::masked(&output), shape::masked(shown));
            return Err(format!(
                "prints something else than is shown:\n{output}\nby shape:\n  is    {is}\n  shown {to_be}"
            ));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
