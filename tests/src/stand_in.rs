//! A second server on a backend's host, which takes the place of the first from one packet to the
//! next: it waits on another port, and rules of nftables exchange the ports. They keep no state of
//! connections, so that no table of them can fill up.

use anyhow::Result;

use crate::{
    backend::Backend,
    node::{Node, Stdout},
    process::Process,
    software,
};

/// Where it waits.
const PORT: u16 = 5353;

/// The table of nftables that exchanges the ports.
const TABLE: &str = "ip stand_in";

/// What is wrong with a server that stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its zone has not been loaded: SERVFAIL, whatever it is asked.
    Unloaded,
    /// It is bound to the wildcard, and answers from the host's own address what was sent to the VIP.
    Wildcard,
}

/// The second server, as long as this is not dropped.
pub struct StandIn {
    node: Node,
    _server: Process,
}

impl StandIn {
    /// Starts it on a backend's host and waits until it answers, on its own port.
    ///
    /// # Errors
    /// NSD is not installed or does not come up, or a stand-in runs on the host already.
    pub fn start(backend: &Backend, fault: Fault) -> Result<Self> {
        let node = backend.node.clone();
        let (identity, addresses) = (backend.identity(), backend.addresses());
        let command = software::prepare_stand_in(&node, &identity, &addresses, fault, PORT)?;
        let mut server = node.spawn("stand-in", command, Stdout::Log)?;
        backend.wait_until_bound(&mut server, PORT)?;
        Ok(Self {
            node,
            _server: server,
        })
    }

    /// Has it take all that is sent to the port of DNS; or gives that back to the first server.
    ///
    /// # Errors
    /// `nft` is missing or refuses.
    pub fn take_over(&self, takes: bool) -> Result<()> {
        if !takes {
            return self.node.nft(&format!("delete table {TABLE}"));
        }
        self.node.nft(&format!(
            "table {TABLE} {{
                chain in {{
                    type filter hook prerouting priority raw
                    udp dport 53 udp dport set {PORT}
                    tcp dport 53 tcp dport set {PORT}
                }}
                chain out {{
                    type filter hook output priority raw
                    udp sport {PORT} udp sport set 53
                    tcp sport {PORT} tcp sport set 53
                }}
            }}"
        ))
    }
}
