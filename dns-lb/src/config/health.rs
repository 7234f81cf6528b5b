//! `[service.health]`: what is asked of a backend, what counts as an answer, and when.

mod read;

use std::{collections::BTreeSet, fmt, net::IpAddr, time::Duration};

use hickory_proto::{
    ProtoError,
    op::ResponseCode,
    rr::{Name, RecordType},
};

pub(crate) use self::read::MAX_QUESTIONS;
pub(super) use self::read::read;
use super::Choice;

/// `[service.health]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a probe asks; one to eight.
    pub questions: Vec<Question>,
    /// How many of them must be answered as wanted, 1 to all.
    pub questions_to_pass: usize,
    /// By what a probe asks.
    pub transport: Transport,
    /// Where a probe is sent.
    pub path: ProbePath,
    /// How a server is asked who it is, for the status.
    pub identity: Option<IdentityQuery>,
    /// Whether it is looked, through the VIP, if answers go to clients and not back to the MAC address
    /// that a query came from. For that a query now and then has a MAC address that nobody has.
    pub check_return: bool,
    /// Between probes of a backend whose state is settled; 10 ms to 1 h.
    pub interval: Duration,
    /// Between probes while a verdict is pending; 10 ms to `interval`.
    pub fast_interval: Duration,
    /// Between probes of a backend that is settled down; 10 ms to 1 h.
    pub down_interval: Duration,
    /// How long a reply may take; 1 ms to 1 min.
    pub timeout: Duration,
    /// Failures in a row that take a backend down, 1 to 100.
    pub fall: u32,
    /// Passes in a row that bring it up, 1 to 100.
    pub rise: u32,
    /// A backend that goes down again within this time of coming up is flapping, and has to pass
    /// more often before it comes up; 0 to 1 h, 0 for never.
    pub flap_window: Duration,
}

/// One query of a probe, class IN, and what counts as an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name that is asked for.
    pub name: NameTemplate,
    /// Type that is asked for.
    pub record_type: RecordType,
    /// RD (RFC 1035, 4.1.1).
    pub recursion_desired: bool,
    /// Octets of UDP payload that an OPT record offers (RFC 6891, 6.2.3), 512 to 4,096; `None`: no
    /// EDNS.
    pub edns_size: Option<u16>,
    /// Response codes that pass; at least one.
    pub accept_rcodes: BTreeSet<u16>,
    /// Records that the answer section must have at least, 0 to 100.
    pub min_answers: u16,
    /// A value that must be among the answers of the type that is asked for, as [`comparable`] has
    /// it.
    pub expect: Option<String>,
    /// Whether AA must be set (RFC 1035, 4.1.1).
    pub require_aa: bool,
    /// How far the serial in the answer, an SOA record, may be behind the highest of the service's
    /// backends (RFC 1982).
    pub max_serial_lag: Option<u32>,
}

impl Question {
    /// Whether an answer with this code passes.
    #[must_use]
    pub fn accepts(&self, code: ResponseCode) -> bool {
        self.accept_rcodes.contains(&u16::from(code))
    }
}

/// By what a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, a connection for each query (RFC 7766).
    Tcp,
    /// Both, and both must pass.
    Both,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a probe is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePath {
    /// To each VIP, in a frame to the backend's MAC address, as clients' packets come.
    Vip,
    /// To the backend's own address.
    Real,
    /// Both, and both must pass.
    Both,
}

/// How a server is asked who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityQuery {
    /// By the NSID option of each query (RFC 5001).
    Nsid,
    /// By a query for `id.server. CH TXT` (RFC 4892) of its own.
    Chaos,
}

impl Choice for Transport {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("udp", Self::Udp), ("tcp", Self::Tcp), ("both", Self::Both)];
}

impl Choice for ProbePath {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("vip", Self::Vip),
        ("real", Self::Real),
        ("both", Self::Both),
    ];
}

impl Choice for Option<IdentityQuery> {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("none", None),
        ("nsid", Some(IdentityQuery::Nsid)),
        ("chaos", Some(IdentityQuery::Chaos)),
    ];
}

/// A name, of which `%r` may be a part: each query has a random string there, so that no cache
/// answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameTemplate {
    /// The same each time; absolute.
    Fixed(Name),
    /// As it stands in the file, with `%r`.
    Random(String),
}

/// What stands for a random string.
const RANDOM: &str = "%r";

impl NameTemplate {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it, also when a random string is in it.
    pub(super) fn parse(text: &str) -> Result<Self, ProtoError> {
        if !text.contains(RANDOM) {
            return Ok(Self::Fixed(absolute(text)?));
        }
        absolute(&filled(text))?;
        Ok(Self::Random(text.to_owned()))
    }

    /// The name for one query, absolute.
    #[must_use]
    pub fn draw(&self) -> Name {
        match self {
            Self::Fixed(name) => name.clone(),
            Self::Random(text) => absolute(&filled(text))
                .expect("it is as long as the one that was tried first, of the same characters"),
        }
    }
}

fn absolute(text: &str) -> Result<Name, ProtoError> {
    let mut name = Name::from_ascii(text)?;
    name.set_fqdn(true);
    Ok(name)
}

/// The text with 64 random bits, so that no two queries have the same, in the place of each `%r`.
fn filled(text: &str) -> String {
    text.replace(RANDOM, &format!("{:016x}", rand::random::<u64>()))
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(name) => write!(f, "{name}"),
            Self::Random(text) => f.write_str(text),
        }
    }
}

/// The form in which a record's data are compared with what is expected: presentation format in
/// lower case, addresses in their shortest notation, no quotes, no dot at the end, and single
/// blanks.
#[must_use]
pub fn comparable(text: &str) -> String {
    if let Ok(address) = text.trim().parse::<IpAddr>() {
        return address.to_string();
    }
    let unquoted = text.to_ascii_lowercase().replace('"', "");
    let words = unquoted
        .split_ascii_whitespace()
        .map(|word| word.strip_suffix('.').unwrap_or(word));
    words.collect::<Vec<_>>().join(" ")
}
