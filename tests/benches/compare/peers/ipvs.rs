//! keepalived and IPVS on the balancer: Direct Routing, as by the textbook and at its best.

use std::{fs, net::Ipv4Addr};

use anyhow::Result;
use dns_lb_tests::{
    Backend, Lab, Process,
    comparison::Arrangement,
    ha::{Daemon, wait_for},
};

use super::PATIENCE;

/// The textbook's file. What `dns-lb import` is tested with is the same.
const TEXTBOOK: &str =
    include_str!("../../../../dns-lb/src/import/keepalived/fixtures/textbook.conf");

/// The best that is to be had.
const TUNED: &str = include_str!("ipvs-tuned.conf");

/// IPVS's table of the calling thread's network namespace; there is none without IPVS.
const TABLE: &str = "/proc/thread-self/net/ip_vs";

/// Whether this kernel has IPVS. That its module can be had is not enough: something has to load it.
pub(crate) fn is_there() -> bool {
    fs::exists(TABLE).unwrap_or(false)
}

/// keepalived, with whose end the kernel forgets the service.
pub(super) struct Ipvs {
    keepalived: Process,
}

impl Ipvs {
    pub(super) fn start(arrangement: Arrangement, lab: &Lab) -> Result<Self> {
        if arrangement == Arrangement::IpvsExpire {
            lab.balancer.sysctl(&["net/ipv4/vs/expire_nodest_conn=1"])?;
        }
        let file = match arrangement {
            Arrangement::IpvsTuned => TUNED,
            _ => TEXTBOOK,
        };
        let keepalived = Daemon::Keepalived(file.to_owned()).start(&lab.balancer)?;
        Ok(Self { keepalived })
    }

    /// Waits until the kernel has every server in its table.
    pub(super) fn wait_until_ready(&mut self, lab: &Lab) -> Result<()> {
        wait_for("IPVS has every server", PATIENCE, || {
            self.keepalived.fail_if_ended()?;
            let table = lab.balancer.run(|| fs::read_to_string(TABLE))?;
            Ok(lab
                .backends
                .iter()
                .all(|backend| is_served(&table, backend.address)))
        })
        .map(drop)
        .map_err(|error| error.context(self.keepalived.log()))
    }

    /// Whether the kernel would send a query to this server.
    pub(super) fn uses(&self, lab: &Lab, server: &Backend) -> Result<bool> {
        let table = lab.balancer.run(|| fs::read_to_string(TABLE))?;
        Ok(is_served(&table, server.address))
    }

    pub(super) fn log(&self) -> String {
        self.keepalived.log()
    }
}

/// Whether a server is in the table with a weight: its row is an arrow, `C0A800C9:0035`, how packets
/// are sent on, the weight, ….
fn is_served(table: &str, address: Ipv4Addr) -> bool {
    let address = format!("{:08X}:0035", address.to_bits());
    table.lines().any(|row| {
        let columns: Vec<&str> = row.split_whitespace().collect();
        columns.get(1) == Some(&address.as_str())
            && columns.get(3).is_some_and(|weight| *weight != "0")
    })
}
