//! What the tests of this binary share: the agent's binary, and a lab with the agent at work.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use dns_lb_tests::{
    Agent, Backend, Host, Lab, Segment, Software, Topology, agent, ha::Balancer, process,
};
use serde_json::Value;

/// How long everything may take to come up on a busy machine.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(20);

/// By how much the load is divided where the tests are built for an emulated machine, which carries less.
/// What they prove there of a kernel does not depend on it.
pub(crate) const GENTLER: u32 = match option_env!("DNS_LB_EMULATED") {
    Some(_) => 10,
    None => 1,
};

/// Queries a second that the tests send unless they say otherwise.
pub(crate) const RATE: u32 = 2_000 / GENTLER;

/// Queries a second of tests that have the machine for themselves.
pub(crate) const LOUD: u32 = 5_000 / GENTLER;

/// Tests that share the machine hold it for reading; those that measure times, or send more than a
/// busy machine can carry, for writing.
static MACHINE: RwLock<()> = RwLock::new(());

/// A hold on the machine.
pub(crate) enum Hold {
    Shared(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

impl Hold {
    /// Of a machine that others use too.
    pub(crate) fn shared() -> Self {
        // A test that failed has left the machine as any other does.
        Self::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Of a machine that no other test uses meanwhile.
    pub(crate) fn alone() -> Self {
        Self::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A lab, and an agent in it that has found every backend up.
pub(crate) struct Stage {
    pub(crate) agent: Agent,
    pub(crate) lab: Lab,
    /// Let go of last.
    _hold: Hold,
}

impl Stage {
    /// Builds the lab and starts the agent with one service over all its backends.
    pub(crate) fn set(topology: &Topology, policy: &str) -> Self {
        Self::set_on(&["eth0"], topology, policy)
    }

    /// The same, with the program on these interfaces.
    pub(crate) fn set_on(interfaces: &[&str], topology: &Topology, policy: &str) -> Self {
        Self::set_configured(topology, |backends| {
            agent::configuration(interfaces, policy, backends)
        })
    }

    /// The same, with the configuration that this makes of the backends.
    pub(crate) fn set_configured(
        topology: &Topology,
        configuration: impl FnOnce(&[&Backend]) -> String,
    ) -> Self {
        Self::build(Hold::shared(), topology, configuration)
    }

    /// The same, while no other test has a stage.
    pub(crate) fn set_alone(
        topology: &Topology,
        configuration: impl FnOnce(&[&Backend]) -> String,
    ) -> Self {
        Self::build(Hold::alone(), topology, configuration)
    }

    fn build(
        hold: Hold,
        topology: &Topology,
        configuration: impl FnOnce(&[&Backend]) -> String,
    ) -> Self {
        let binary = binary();
        let lab = Lab::start(topology).expect("a lab");
        let backends: Vec<&Backend> = lab.backends.iter().collect();
        let configuration = configuration(&backends);
        let mut agent = Agent::start(&lab.balancer, binary, &configuration).expect("an agent");
        agent
            .wait_until_all_up(START_LIMIT)
            .expect("every backend up");
        Self {
            agent,
            lab,
            _hold: hold,
        }
    }

    /// Starts a backend's server again, by its place in the lab, and waits until every backend is
    /// up.
    pub(crate) fn bring_back(&mut self, place: usize, limit: Duration) {
        let backend = &mut self.lab.backends[place];
        backend.start().expect("the server starts again");
        self.agent
            .wait_until_all_up(limit)
            .expect("the agent sees it");
    }

    /// Waits until a backend is down, and has no share of the tables: the verdict is a moment ahead
    /// of the maps.
    pub(crate) fn await_down(&mut self, backend: &str) {
        let is_out = |status: &agent::Status| {
            let mut backends = status.services.iter().flat_map(|service| &service.backends);
            let found = backends.find(|candidate| candidate.name == backend);
            found.is_some_and(|found| found.health == "down" && found.share == 0.0)
        };
        self.agent
            .wait_until("it is down", Duration::from_secs(5), is_out)
            .expect("the agent takes it out");
    }

    /// Asserts that the balancer is as if there had never been an agent.
    pub(crate) fn assert_unloaded(&self) {
        let pins = || Path::new("/sys/fs/bpf/dns-lb").exists();
        assert!(!self.lab.balancer.run(pins), "pins are left");
        assert!(
            !self.eth0().contains("prog/xdp"),
            "the program is still attached"
        );
    }

    /// What the kernel says of the balancer's first interface, as `ip` prints it.
    pub(crate) fn eth0(&self) -> String {
        let mut command = process::program("ip");
        command.args(["-details", "link", "show", "eth0"]);
        let output = self.lab.balancer.output(command).expect("ip");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The agent's binary, built from the tree as it is now: a test of yesterday's binary proves
/// nothing. It lies beside the test's own. Who runs the tests where there is no cargo, and has built it,
/// names it in `DNS_LB_BINARY`.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(built) = env::var_os("DNS_LB_BINARY") {
            return built.into();
        }
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "dns-lb"])
            .args((!cfg!(debug_assertions)).then_some("--release"))
            .status()
            .expect("cargo");
        assert!(status.success(), "dns-lb does not build");
        let own = env::current_exe().expect("the test's own path");
        let profile = own
            .ancestors()
            .nth(2)
            .expect("target/<profile>/deps/<test>");
        profile.join("dns-lb")
    })
}

/// Asserts that nothing was lost but what the lab has lost by itself, which it says.
pub(crate) fn assert_lost(lost: usize, own_losses: u64, words: impl FnOnce() -> String) {
    let own_losses = usize::try_from(own_losses).expect("a count");
    assert!(
        lost <= own_losses,
        "{lost} lost, {own_losses} of them by the lab itself; {}",
        words()
    );
    if own_losses > 0 {
        println!("the lab itself has lost {own_losses} packets");
    }
}

/// How often packets of the service ended like this on the agent's host.
pub(crate) fn ended(agent: &Agent, ending: &str) -> u64 {
    let output = agent.run(&["status", "--json"]).expect("a status");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    status["services"][0]["endings"][ending]
        .as_u64()
        .expect("a count")
}

/// A backend on each of the balancer's two segments.
pub(crate) fn two_segments() -> Topology {
    let second = Host {
        software: Some(Software::Knot),
        segment: Segment::Second,
    };
    Topology {
        backends: vec![Host::running(Software::Nsd), second],
        ..Topology::of(&[])
    }
}

/// Asserts that `dns-lb doctor` finds nothing wrong on any of them.
pub(crate) fn assert_healthy(balancers: &[Balancer]) {
    for balancer in balancers {
        let found = balancer.errors_found().expect("the doctor");
        assert!(found.is_empty(), "{}: {found:#?}", balancer.node.name());
    }
}
