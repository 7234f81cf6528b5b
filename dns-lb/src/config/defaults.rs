//! The values of settings that the file leaves out. They stand here and nowhere else; a test holds
//! `examples/dns-lb.toml` against them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{OnNoBackend, Policy, ProbePath, Protocol, XdpMode};

/// `--config`
pub const CONFIG_FILE: &str = "/etc/dns-lb/dns-lb.toml";

pub(super) const XDP_MODE: XdpMode = XdpMode::Auto;
pub(super) const HASH_KEY_FILE: &str = "/etc/dns-lb/hash.key";
pub(super) const API_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8053);

pub(super) const ADMIN_SOCKET: &str = "/run/dns-lb/admin.sock";
/// The owner and one group.
pub(super) const ADMIN_MODE: u32 = 0o660;
pub(super) const STATE_FILE: &str = "/var/lib/dns-lb/state.json";

/// Longer than it takes to find out that a server is silent.
pub(super) const HOLD: Duration = Duration::from_secs(1);
pub(super) const WITHDRAW_FIRST: bool = true;
/// BGP takes well below a second from router to router.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// Some 10 MiB.
pub(super) const TCP_FLOWS: u32 = 65_536;

pub(super) const PORT: u16 = 53;
/// DNS is both (RFC 7766, section 5).
pub(super) const PROTOCOLS: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];
pub(super) const POLICY: Policy = Policy::Hash;
pub(super) const COUNT_QUERIES: bool = false;
pub(super) const ON_NO_BACKEND: OnNoBackend = OnNoBackend::FailOpen;
/// All: as long as one backend is up, it is better than any that is down.
pub(super) const MAX_EJECTED: u32 = 100;
pub(super) const QUORUM: u32 = 1;
pub(super) const SLOW_START: Duration = Duration::ZERO;

/// A name that resolvers answer on their own, and authoritative servers too, if with an error. It
/// tells a server that works from one that does not, on whatever it serves.
pub(crate) const QUERY: &str = "localhost.localnet. A";
pub(super) const RECURSION_DESIRED: bool = true;
pub(super) const EDNS_SIZE: u16 = 0;
pub(super) const MIN_ANSWERS: u16 = 0;
pub(super) const REQUIRE_AA: bool = false;
pub(super) const PATH: ProbePath = ProbePath::Vip;
pub(super) const CHECK_RETURN: bool = true;
pub(super) const ACCEPT_RCODES: [&str; 2] = ["NOERROR", "NXDOMAIN"];
pub(super) const INTERVAL: Duration = Duration::from_millis(250);
/// Or `interval`, where that is shorter.
pub(super) const FAST_INTERVAL: Duration = Duration::from_millis(50);
pub(super) const TIMEOUT: Duration = Duration::from_millis(250);
pub(super) const FALL: u32 = 2;
pub(super) const RISE: u32 = 3;
pub(super) const FLAP_WINDOW: Duration = Duration::from_secs(60);

pub(super) const WEIGHT: u16 = 1;
pub(super) const LOCAL: bool = false;

/// How long a silent backend keeps its queries at most, at these defaults: the first probe after its
/// death is sent after [`INTERVAL`], and each of [`FALL`] ends in silence.
pub(crate) fn detection() -> Duration {
    INTERVAL + TIMEOUT.max(FAST_INTERVAL) * FALL
}
