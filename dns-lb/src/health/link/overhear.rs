//! What a frame off the link would be to a probe, without a link: the way from octets to mailbox in
//! one piece, for whoever wants to try frames on it.

use std::{
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::{
    LinkError, Way, frame,
    mailbox::{Heard, Key, Mailboxes, Message, Sent},
};

/// What a frame is to a probe that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overheard {
    /// A datagram to the probe's port that begins with its id.
    Datagram {
        /// Who sent it.
        source: SocketAddr,
        /// What is there of it.
        payload: Vec<u8>,
    },
    /// A segment from the VIP to the probe's port.
    Segment {
        /// The segment in its IP packet, and whatever is behind.
        packet: Vec<u8>,
    },
    /// An ICMP error that quotes what the probe has sent.
    Unreachable {
        /// Who says so.
        source: IpAddr,
        /// The message's type (RFC 792, RFC 4443).
        icmp_type: u8,
        /// Its code.
        code: u8,
    },
}

/// What a frame, as a packet socket delivers it, is to a probe on this way from this port; `None`: it
/// is not for the probe. The probe has sent `query` by UDP, or is by TCP if there is none. Pure; takes
/// any octets for a frame.
///
/// # Errors
/// A query that no probe can send: the addresses are of two families, or it is shorter than an id or
/// longer than a datagram.
pub fn overhear(
    way: &Way,
    port: u16,
    query: Option<&[u8]>,
    frame: &[u8],
) -> Result<Option<Overheard>, LinkError> {
    way.check()?;
    let (message, checksum) = match query {
        None => (Message::Tcp, 0),
        Some(query) => {
            let id = u16::from_be_bytes(super::id(query)?);
            (
                Message::Udp { id },
                frame::udp_query(way, port, query)?.checksum,
            )
        }
    };
    let key = Key {
        local: way.source,
        port,
        message,
    };
    let mut mailboxes = Mailboxes::default();
    mailboxes.open(
        key,
        Sent {
            vip: way.vip,
            checksum,
        },
    );
    let Some(received) = frame::read(frame) else {
        return Ok(None);
    };
    mailboxes.deliver(&received, Instant::now());
    let Poll::Ready(event) = mailboxes.poll(&key, &Context::from_waker(Waker::noop())) else {
        return Ok(None);
    };
    Ok(match event.heard {
        Heard::Datagram {
            source, payload, ..
        } => Some(Overheard::Datagram { source, payload }),
        Heard::Segment { packet, .. } => Some(Overheard::Segment { packet }),
        Heard::Icmp { source, error } => Some(Overheard::Unreachable {
            source,
            icmp_type: error.kind,
            code: error.code,
        }),
        // Of a link alone.
        Heard::Fault(_) => None,
    })
}
