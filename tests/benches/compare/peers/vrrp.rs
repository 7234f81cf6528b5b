//! Two servers of which one has the VIP: VRRP by keepalived on both, and beside it a loop that asks its
//! own server with `dig` and stops keepalived when no answer comes.

use std::time::Duration;

use anyhow::Result;
use dns_lb_tests::{
    Backend, Lab, Process,
    ha::{Daemon, printed, wait_for},
    lab::VIP,
    node::Stdout,
    process,
};
use rand::random_range;

use super::PATIENCE;

/// How long between two questions to a server.
const PERIOD: Duration = Duration::from_secs(5);

/// The loop: how long it waits at first, how long between two questions, and whom it asks. As the
/// textbook's check does, it is content with any answer.
const LOOP: &str = r#"
sleep "$1"
while dig +time=1 +tries=3 "@$3" localhost.localnet > /dev/null; do sleep "$2"; done
echo "no answer from $3: keepalived is stopped"
kill "$(cat /run/keepalived.pid)"
"#;

/// The daemons of both servers: the first has the VIP while all is well.
pub(super) struct Vrrp {
    keepalived: Vec<Process>,
    loops: Vec<Process>,
}

impl Vrrp {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        // Nobody has it but by VRRP. On the servers' loopback it is not to be seen from outside.
        lab.balancer.ip(&format!("addr del {VIP}/32 dev lo"))?;
        let mut all = Self {
            keepalived: Vec::new(),
            loops: Vec::new(),
        };
        for (place, backend) in lab.backends.iter().enumerate() {
            let daemon = Daemon::Keepalived(configuration(place));
            all.keepalived.push(daemon.start(&backend.node)?);
            all.loops.push(start_loop(backend)?);
        }
        Ok(all)
    }

    /// Waits until the first server has the VIP, and no other.
    pub(super) fn wait_until_ready(&mut self, lab: &Lab) -> Result<()> {
        wait_for("the first server alone has the VIP", PATIENCE, || {
            let daemons = self.keepalived.iter_mut().chain(&mut self.loops);
            daemons.into_iter().try_for_each(Process::fail_if_ended)?;
            let mut are_right = true;
            for (place, backend) in lab.backends.iter().enumerate() {
                are_right &= has_vip(backend)? == (place == 0);
            }
            Ok(are_right)
        })
        .map(drop)
        .map_err(|error| error.context(self.log()))
    }

    /// Whether a server has the VIP.
    pub(super) fn uses(&self, server: &Backend) -> Result<bool> {
        has_vip(server)
    }

    pub(super) fn log(&self) -> String {
        let all = self.keepalived.iter().chain(&self.loops);
        all.map(Process::log).collect()
    }
}

fn start_loop(backend: &Backend) -> Result<Process> {
    let mut command = process::program("sh");
    // From any moment of the period on, or every death would be as long before the next question.
    let first = PERIOD.mul_f64(random_range(0.0..1.0));
    command
        .args(["-c", LOOP, "dig loop"])
        .args([first, PERIOD].map(|time| time.as_secs_f64().to_string()))
        .arg(backend.address.to_string());
    backend.node.spawn("dig loop", command, Stdout::Log)
}

/// keepalived's file on a server, the first of which is the master.
fn configuration(place: usize) -> String {
    let (state, priority) = match place {
        0 => ("MASTER", 200),
        _ => ("BACKUP", 100),
    };
    format!(
        "vrrp_instance DNS {{
            state {state}
            interface eth0
            virtual_router_id 53
            priority {priority}
            advert_int 1
            virtual_ipaddress {{
                {VIP}
            }}
        }}"
    )
}

fn has_vip(backend: &Backend) -> Result<bool> {
    let addresses = ["-oneline", "address", "show", "dev", "eth0"];
    let text = printed(&backend.node, "ip", &addresses)?;
    Ok(text.contains(&format!(" {VIP}/32 ")))
}
