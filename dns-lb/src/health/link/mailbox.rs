//! What has come for the probes that are under way, until they look.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, Waker},
};

use etherparse::IpNumber;
use tokio::time::Instant;

use super::frame::{Content, IcmpError, Link, Quotation, Received};

/// Frames that wait for a probe at most; what comes beyond is dropped, as by a full socket. A
/// connection's window holds fewer.
const CAPACITY: usize = 64;

/// What a probe is known by to what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The source address of the probe.
    pub(super) local: IpAddr,
    /// The port that it was sent from.
    pub(super) port: u16,
    pub(super) message: Message,
}

/// What more than the port a probe is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// A datagram, by its first two octets: the id of a DNS message (RFC 1035, 4.1.1).
    Udp { id: u16 },
    /// A connection, which has its port for itself.
    Tcp,
}

/// What a probe has sent, for what does not say its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) vip: SocketAddr,
    /// The checksum of the UDP header; 0 for TCP.
    pub(super) checksum: u16,
}

/// Something that came for a probe, and when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) heard: Heard,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Datagram {
        link: Link,
        source: SocketAddr,
        payload: Vec<u8>,
    },
    /// An IP packet with a segment from the VIP.
    Segment { link: Link, packet: Vec<u8> },
    /// An ICMP error that quotes what we sent.
    Icmp { source: IpAddr, error: IcmpError },
    /// Nothing will come: the number of an error of this side.
    Fault(i32),
}

#[derive(Debug)]
struct Mailbox {
    sent: Sent,
    events: VecDeque<Event>,
    waker: Option<Waker>,
}

/// One mailbox for each probe under way.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(HashMap<Key, Mailbox>);

impl Mailboxes {
    /// Opens a mailbox, unless there is one of this key.
    pub(super) fn open(&mut self, key: Key, sent: Sent) -> bool {
        match self.0.entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Mailbox {
                    sent,
                    events: VecDeque::new(),
                    waker: None,
                });
                true
            }
        }
    }

    /// Whether a mailbox of this key is open.
    pub(super) fn is_open(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Closes a mailbox, with all that is in it.
    pub(super) fn close(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Takes the oldest of what has come, or has the task woken by what comes next.
    pub(super) fn poll(&mut self, key: &Key, context: &Context<'_>) -> Poll<Event> {
        let Some(mailbox) = self.0.get_mut(key) else {
            // Only its probe closes it, and asks no more then.
            return Poll::Pending;
        };
        if let Some(event) = mailbox.events.pop_front() {
            return Poll::Ready(event);
        }
        match &mut mailbox.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Puts what was received where it belongs, if anywhere.
    pub(super) fn deliver(&mut self, received: &Received<'_>, at: Instant) {
        let &Received {
            link,
            remote,
            local,
            ref content,
        } = received;
        match *content {
            Content::Udp { ports, payload } => {
                let Some(&[high, low]) = payload.first_chunk() else {
                    return;
                };
                let id = u16::from_be_bytes([high, low]);
                let key = Key {
                    local,
                    port: ports.destination,
                    message: Message::Udp { id },
                };
                if let Some(mailbox) = self.0.get_mut(&key) {
                    mailbox.put(at, || Heard::Datagram {
                        link,
                        source: SocketAddr::new(remote, ports.source),
                        payload: payload.to_vec(),
                    });
                }
            }
            Content::Tcp { ports, packet } => {
                let key = Key {
                    local,
                    port: ports.destination,
                    message: Message::Tcp,
                };
                if let Some(mailbox) = self.0.get_mut(&key)
                    && mailbox.sent.vip == SocketAddr::new(remote, ports.source)
                {
                    mailbox.put(at, || Heard::Segment {
                        link,
                        packet: packet.to_vec(),
                    });
                }
            }
            Content::Icmp {
                error,
                ref quotation,
            } => {
                if let Some(mailbox) = self.quoted(quotation) {
                    mailbox.put(at, || Heard::Icmp {
                        source: remote,
                        error,
                    });
                }
            }
        }
    }

    /// Tells every probe that nothing will come.
    pub(super) fn fail(&mut self, errno: i32, at: Instant) {
        for mailbox in self.0.values_mut() {
            mailbox.put(at, || Heard::Fault(errno));
        }
    }

    /// The mailbox of the probe that an ICMP error quotes.
    fn quoted(&mut self, quotation: &Quotation<'_>) -> Option<&mut Mailbox> {
        let key = |message| Key {
            local: quotation.local,
            port: quotation.ports.source,
            message,
        };
        let vip = SocketAddr::new(quotation.vip, quotation.ports.destination);
        let key = match quotation.protocol {
            IpNumber::TCP => key(Message::Tcp),
            IpNumber::UDP => match quotation.dns_id() {
                Some(id) => key(Message::Udp { id }),
                // Datagrams that differ in nothing but the id differ in the checksum.
                None => {
                    let sent = Sent {
                        vip,
                        checksum: quotation.udp_checksum()?,
                    };
                    let mut of_port = self.0.iter().filter(|(key, mailbox)| {
                        key.local == quotation.local
                            && key.port == quotation.ports.source
                            && key.message != Message::Tcp
                            && mailbox.sent == sent
                    });
                    *of_port.next()?.0
                }
            },
            _ => return None,
        };
        let mailbox = self.0.get_mut(&key)?;
        (mailbox.sent.vip == vip).then_some(mailbox)
    }
}

impl Mailbox {
    fn put(&mut self, at: Instant, heard: impl FnOnce() -> Heard) {
        if self.events.len() < CAPACITY {
            self.events.push_back(Event { at, heard: heard() });
        }
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
