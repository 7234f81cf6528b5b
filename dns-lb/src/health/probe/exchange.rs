//! One query on one way, and what it says of the backend.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    LinkReach, Prober, Reach, Target,
    outcome::{Ending, Operation, OwnFault, Shortfall, Unreachable},
    question::Expected,
    reply::{self, Answer, Ignored, Reply},
    serials,
    socket::{self, SocketWay},
};
use crate::{
    config::{Protocol, Question},
    health::link,
    mac::MacAddress,
};

/// What all queries of a probe have in common.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) prober: &'a Prober,
    pub(super) target: &'a Target,
    pub(super) reach: &'a Reach,
    pub(super) deadline: Instant,
    /// How long a serial counts for others.
    pub(super) serials_count_for: Duration,
}

/// On which way a backend is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'a> {
    /// The VIP, in a frame to the backend.
    Link {
        link: &'a LinkReach,
        source: IpAddr,
        vip: IpAddr,
    },
    /// The VIP of this very host, from itself.
    Own { vip: IpAddr },
    /// The backend's own address.
    Real { address: IpAddr },
    /// The same in place of a VIP that this host has no address to ask from. That it answers is
    /// something; that it does not says nothing of the VIP.
    StandIn {
        address: IpAddr,
        vip: IpAddr,
        interface: &'a str,
    },
}

/// How a question is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) protocol: Protocol,
    /// Whether it is asked by TCP too.
    pub(super) answers_by_tcp: bool,
    /// Whether NSID is asked for with it.
    pub(super) nsid: bool,
}

/// What an answer to a question comes to.
pub(super) struct Finding {
    pub(super) ending: Ending,
    pub(super) identity: Option<Box<str>>,
}

/// A reply, and how it came.
struct Replied<T> {
    reply: T,
    rtt: Duration,
    /// `None`: the kernel has seen to it that it came from where it should.
    frame: Option<Frame>,
}

struct Frame {
    source: SocketAddr,
    source_mac: MacAddress,
    destination_mac: MacAddress,
}

impl Way<'_> {
    /// The address that is asked.
    pub(super) fn address(&self) -> IpAddr {
        match *self {
            Self::Link { vip, .. } | Self::Own { vip } => vip,
            Self::Real { address } | Self::StandIn { address, .. } => address,
        }
    }

    /// Whether it is the backend's own address that is asked.
    pub(super) fn is_real(&self) -> bool {
        matches!(self, Self::Real { .. } | Self::StandIn { .. })
    }

    fn vip(&self) -> Option<IpAddr> {
        match *self {
            Self::Link { vip, .. } | Self::Own { vip } => Some(vip),
            Self::Real { .. } | Self::StandIn { .. } => None,
        }
    }
}

impl From<Ending> for Finding {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            identity: None,
        }
    }
}

