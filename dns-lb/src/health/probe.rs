//! One probe: a DNS query over UDP, and the judgement of what comes back.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    ProtoError,
    op::{Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use crate::config::HealthCheck;

/// Octets of the largest reply that is read whole. Queries carry no EDNS, so 512 octets are all
/// that a server may send (RFC 1035, 4.2.1); a longer reply than this is read as malformed.
const REPLY_OCTETS: usize = 4096;

/// What is to be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose reports these will be.
    pub backend: super::BackendKey,
    /// Its own address.
    pub address: IpAddr,
    /// The service's port.
    pub port: u16,
    /// The service's addresses.
    pub vips: Vec<IpAddr>,
    /// Whether it is on this host.
    pub local: bool,
}

/// How a backend is reached now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Where it is.
    pub link: Option<LinkReach>,
    /// Why it is not found.
    pub unresolved: Option<String>,
    /// Whether the kernel has asked for it in vain.
    pub lost: bool,
    /// A fault of this host.
    pub own_fault: Option<String>,
}

impl Reach {
    /// Whether the kernel has asked for it in vain.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }
}

/// Where a backend is on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReach {
    /// Interface.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// The backend's.
    pub mac: crate::mac::MacAddress,
    /// The interface's.
    pub source_mac: crate::mac::MacAddress,
    /// Addresses of this host there.
    pub sources: Vec<IpAddr>,
}

/// What a probe does beside its purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// See.
    pub diagnose: bool,
    /// See.
    pub check_return: bool,
    /// See.
    pub require_return: bool,
    /// See.
    pub ask_identity: bool,
}

/// Stub.
#[derive(Clone, Debug, Default)]
pub struct Prober;

impl Prober {
    /// Stub.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
    /// Stub.
    pub async fn probe(
        &self,
        target: &Target,
        check: &HealthCheck,
        reach: &Reach,
        _extra: Extra,
    ) -> Outcome {
        if let Some(fault) = &reach.own_fault {
            return Outcome::OwnFault {
                operation: Operation::Send,
                error: io::Error::other(fault.clone()),
            };
        }
        probe((target.address, target.port).into(), check).await
    }
    /// Stub.
    pub fn forget(&self, _backend: &super::BackendKey) {}
}

/// How a probe ended.
#[derive(Debug)]
pub enum Outcome {
    /// Stub.
    NotOnLink {
        /// Why.
        reason: String,
    },
    /// The server replied to the question.
    Answered {
        /// Its response code.
        code: ResponseCode,
        /// Whether the check accepts that code.
        accepted: bool,
        /// From query to reply.
        rtt: Duration,
    },
    /// The reply has the right id and question, but does not parse further on.
    Malformed {
        /// From query to reply.
        rtt: Duration,
    },
    /// The server's host says that nobody listens on the port (ICMP port unreachable).
    PortRefused {
        /// From query to refusal.
        rtt: Duration,
    },
    /// Nothing that counts came in time.
    TimedOut {
        /// What did come, the last of it.
        ignored: Option<Ignored>,
    },
    /// The query could not be made or sent, or the reply not be received: a fault on this side, of
    /// which the backend is innocent.
    OwnFault {
        /// What could not be done.
        operation: Operation,
        /// Why.
        error: io::Error,
    },
}

/// What a probe does on this side of the network.
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

impl Outcome {
    /// Stub.
    #[must_use]
    pub fn not_on_link(reach: &Reach) -> Self {
        Self::NotOnLink {
            reason: reach.unresolved.clone().unwrap_or_default(),
        }
    }
    /// Stub.
    #[must_use]
    pub fn suggests_diagnosis(&self) -> bool {
        false
    }
    /// Stub.
    #[must_use]
    pub fn return_path(&self) -> Option<bool> {
        None
    }
    /// Stub.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        None
    }
    /// Stub.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        "stub"
    }
    /// Whether the backend passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self, Self::Answered { accepted: true, .. })
    }

    /// Whether the fault is on this side, so that the outcome says nothing about the backend.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        matches!(self, Self::OwnFault { .. })
    }

    /// From query to the reply or refusal, if there was one.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        match self {
            Self::Answered { rtt, .. } | Self::Malformed { rtt } | Self::PortRefused { rtt } => {
                Some(*rtt)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { code, accepted, .. } => {
                write_mnemonic(f, *code)?;
                f.write_str(if *accepted { "" } else { " not accepted" })
            }
            Self::NotOnLink { reason } => f.write_str(reason),
            Self::Malformed { .. } => f.write_str("garbage reply"),
            Self::PortRefused { .. } => f.write_str("port refused"),
            Self::TimedOut { ignored: None } => f.write_str("timeout"),
            Self::TimedOut {
                ignored: Some(ignored),
            } => write!(f, "timeout, ignored {ignored}"),
            Self::OwnFault { operation, error } => write!(f, "cannot {operation}: {error}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encode => "encode the query",
            Self::OpenSocket => "open a socket",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Receive => "receive",
        })
    }
}

/// A response code by its name in the IANA registry of DNS parameters.
fn write_mnemonic(f: &mut fmt::Formatter<'_>, code: ResponseCode) -> fmt::Result {
    const MNEMONICS: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
        "NXRRSET", "NOTAUTH", "NOTZONE",
    ];
    let code = u16::from(code);
    match MNEMONICS.get(usize::from(code)) {
        Some(mnemonic) => f.write_str(mnemonic),
        None => write!(f, "RCODE{code}"),
    }
}

