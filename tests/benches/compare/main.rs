//! dns-lb beside what people run today, in one lab and one run: a part a call, whose record it prints.
//! `cargo xtask compare` runs it, on this kernel and in an emulated machine.

mod cost;

use std::env;

use anyhow::{Result, bail};
use dns_lb_tests::relay;

fn main() -> Result<()> {
    match env::args().nth(1).as_deref() {
        // A process of its own, since a resolver's state is a process's.
        Some("mail-relay") => relay::run_child(),
        Some("cost") => cost::run(&env::args().skip(2).collect::<Vec<_>>()),
        _ => bail!("usage: compare mail|failover|cost [--quick] [--only NAME,…]"),
    }
}
