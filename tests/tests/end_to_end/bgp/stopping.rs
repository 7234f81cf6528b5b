//! What becomes of announced VIPs when the agent is told to end.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    agent::{self, PATIENCE},
    ha::{printed, wait_for},
    lab::VIP,
    node::Stdout,
};
use nix::sys::signal::Signal;

use super::announced::{ON_VIPS, await_vips, small, vips};
use crate::stage::Stage;

/// Longer than a test waits.
const LONG: &str = "withdraw_first = true\nsettle = \"60s\"\n";

/// The agent at work, with the VIP announced.
fn announcing(settings: &str) -> Stage {
    let stage = Stage::set_configured(&small(), |backends| {
        agent::configuration(&["eth0"], "hash", backends) + ON_VIPS + settings
    });
    let node = &stage.lab.balancer;
    node.ip("link add vips type bridge\nlink set vips up")
        .expect("ip");
    await_vips(&stage, "vips", &[&VIP.to_string()]);
    stage
}

#[test]
fn who_is_told_to_stop_goes_on_while_routers_learn_it_and_at_once_when_told_again() {
    let mut stage = announcing(LONG);
    stage.agent.signal(Signal::SIGTERM).expect("it runs");
    await_vips(&stage, "vips", &[]);
    // It still steers, and takes dead servers out.
    stage.lab.backends[0].kill().expect("it runs");
    stage.await_down("dns1");
    let told = Instant::now();
    let status = stage.agent.terminate().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(told.elapsed() < Duration::from_secs(30));
    assert!(stage.eth0().contains("prog/xdp"));
}

#[test]
fn without_withdraw_first_vips_stay_but_not_once_nobody_steers() {
    let settings = "withdraw_first = false\nsettle = \"0s\"\n";
    let mut stage = announcing(settings);
    let vip = VIP.to_string();
    stage.agent.terminate().expect("it ends");
    let node = stage.lab.balancer.clone();
    assert_eq!(vips(&node, "vips"), BTreeSet::from([vip]));

    let mut command = stage.agent.command();
    command.args(["run", "--detach-on-exit"]);
    let process = node.spawn("dns-lb", command, Stdout::Log).expect("a start");
    stage
        .agent
        .wait_until_all_up(PATIENCE)
        .expect("every backend up");
    let log = process.log();
    let status = process.terminate(PATIENCE).expect("it ends");
    assert!(status.success(), "{status}: {log}");
    assert_eq!(vips(&node, "vips"), BTreeSet::new());
    stage.assert_unloaded();
}

/// So many that the kernel takes a while, and no time for routers.
#[test]
fn a_thousand_vips_are_taken_back_before_the_agent_ends() {
    let mut stage = Stage::set_configured(&small(), |backends| {
        let mut text =
            agent::configuration(&["eth0"], "hash", backends) + ON_VIPS + "settle = \"0s\"\n";
        for service in 0..62 {
            let vips: Vec<String> = (1..=16)
                .map(|number| format!("\"198.18.{service}.{number}\""))
                .collect();
            let _ = write!(
                text,
                "\n[[service]]\nname = \"s{service}\"\nvips = [{}]\nprotocols = [\"udp\"]\n\
                 [service.health]\npath = \"real\"\n\
                 [[service.backend]]\nname = \"dns2\"\naddress = \"{}\"\n",
                vips.join(", "),
                backends[1].address
            );
        }
        text
    });
    let node = stage.lab.balancer.clone();
    node.ip("link add vips type bridge\nlink set vips up")
        .expect("ip");
    let list = ["-oneline", "-4", "address", "show", "dev", "vips"];
    let told = || printed(&node, "ip", &list).expect("ip").lines().count();
    wait_for("all are announced", PATIENCE, || Ok(told() == 993)).expect("the agent does it");
    let status = stage.agent.terminate().expect("it ends");
    assert!(status.success(), "{status}");
    assert_eq!(told(), 0);
}
