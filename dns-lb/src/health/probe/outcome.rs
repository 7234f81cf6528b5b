//! How a probe ended, in types.

mod display;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::op::ResponseCode;

use super::{super::link::LinkError, reply::Ignored};
use crate::mac::MacAddress;

/// How a probe ended, and what it learned beside.
#[derive(Debug)]
pub struct Outcome {
    ending: Ending,
    /// Which of several queries ended so, as text that follows the ending's.
    pub(super) query: Option<Box<str>>,
    /// A VIP that was not asked itself, for want of a source address.
    pub(super) unasked: Option<Unasked>,
    pub(super) identity: Option<Box<str>>,
    pub(super) return_path: Option<bool>,
}

/// A VIP of a family that this host has no address of on the interface. The backend's own address
/// was asked in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unasked {
    pub(super) vip: IpAddr,
    pub(super) interface: Box<str>,
}

/// How a probe ended: how all its queries did, or the one that failed first.
#[derive(Debug)]
pub enum Ending {
    /// The backend answered all as the check wants it.
    Passed {
        /// The response code of the slowest reply.
        code: ResponseCode,
        /// From query to reply, the longest.
        rtt: Duration,
    },
    /// The reply is not what the check accepts.
    NotAccepted {
        /// Its response code.
        code: ResponseCode,
        /// What it lacks.
        shortfall: Shortfall,
        /// From query to reply.
        rtt: Duration,
    },
    /// The reply has the right id and question, but does not parse further on.
    Malformed {
        /// From query to reply.
        rtt: Duration,
    },
    /// The server's host says that nobody listens on the port (ICMP port unreachable, TCP reset).
    Refused {
        /// From query to refusal.
        rtt: Duration,
    },
    /// The server took the TCP connection, and ended it before it replied.
    Closed {
        /// What came before, the last of it.
        ignored: Option<Ignored>,
        /// From query to end.
        rtt: Duration,
    },
    /// Somebody says that the query did not get there.
    Unreachable {
        /// Who or what says so.
        why: Unreachable,
        /// From query to message.
        rtt: Duration,
    },
    /// Nothing that counts came in time.
    TimedOut {
        /// The VIP that was asked; `None`: the backend's own address was.
        vip: Option<IpAddr>,
        /// What did come, the last of it.
        ignored: Option<Ignored>,
    },
    /// The VIP was asked, but another address answers. Clients do not take that for a reply.
    WrongSource {
        /// Who answered.
        source: SocketAddr,
        /// Who was asked.
        vip: SocketAddr,
        /// Whether it was the backend's own address.
        is_own: bool,
        /// From query to reply.
        rtt: Duration,
    },
    /// The server answers to the MAC address that a query's frame came from. Where the balancer
    /// steers, that is the balancer's, and the client gets no reply.
    WrongMac {
        /// From query to reply.
        rtt: Duration,
    },
    /// The reply came in a frame from another backend of the service.
    AnsweredByAnother {
        /// Name of that backend.
        backend: Arc<str>,
        /// The frame's source.
        mac: MacAddress,
        /// From query to reply.
        rtt: Duration,
    },
    /// The backend does not answer on the VIP.
    VipMissing {
        /// The VIP.
        vip: IpAddr,
        /// The backend's own address, which does answer; `None`: the backend is this host, and the
        /// VIP is none of its addresses.
        answers_on: Option<IpAddr>,
    },
    /// The backend's MAC address could not be found out.
    NotFound {
        /// Why.
        why: Box<str>,
    },
    /// Something on this side, of which the backend is innocent.
    OwnFault(OwnFault),
}

/// What a reply lacks to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// Its response code is none of the accepted.
    Code,
    /// AA is not set.
    NotAuthoritative,
    /// It is cut short (TC), and its answers count.
    Truncated,
    /// The answer section is too short.
    TooFewAnswers {
        /// Records in it.
        answers: u16,
        /// Records that there should be at least.
        wanted: u16,
    },
    /// The value that is expected is not among the answers.
    ValueMissing,
    /// There is no SOA record, of which the serial is to be compared.
    SerialMissing,
    /// The SOA record is older than that of another backend, by more than the check allows.
    SerialBehind {
        /// The serial.
        serial: u32,
        /// By how many it is behind.
        lag: u32,
        /// The highest of the other backends.
        highest: u32,
    },
}

/// Who says that a query did not get there.
#[derive(Debug)]
pub enum Unreachable {
    /// The kernel, on its own account or by an ICMP message.
    Kernel(io::Error),
    /// A host, by an ICMP message.
    Icmp {
        /// That host.
        source: IpAddr,
        /// The message's type (RFC 792, RFC 4443).
        icmp_type: u8,
        /// Its code.
        code: u8,
    },
}

