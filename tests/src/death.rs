//! The ways in which a DNS server stops serving, each done to a backend's host and undone.

use std::{fmt, time::Instant};

use anyhow::Result;

use crate::{
    backend::Backend,
    lab::VIP,
    stand_in::{Fault, StandIn},
};

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its processes are killed (SIGKILL), and its port refuses.
    Killed,
    /// Its processes hang (SIGSTOP): its port takes queries, nobody answers.
    Hung,
    /// Its host's link goes down.
    LinkDown,
    /// A filter on its host drops DNS, in silence.
    Dropped,
    /// It answers SERVFAIL.
    Servfail,
    /// Its host loses the VIP.
    VipMissing,
    /// It is bound to the wildcard, and answers from the host's own address.
    WrongSource,
    /// It answers from the VIP, but to the MAC address that the query came from: the balancer's.
    WrongMac,
}

/// The table of nftables that drops.
const DROP: &str = "inet dropped";

/// The table of nftables that answers to the wrong address.
const WRONG_MAC: &str = "netdev wrong_mac";

impl Death {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Killed,
        Self::Hung,
        Self::LinkDown,
        Self::Dropped,
        Self::Servfail,
        Self::VipMissing,
        Self::WrongSource,
        Self::WrongMac,
    ];

    /// Makes ready all that takes time, so that the death itself takes none.
    ///
    /// # Errors
    /// The server that is to stand in does not come up.
    pub fn prepare(self, backend: &Backend) -> Result<Doom> {
        let fault = match self {
            Self::Servfail => Some(Fault::Unloaded),
            Self::WrongSource => Some(Fault::Wildcard),
            _ => None,
        };
        Ok(Doom {
            death: self,
            stand_in: fault
                .map(|fault| StandIn::start(backend, fault))
                .transpose()?,
        })
    }

    /// Whether what the status says of the backend, in words, names this death.
    #[must_use]
    pub fn is_named_in(self, words: &str, backend: &Backend) -> bool {
        let has = |part: &str| words.contains(part);
        match self {
            // Kernels refuse about once a second, and are silent otherwise.
            Self::Killed => has("refused") || has("timeout"),
            Self::Hung | Self::Dropped => has("timeout"),
            Self::LinkDown => has("timeout") || has("on the link") || has("answers for"),
            Self::Servfail => has("SERVFAIL"),
            Self::VipMissing => has(&format!("the VIP {VIP}")),
            Self::WrongSource => has(&format!("answered from {}", backend.address)),
            Self::WrongMac => has("MAC address"),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Hung => "hung",
            Self::LinkDown => "link down",
            Self::Dropped => "packets dropped",
            Self::Servfail => "SERVFAIL",
            Self::VipMissing => "VIP missing",
            Self::WrongSource => "wrong source",
            Self::WrongMac => "wrong MAC",
        })
    }
}

/// A death that waits for its moment.
pub struct Doom {
    death: Death,
    stand_in: Option<StandIn>,
}

impl Doom {
    /// Lets it happen. Returns the moment before which nothing had.
    ///
    /// # Errors
    /// The server does not run, or a command fails.
    pub fn strike(&self, backend: &mut Backend) -> Result<Instant> {
        let begun = Instant::now();
        match self.death {
            Death::Killed => backend.kill()?,
            Death::Hung => backend.freeze()?,
            Death::LinkDown => backend.set_link(false)?,
            Death::Dropped => backend.node.nft(&format!(
                "table {DROP} {{
                    chain input {{
                        type filter hook input priority filter
                        udp dport 53 drop
                        tcp dport 53 drop
                    }}
                }}"
            ))?,
            Death::VipMissing => backend.node.ip(&format!("addr del {VIP}/32 dev lo"))?,
            // As servers do that make their frames themselves of those of the queries (Knot's XDP
            // mode, when it asks no route). A query is told by its id too, which follows the UDP
            // header.
            Death::WrongMac => backend.node.nft(&format!(
                "table {WRONG_MAC} {{
                    map askers {{
                        typeof ip saddr . udp sport . @th,64,16 : ether saddr
                        flags dynamic, timeout
                        timeout 2s
                        size 65536
                    }}
                    chain queries {{
                        type filter hook ingress device eth0 priority filter
                        udp dport 53 \
                            update @askers {{ ip saddr . udp sport . @th,64,16 : ether saddr }}
                    }}
                    chain replies {{
                        type filter hook egress device eth0 priority filter
                        udp sport 53 \
                            ether daddr set ip daddr . udp dport . @th,64,16 map @askers
                    }}
                }}"
            ))?,
            Death::Servfail | Death::WrongSource => self.take_over(true)?,
        }
        Ok(begun)
    }

    /// Brings the server back, and waits until it serves.
    ///
    /// # Errors
    /// It does not come up, or a command fails.
    pub fn undo(&self, backend: &mut Backend) -> Result<()> {
        match self.death {
            Death::Killed => backend.start(),
            Death::Hung => backend.thaw(),
            Death::LinkDown => backend.set_link(true),
            Death::Dropped => backend.node.nft(&format!("delete table {DROP}")),
            Death::VipMissing => backend.node.ip(&format!("addr add {VIP}/32 dev lo")),
            Death::WrongMac => backend.node.nft(&format!("delete table {WRONG_MAC}")),
            Death::Servfail | Death::WrongSource => self.take_over(false),
        }
    }

    fn take_over(&self, takes: bool) -> Result<()> {
        self.stand_in
            .iter()
            .try_for_each(|stand_in| stand_in.take_over(takes))
    }
}
