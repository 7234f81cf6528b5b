//! dns-lb beside what people run today, in one lab and one run: a part a call, whose record it prints.
//! `cargo xtask compare` runs it, on this kernel and in an emulated machine.

mod batches;
mod cost;
mod failover;
mod mail;
mod options;
mod peers;
mod queue;
mod runs;

use std::env;

use anyhow::{Result, bail};
use dns_lb_tests::relay;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("failover") => failover::run(&arguments[1..]),
        Some("mail") => mail::run(&arguments[1..]),
        // A process of its own, since a resolver's state is a process's.
        Some("mail-relay") => relay::run_child(),
        Some("cost") => cost::run(&arguments[1..]),
        _ => bail!("usage: compare mail|failover|cost [OPTION]…"),
    }
}