/// A fault on this side: the outcome says nothing about the backend.
#[derive(Debug)]
pub enum OwnFault {
    /// This host's link, route or address is gone.
    Host(Box<str>),
    /// This host has no address of a VIP's family on the interface to ask it from, and the backend's
    /// own address, which was asked in its place, does not answer as it should.
    NoSource {
        /// The VIP.
        vip: IpAddr,
        /// The interface's name.
        interface: Box<str>,
    },
    /// The backend's MAC address is not known yet.
    NotLocated,
    /// The interface has no carrier.
    NoCarrier {
        /// Its name.
        interface: Box<str>,
    },
    /// All files that probes may have open are in use, and none was closed in time.
    NoDescriptor,
    /// The query could not be made or sent, or the reply not be received.
    Socket {
        /// What could not be done.
        operation: Operation,
        /// Why.
        error: io::Error,
    },
    /// The same, through the VIP.
    Link(LinkError),
}

/// What a probe does on this side of the network with the kernel's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writing the query's octets.
    Encode,
    /// Making the socket and giving it a port.
    OpenSocket,
    /// Naming the server as its peer, for which there must be a route.
    Connect,
    /// Sending the query.
    Send,
    /// Waiting for the reply.
    Receive,
}

impl From<Ending> for Outcome {
    /// An outcome that says no more.
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            query: None,
            unasked: None,
            identity: None,
            return_path: None,
        }
    }
}

impl From<OwnFault> for Ending {
    fn from(fault: OwnFault) -> Self {
        Self::OwnFault(fault)
    }
}

impl Outcome {
    /// How the probe ended.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Whether the backend passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self.ending, Ending::Passed { .. })
    }

    /// Whether the fault is on this side, so that the outcome says nothing about the backend.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        matches!(self.ending, Ending::OwnFault(_))
    }

    /// From query to the reply or refusal that decided, if there was one.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.ending.rtt()
    }

    /// What the server calls itself, if it was asked and said so: printable ASCII, at most 255
    /// characters.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Whether the server sends its replies to the client's MAC address, as it must, or to the one
    /// that the query came from; `None`: that was not asked, or nothing came.
    #[must_use]
    pub fn return_path(&self) -> Option<bool> {
        self.return_path
    }

    /// The same outcome of a probe that looked where replies go.
    #[cfg(test)]
    pub(crate) fn returning(self, return_path: Option<bool>) -> Self {
        Self {
            return_path,
            ..self
        }
    }

    /// Whether the backend's own address was asked in the place of a VIP.
    #[must_use]
    pub fn stood_in(&self) -> bool {
        self.unasked.is_some()
    }

    /// Whether the next probe should find out if the backend answers on its own address.
    #[must_use]
    pub fn suggests_diagnosis(&self) -> bool {
        matches!(
            self.ending,
            Ending::TimedOut { vip: Some(_), .. }
                | Ending::VipMissing {
                    answers_on: Some(_),
                    ..
                }
        )
    }

    /// The ending in one word, for machines: it stays the same from version to version.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match &self.ending {
            Ending::Passed { .. } => "passed",
            Ending::NotAccepted { shortfall, .. } => match shortfall {
                Shortfall::Code => "rcode",
                Shortfall::NotAuthoritative => "not_authoritative",
                Shortfall::Truncated => "truncated",
                Shortfall::TooFewAnswers { .. } => "too_few_answers",
                Shortfall::ValueMissing => "value_missing",
                Shortfall::SerialMissing => "serial_missing",
                Shortfall::SerialBehind { .. } => "serial_behind",
            },
            Ending::Malformed { .. } => "malformed",
            Ending::Refused { .. } => "refused",
            Ending::Closed { .. } => "closed",
            Ending::Unreachable { .. } => "unreachable",
            Ending::TimedOut { .. } => "timeout",
            Ending::WrongSource { .. } => "wrong_source",
            Ending::WrongMac { .. } => "wrong_mac",
            Ending::AnsweredByAnother { .. } => "answered_by_another",
            Ending::VipMissing { .. } => "vip_missing",
            Ending::NotFound { .. } => "not_found",
            Ending::OwnFault(_) => "own_fault",
        }
    }
}

impl Ending {
    pub(super) fn rtt(&self) -> Option<Duration> {
        match self {
            Self::Passed { rtt, .. }
            | Self::NotAccepted { rtt, .. }
            | Self::Malformed { rtt }
            | Self::Refused { rtt }
            | Self::Closed { rtt, .. }
            | Self::Unreachable { rtt, .. }
            | Self::WrongSource { rtt, .. }
            | Self::WrongMac { rtt }
            | Self::AnsweredByAnother { rtt, .. } => Some(*rtt),
            Self::TimedOut { .. }
            | Self::VipMissing { .. }
            | Self::NotFound { .. }
            | Self::OwnFault(_) => None,
        }
    }
}