/// Asks `server` the check's question once, and waits at most the check's `timeout` for a reply.
///
/// The socket is fresh: the kernel gives it a random port, and the id is random too, so that an
/// off-path forger has to guess both. It is connected, so that the kernel delivers only what comes
/// from the server's address and port, and reports an ICMP port unreachable as `ECONNREFUSED`.
/// Datagrams that are no reply to the question (see [`judge_reply`]) are ignored: a forger can fail
/// a backend no more than he can pass it.
pub async fn probe(server: SocketAddr, check: &HealthCheck) -> Outcome {
    match exchange(server, check).await {
        Ok(outcome) => outcome,
        Err((operation, error)) => Outcome::OwnFault { operation, error },
    }
}

async fn exchange(
    server: SocketAddr,
    check: &HealthCheck,
) -> Result<Outcome, (Operation, io::Error)> {
    let expected = Expected::new(rand::random(), check);
    let query = expected
        .query()
        .map_err(|error| (Operation::Encode, io::Error::other(error)))?;
    let socket = UdpSocket::bind((any_address(server), 0))
        .await
        .map_err(|error| (Operation::OpenSocket, error))?;
    socket
        .connect(server)
        .await
        .map_err(|error| (Operation::Connect, error))?;

    let sent_at = Instant::now();
    let deadline = sent_at + check.timeout;
    socket
        .send(&query)
        .await
        .map_err(|error| (Operation::Send, error))?;

    let mut buffer = [0; REPLY_OCTETS];
    let mut ignored = None;
    loop {
        let received = match timeout_at(deadline, socket.recv(&mut buffer)).await {
            Err(_) => return Ok(Outcome::TimedOut { ignored }),
            Ok(received) => received,
        };
        let rtt = sent_at.elapsed();
        let length = match received {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Ok(Outcome::PortRefused { rtt });
            }
            Err(error) => return Err((Operation::Receive, error)),
        };
        match judge_reply(&buffer[..length], &expected) {
            Ok(Reply::Answer(code)) => {
                let accepted = check.questions[0].accepts(code);
                return Ok(Outcome::Answered {
                    code,
                    accepted,
                    rtt,
                });
            }
            Ok(Reply::Malformed) => return Ok(Outcome::Malformed { rtt }),
            Err(why) => ignored = Some(why),
        }
    }
}

/// The unspecified address of the server's family.
fn any_address(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// What makes a datagram the reply to a query: the id and the question, in class IN.
#[derive(Clone, Debug)]
pub struct Expected {
    id: u16,
    name: Name,
    record_type: RecordType,
}

/// What a reply that counts says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A whole message, or one that the server marked as cut short (TC).
    Answer(ResponseCode),
    /// Does not parse after the question.
    Malformed,
}

/// Why a datagram is not the reply to our query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Too short for a header, or the question does not parse.
    Garbage,
    /// Another id.
    WrongId,
    /// A query, or another kind of message (QR, OPCODE).
    NotAReply,
    /// No question, several, or another one than ours.
    WrongQuestion,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Garbage => "garbage",
            Self::WrongId => "a reply with another id",
            Self::NotAReply => "a message that is no reply to a query",
            Self::WrongQuestion => "a reply to another question",
        })
    }
}

impl Expected {
    /// The reply to this check's question asked under this id.
    #[must_use]
    pub fn new(id: u16, check: &HealthCheck) -> Self {
        let question = &check.questions[0];
        Self {
            id,
            name: question.name.draw(),
            record_type: question.record_type,
        }
    }

    /// The query's octets (RFC 1035, 4.1): recursion desired, no EDNS.
    ///
    /// # Errors
    /// None for a name that was itself parsed from text or wire.
    pub fn query(&self) -> Result<Vec<u8>, ProtoError> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        message.to_vec()
    }

    fn asks(&self, question: &Query) -> bool {
        // Names compare without regard to case (RFC 4343).
        question.name() == &self.name
            && question.query_type() == self.record_type
            && question.query_class() == DNSClass::IN
    }
}

/// Whether a datagram is the reply to our query, and what it says.
///
/// Octets up to the question decide whether it counts at all: QR set, OPCODE query, our id, our
/// question and no other. Where they agree the server itself is speaking, and what follows is its
/// own affair: if it says TC, the cut-off rest is not looked at; else a rest that does not parse is
/// malformed. Takes any octets.
///
/// # Errors
/// Why the datagram is to be ignored.
pub fn judge_reply(datagram: &[u8], expected: &Expected) -> Result<Reply, Ignored> {
    let mut decoder = BinDecoder::new(datagram);
    let Header {
        metadata, counts, ..
    } = Header::read(&mut decoder).map_err(|_| Ignored::Garbage)?;
    if metadata.id != expected.id {
        return Err(Ignored::WrongId);
    }
    if metadata.message_type != MessageType::Response || metadata.op_code != OpCode::Query {
        return Err(Ignored::NotAReply);
    }
    if counts.queries != 1 {
        return Err(Ignored::WrongQuestion);
    }
    let question = Query::read(&mut decoder).map_err(|_| Ignored::Garbage)?;
    if !expected.asks(&question) {
        return Err(Ignored::WrongQuestion);
    }

    if metadata.truncation {
        return Ok(Reply::Answer(metadata.response_code));
    }
    Ok(match Message::from_vec(datagram) {
        Ok(message) => Reply::Answer(message.metadata.response_code),
        Err(_) => Reply::Malformed,
    })
}

#[cfg(test)]
mod tests;
