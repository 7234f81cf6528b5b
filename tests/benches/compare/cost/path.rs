//! A packet's way from the driver to the driver, on one core.
//!
//! The kernel's live frames (`BPF_PROG_TEST_RUN`) play the driver of the balancer's `eth0`: `fresh` makes a
//! query of another flow out of each and hands it to a program, as a driver would. For native XDP this is the
//! balancer's own, the one that the agent has pinned. For all others it passes everything, so that the
//! kernel makes `sk_buff`s and gives them to its stack with `eth0` as where they came from; generic XDP, the
//! rules of nftables and IPVS find them there. What they send leaves by `eth0` and is swallowed and counted
//! at the router's end: a figure of frames that got lost would be none.
//!
//! What is taken away is what making a frame and swallowing it costs: the same frames that `sink` ends at
//! the driver. So the making of an `sk_buff` is part of the cost of those who need one, and so is the sending,
//! of everyone. A veth has two ways to send, though, which cost what no network card's would. XDP's frames go
//! to a program at the other end, without which they are dropped. Others go there only if there is a
//! program, and are made XDP frames of first; so here there is none for them, and a rule of nftables ends
//! them as soon as the other end has them. Beside each figure is the least of its place: `echo`, which
//! sends every frame straight back, from the driver to a program or from the stack to a rule. A figure above
//! that has neither the veth in it nor the making of `sk_buff`s. Nor has it the page that these frames lose
//! to an `sk_buff` before Linux 6.4, where a network card's driver keeps its own.

use anyhow::{Context as _, Result, bail};
use aya::programs::{Xdp, xdp::XdpMode};
use dns_lb_tests::{Lab, Node, comparison::CostRow};
use nix::net::if_::if_nametoindex;

use super::{
    balancer::{Balancer, BalancerHost, End, Handling, Hosts},
    frames::Frames,
};

/// How often frames are made anew, if some of them were lost.
const TRIES: usize = 3;

/// How much is measured.
pub(super) struct Extent {
    rounds: usize,
    /// Frames that are made for each figure.
    frames: u32,
}

impl Extent {
    pub(super) const fn of(brief: bool) -> Self {
        let (rounds, frames) = if brief { (3, 20_000) } else { (25, 200_000) };
        Self { rounds, frames }
    }
}

/// The least that forwarding costs.
pub(super) struct Floors {
    router: Node,
    /// Ends frames at the driver.
    sink: Xdp,
    /// Sends frames back.
    echo: Xdp,
    /// Gives frames to the stack.
    pass: Xdp,
    driver: (BalancerHost, End),
    stack: (BalancerHost, End),
    /// Sends frames back from the stack.
    _generic: Xdp,
}

impl Floors {
    /// Takes two hosts.
    pub(super) fn set_up(lab: &Lab, frames: &Frames, hosts: &mut Hosts) -> Result<Self> {
        let router = lab.router.clone();
        let mut host = || hosts.next().context("a host for each");
        let (driver, stack) = (host()?, host()?);
        let driver_end = End::program(&router, &driver.port, frames)?;
        let stack_end = End::rule(&router, &stack.port)?;
        let mut generic = frames.program("echo")?;
        let generic = stack.node.run(move || {
            generic.attach_to_if_index(if_nametoindex("eth0")?, XdpMode::Skb)?;
            anyhow::Ok(generic)
        })?;
        Ok(Self {
            router,
            sink: frames.program("sink")?,
            echo: frames.program("echo")?,
            pass: frames.program("pass")?,
            driver: (driver, driver_end),
            stack: (stack, stack_end),
            _generic: generic,
        })
    }
}

/// Adds the figures of each balancer, in order, to its row.
pub(super) fn measure(
    floors: &mut Floors,
    balancers: &mut [Balancer],
    frames: &mut Frames,
    extent: &Extent,
    rows: &mut [CostRow],
) -> Result<()> {
    // Their probes would be in the way, and late. The program steers on by its tables.
    for agent in balancers.iter().filter_map(|it| it.agent.as_ref()) {
        agent.freeze()?;
    }
    let Floors {
        router,
        sink,
        echo,
        pass,
        driver,
        stack,
        ..
    } = floors;
    for round in 0..=extent.rounds {
        eprintln!("path: round {round} of {}", extent.rounds);
        let mut cost = |program: &Xdp, (host, end): (&BalancerHost, &End)| {
            cost(router, frames, host, end, program, extent.frames)
        };
        let made = cost(sink, (&driver.0, &driver.1))?;
        let driver_floor = cost(echo, (&driver.0, &driver.1))? - made;
        let stack_floor = cost(pass, (&stack.0, &stack.1))? - made;
        for (balancer, row) in balancers.iter().zip(&mut *rows) {
            let (program, floor) = match &balancer.handling {
                Handling::Driver(program) => (&**program, driver_floor),
                Handling::Stack => (&*pass, stack_floor),
                Handling::Process => continue,
            };
            let all = cost(program, (&balancer.host, &balancer.end))
                .with_context(|| balancer.forwarder.to_string())?;
            // The first round warms up, and makes IPVS's connections.
            if round > 0 {
                row.path_ns.push(all - made);
                row.path_floor_ns.push(floor);
                row.path_packets_per_second.push(1e9 / all);
            }
        }
    }
    for agent in balancers.iter_mut().filter_map(|it| it.agent.as_mut()) {
        agent.thaw()?;
    }
    Ok(())
}

/// Nanoseconds a frame, all of which are swallowed at the end.
fn cost(
    router: &Node,
    frames: &mut Frames,
    host: &BalancerHost,
    end: &End,
    program: &Xdp,
    count: u32,
) -> Result<f64> {
    let mut swallowed = 0;
    for _ in 0..TRIES {
        let before = end.swallowed(router, &host.port, frames)?;
        let took = frames.make(&host.node, program, count)?;
        swallowed = end.swallowed(router, &host.port, frames)? - before;
        if swallowed * 1_000 >= u64::from(count) * 999 {
            return Ok(took.as_secs_f64() * 1e9 / f64::from(count));
        }
        eprintln!("again: of {count} frames {swallowed} came through");
    }
    bail!("of {count} frames {swallowed} came through")
}
