//! What the program remembers: TCP connections and the fragments of a datagram. UDP has no state.

use crate::layout;

/// A key of `tcp_flows` and `tcp_pending`: one TCP connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Address of the client, network byte order, IPv4-mapped for IPv4.
    pub client: [u8; 16],
    /// Address of the service, likewise.
    pub vip: [u8; 16],
    /// Port of the client, host byte order.
    pub client_port: u16,
    /// Port of the service, host byte order.
    pub service_port: u16,
}
layout!(FlowKey, size = 36, align = 2);

/// A key of `fragments`: one datagram that comes in fragments (RFC 791, 3.2; RFC 8200, 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Sender, network byte order, IPv4-mapped for IPv4.
    pub source: [u8; 16],
    /// Receiver, likewise.
    pub destination: [u8; 16],
    /// Identification: 16 bits in IPv4, 32 in IPv6. Host byte order.
    pub identification: u32,
    /// In IPv4, for each of whose protocols senders number their datagrams by itself, the protocol's
    /// number; in IPv6 0: there only the first fragment is sure to tell it.
    pub protocol: u32,
}
layout!(FragmentKey, size = 40, align = 4);

/// A value of the three maps: whose it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Id of the backend.
    pub backend: u16,
    /// The service, by id.
    pub service: u16,
    /// [`Backend::incarnation`](crate::Backend) at the time. If the backend's is another now, this
    /// entry says nothing.
    pub incarnation: u32,
}
layout!(Pinned, size = 8, align = 4);