impl Asker<'_> {
    /// Asks a question, and judges what comes.
    pub(super) async fn ask(&self, way: &Way<'_>, manner: Manner, question: &Question) -> Finding {
        let expected = Expected::new(question);
        let query = match expected.query(question, manner.nsid) {
            Ok(query) => query,
            Err(error) => return unencoded(error).into(),
        };
        let judge =
            |octets: &[u8]| reply::judge(octets, &expected, question, manner.answers_by_tcp);
        let replied = match self.exchange(way, manner.protocol, &query, judge).await {
            Ok(replied) => replied,
            Err(ending) => return ending.into(),
        };
        if let Some(frame) = &replied.frame
            && let Some(ending) = self.judge_frame(way, frame, replied.rtt)
        {
            return ending.into();
        }
        let rtt = replied.rtt;
        let answer = match replied.reply {
            Reply::Malformed => return Ending::Malformed { rtt }.into(),
            Reply::Answer(answer) => answer,
        };
        let shortfall = answer.shortfall.clone();
        let ending = match shortfall.or_else(|| self.compare_serial(&answer, question)) {
            Some(shortfall) => Ending::NotAccepted {
                code: answer.code,
                shortfall,
                rtt,
            },
            None => Ending::Passed {
                code: answer.code,
                rtt,
            },
        };
        Finding {
            ending,
            identity: answer.identity,
        }
    }

    /// Asks through the VIP from a foreign MAC address, and sees where the reply goes: true, where
    /// this host's address is; false, back where the query came from; `None`, nothing is known.
    pub(super) async fn check_return(&self, way: &Way<'_>, question: &Question) -> Option<bool> {
        let &Way::Link { link, source, vip } = way else {
            return None;
        };
        let foreign = LinkReach {
            source_mac: self.prober.foreign_mac,
            sources: Vec::new(),
            ..link.clone()
        };
        let way = Way::Link {
            link: &foreign,
            source,
            vip,
        };
        let expected = Expected::new(question);
        let query = expected.query(question, false).ok()?;
        let judge = |octets: &[u8]| reply::judge(octets, &expected, question, true);
        let replied = self.exchange(&way, Protocol::Udp, &query, judge).await;
        let destination = replied.ok()?.frame?.destination_mac;
        if destination == link.source_mac {
            Some(true)
        } else if destination == foreign.source_mac {
            Some(false)
        } else {
            None
        }
    }

    /// Asks for `id.server. CH TXT`.
    pub(super) async fn ask_identity(&self, way: &Way<'_>, protocol: Protocol) -> Option<Box<str>> {
        let expected = Expected::identity();
        let query = expected.identity_query().ok()?;
        let judge = |octets: &[u8]| reply::judge_identity(octets, &expected);
        self.exchange(way, protocol, &query, judge)
            .await
            .ok()?
            .reply
    }

    /// What a reply's frame says against it.
    fn judge_frame(&self, way: &Way<'_>, frame: &Frame, rtt: Duration) -> Option<Ending> {
        let &Way::Link { link, vip, .. } = way else {
            return None;
        };
        let asked = SocketAddr::new(vip, self.target.port);
        if frame.source_mac != link.mac {
            let mut peers = self.reach.peers.iter();
            if let Some((mac, backend)) = peers.find(|(mac, _)| *mac == frame.source_mac) {
                return Some(Ending::AnsweredByAnother {
                    backend: backend.clone(),
                    mac: *mac,
                    rtt,
                });
            }
        }
        (frame.source != asked).then(|| Ending::WrongSource {
            source: frame.source,
            vip: asked,
            is_own: frame.source.ip() == self.target.address,
            rtt,
        })
    }

    /// What a serial says against an answer that is accepted otherwise.
    fn compare_serial(&self, answer: &Answer, question: &Question) -> Option<Shortfall> {
        let (serial, most) = answer.serial.zip(question.max_serial_lag)?;
        let (serials, backend) = (&self.prober.serials, &self.target.backend);
        let now = Instant::now();
        let counts_until = now + self.serials_count_for;
        let highest = serials.note(backend, &question.name, serial, now, counts_until)?;
        let lag = serials::lag(serial, highest);
        (lag > most).then_some(Shortfall::SerialBehind {
            serial,
            lag,
            highest,
        })
    }

    async fn exchange<T>(
        &self,
        way: &Way<'_>,
        protocol: Protocol,
        query: &[u8],
        judge: impl FnMut(&[u8]) -> Result<T, Ignored>,
    ) -> Result<Replied<T>, Ending> {
        let (source, server) = match *way {
            Way::Link { link, source, vip } => {
                let way = link::Way {
                    ifindex: link.ifindex,
                    source_mac: link.source_mac,
                    destination_mac: link.mac,
                    source,
                    vip: (vip, self.target.port).into(),
                };
                let (prober, deadline) = (&self.prober.link, self.deadline);
                let arrival = match protocol {
                    Protocol::Udp => prober.exchange_udp(&way, query, deadline, judge).await,
                    Protocol::Tcp => prober.exchange_tcp(&way, query, deadline, judge).await,
                };
                return match arrival {
                    Ok(arrival) => heard_on_link(arrival, vip),
                    Err(error) => Err(OwnFault::Link(error).into()),
                };
            }
            Way::Own { vip } => (Some(vip), vip),
            Way::Real { address } | Way::StandIn { address, .. } => (None, address),
        };
        let socket_way = SocketWay {
            source,
            server: (server, self.target.port).into(),
            has_route: self.reach.link.is_some() && self.reach.own_fault.is_none(),
        };
        let turn = self.prober.descriptors.wait(self.deadline).await;
        let turn = turn.ok_or(OwnFault::NoDescriptor)?;
        let arrival = match protocol {
            Protocol::Udp => socket::exchange_udp(socket_way, query, turn.deadline, judge).await,
            Protocol::Tcp => socket::exchange_tcp(socket_way, query, turn.deadline, judge).await,
        };
        match arrival {
            Ok(arrival) => heard_on_socket(arrival, way.vip()),
            Err((operation, error)) => Err(faulty(way, operation, error)),
        }
    }
}

fn heard_on_link<T>(arrival: link::Arrival<T>, vip: IpAddr) -> Result<Replied<T>, Ending> {
    Err(match arrival {
        link::Arrival::Reply {
            reply,
            source,
            source_mac,
            destination_mac,
            rtt,
        } => {
            let frame = Frame {
                source,
                source_mac,
                destination_mac,
            };
            return Ok(Replied {
                reply,
                rtt,
                frame: Some(frame),
            });
        }
        link::Arrival::Refused { rtt } => Ending::Refused { rtt },
        link::Arrival::Unreachable {
            source,
            icmp_type,
            code,
            rtt,
        } => Ending::Unreachable {
            why: Unreachable::Icmp {
                source,
                icmp_type,
                code,
            },
            rtt,
        },
        link::Arrival::Closed { ignored, rtt } => Ending::Closed { ignored, rtt },
        link::Arrival::Nothing { ignored } => Ending::TimedOut {
            vip: Some(vip),
            ignored,
        },
    })
}

fn heard_on_socket<T>(
    arrival: socket::Arrival<T>,
    vip: Option<IpAddr>,
) -> Result<Replied<T>, Ending> {
    Err(match arrival {
        socket::Arrival::Reply { reply, rtt } => {
            return Ok(Replied {
                reply,
                rtt,
                frame: None,
            });
        }
        socket::Arrival::Refused { rtt } => Ending::Refused { rtt },
        socket::Arrival::Unreachable { error, rtt } => Ending::Unreachable {
            why: Unreachable::Kernel(error),
            rtt,
        },
        socket::Arrival::Closed { ignored, rtt } => Ending::Closed { ignored, rtt },
        socket::Arrival::Nothing { ignored } => Ending::TimedOut { vip, ignored },
    })
}

/// What could not be done, and whose fault it is: who is to serve a VIP has to have it.
fn faulty(way: &Way<'_>, operation: Operation, error: io::Error) -> Ending {
    match *way {
        Way::Own { vip } if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
            Ending::VipMissing {
                vip,
                answers_on: None,
            }
        }
        _ => OwnFault::Socket { operation, error }.into(),
    }
}

fn unencoded(error: hickory_proto::ProtoError) -> Ending {
    let (operation, error) = (Operation::Encode, io::Error::other(error));
    OwnFault::Socket { operation, error }.into()
}

#[cfg(test)]
mod tests;
