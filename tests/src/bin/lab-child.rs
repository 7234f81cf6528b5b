//! Processes that the lab's own tests need beside themselves.

use std::{env, thread, time::Duration};

use anyhow::{Result, bail};
use dns_lb_tests::{Lab, Software, Topology, relay};

fn main() -> Result<()> {
    match env::args().nth(1).as_deref() {
        Some("mail-relay") => relay::run_child(),
        Some("hold-lab") => hold_lab(),
        _ => bail!("usage: lab-child mail-relay | hold-lab"),
    }
}

/// Builds a lab with one server frozen, says so, and waits for its end.
fn hold_lab() -> Result<()> {
    let lab = Lab::start(&Topology::of(&[
        Software::Nsd,
        Software::Knot,
        Software::Unbound,
    ]))?;
    lab.backends[0].freeze()?;
    println!("up");
    thread::sleep(Duration::from_secs(120));
    bail!("nobody ended this process")
}
