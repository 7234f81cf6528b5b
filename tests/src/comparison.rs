//! What dns-lb is compared with, and the records of a comparison: the benchmark `compare` writes them,
//! `cargo xtask compare` keeps them and draws from them.
//!
//! A record has what was measured, sample by sample, and nothing that can be made of it: medians, spread
//! and ratios are for who draws.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How clients come to a server that answers, and what happens when one dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// Two `nameserver` lines in `/etc/resolv.conf`, the stub resolver's defaults.
    NameserverLines,
    /// The same with `options timeout:1 attempts:1`, as short as it takes.
    NameserverLinesTuned,
    /// Two servers with keepalived's VRRP and a loop around `dig` that stops keepalived.
    VrrpScript,
    /// keepalived and IPVS, by the textbook's file.
    IpvsTextbook,
    /// The same file, and `net.ipv4.vs.expire_nodest_conn=1`.
    IpvsExpire,
    /// keepalived and IPVS at its best: `DNS_CHECK` as often as dns-lb probes when it is tuned, each of which
    /// may take a server out, and one-packet scheduling.
    IpvsTuned,
    /// dnsdist with its defaults.
    Dnsdist,
    /// dnsdist with checks as fast as it has them.
    DnsdistTuned,
    /// dns-lb with its defaults.
    DnsLb,
    /// dns-lb with probes twenty times a second, each of which may take a server out.
    DnsLbTuned,
}

impl Arrangement {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NameserverLines,
        Self::NameserverLinesTuned,
        Self::VrrpScript,
        Self::IpvsTextbook,
        Self::IpvsExpire,
        Self::IpvsTuned,
        Self::Dnsdist,
        Self::DnsdistTuned,
        Self::DnsLb,
        Self::DnsLbTuned,
    ];
}

impl fmt::Display for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameserverLines => "nameserver lines",
            Self::NameserverLinesTuned => "nameserver lines, timeout:1",
            Self::VrrpScript => "VRRP and a loop around dig",
            Self::IpvsTextbook => "keepalived + IPVS, textbook",
            Self::IpvsExpire => "keepalived + IPVS, textbook, expire_nodest_conn",
            Self::IpvsTuned => "keepalived + IPVS, DNS_CHECK and ops",
            Self::Dnsdist => "dnsdist, defaults",
            Self::DnsdistTuned => "dnsdist, tuned",
            Self::DnsLb => "dns-lb, defaults",
            Self::DnsLbTuned => "dns-lb, tuned",
        })
    }
}

/// What takes a packet from a client to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarder {
    /// Nothing: the client asks a server itself.
    Nothing,
    /// dns-lb's program where a driver runs it.
    DnsLbNative,
    /// dns-lb's program where the kernel's stack runs it.
    DnsLbGeneric,
    /// Rules of nftables at ingress that rewrite the MAC address and send on: no health, no weights.
    Nftables,
    /// IPVS, direct routing, round-robin.
    IpvsRoundRobin,
    /// IPVS, direct routing, Maglev hashing.
    IpvsMaglev,
    /// IPVS, direct routing, round-robin, each packet by itself.
    IpvsOnePacket,
    /// dnsdist, which answers clients itself.
    Dnsdist,
}

impl fmt::Display for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no balancer",
            Self::DnsLbNative => "dns-lb, native XDP",
            Self::DnsLbGeneric => "dns-lb, generic XDP",
            Self::Nftables => "nftables, fwd",
            Self::IpvsRoundRobin => "IPVS, rr",
            Self::IpvsMaglev => "IPVS, mh",
            Self::IpvsOnePacket => "IPVS, rr, ops",
            Self::Dnsdist => "dnsdist",
        })
    }
}

/// All of a part of the comparison that was measured in one run at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part<Row> {
    /// Processor and kernel, a line each.
    pub machine: Vec<String>,
    /// Whether it was as short as can be.
    pub quick: bool,
    /// What was not measured.
    pub skipped: Vec<Skipped>,
    /// What was.
    pub rows: Vec<Row>,
}

/// Something that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why not, and what to do about it.
    pub why: String,
}

/// Mails an hour that the textbook's relay has to send: one every 3.6 s.
pub const MAILS_NEEDED_PER_HOUR: f64 = 1_000.0;

/// A mail relay by one arrangement, one server of which dies in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailRow {
    /// How it asks.
    pub arrangement: Arrangement,
    /// How the server dies: `killed` (the port refuses) or `blackholed` (silence).
    pub death: String,
    /// One each time.
    pub runs: Vec<MailRun>,
}

/// A death and a return as a mail relay sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailRun {
    /// Until the death.
    pub before: MailPhase,
    /// From the death to when the server is brought back.
    pub during: MailPhase,
    /// From then on.
    pub after: MailPhase,
    /// How long a step of `timeline` is, in milliseconds.
    pub step_ms: u64,
    /// Mails that left, step by step from the start of `before` to the end of `after`.
    pub timeline: Vec<u32>,
}

/// How mail went in some time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailPhase {
    /// How long.
    pub seconds: f64,
    /// Mails that left.
    pub mails: usize,
    /// Mails put off, since a look-up failed.
    pub deferred: usize,
    /// The longest look-up, in milliseconds.
    pub longest_lookup_ms: f64,
}

impl MailPhase {
    /// Mails that would leave in an hour of this: to be held against [`MAILS_NEEDED_PER_HOUR`].
    #[must_use]
    pub fn mails_per_hour(&self) -> f64 {
        self.mails as f64 * 3_600.0 / self.seconds
    }
}

/// One arrangement, one server of which dies in one way under one kind of load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailoverRow {
    /// How clients ask.
    pub arrangement: Arrangement,
    /// How the server dies: `killed`, `hung` or `blackholed`.
    pub death: String,
    /// Whether all queries have one source port; otherwise each has its own.
    pub fixed_port: bool,
    /// Queries a second.
    pub rate: u32,
    /// One each time.
    pub runs: Vec<FailoverRun>,
}

/// A death under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailoverRun {
    /// Queries lost of those sent from just before the death on: one may be on its way when it happens.
    pub lost: usize,
    /// From the death to when the last query was sent that was lost, in milliseconds; 0 if none was.
    pub until_last_loss_ms: f64,
    /// Whether queries were still lost at the end: the two figures above are then the least that they
    /// would have been.
    pub still_losing: bool,
    /// Queries lost of those sent before the death: the lab's own, or the arrangement's.
    pub lost_before: usize,
    /// How long a step of `timeline` is, in milliseconds.
    pub step_ms: u64,
    /// Parts of the queries that were answered, step by step from `step_ms` × 10 before the death.
    pub timeline: Vec<f64>,
}

/// What a way of forwarding costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostRow {
    /// What forwards.
    pub forwarder: Forwarder,
    /// Nanoseconds a packet from the driver to the driver, the packets' own making not among them, one a
    /// round; empty where the forwarder cannot be measured so.
    pub path_ns: Vec<f64>,
    /// Of these, what the least costs that could forward at that place, one a round: a program that sends
    /// every packet straight back from the driver, or from where the kernel has made an `sk_buff` of it.
    #[serde(default)]
    pub path_floor_ns: Vec<f64>,
    /// Packets a second that one core forwards so, their making and their end among its work, one a round.
    pub path_packets_per_second: Vec<f64>,
    /// Queries a second that clients, forwarder and servers manage together in the lab, one a round.
    pub queries_per_second: Vec<f64>,
    /// CPU time of the whole lab a query, in nanoseconds, one a round.
    pub lab_ns: Vec<f64>,
}
