//! Every way that a packet can end, and what the kernel is told then.

/// What the XDP program returns to the kernel (`enum xdp_action` in `linux/bpf.h`).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `XDP_DROP`
    Drop = 1,
    /// `XDP_PASS`: on to the host's own stack.
    Pass = 2,
    /// `XDP_TX`: out of the interface that it came in by.
    Transmit = 3,
    /// `XDP_REDIRECT`: out of another interface.
    Redirect = 4,
}

/// Declares the endings once: the enum, the list, and the counters with a field for each.
macro_rules! endings {
    ($($(#[doc = $doc:literal])+ $variant:ident => $field:ident: $action:ident,)+) => {
        /// A way that a packet can end. Each has a counter of the same name.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Ending {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Ending {
            /// All endings, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// What the kernel is told.
            #[inline(always)]
            #[must_use]
            pub const fn action(self) -> Action {
                match self {
                    $(Self::$variant => Action::$action,)+
                }
            }

            /// The ending with this number.
            #[must_use]
            pub const fn from_wire(octet: u8) -> Option<Self> {
                $(if octet == Self::$variant as u8 {
                    return Some(Self::$variant);
                })+
                None
            }

            /// What it means, in a sentence or two.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii_start(),)+
                }
            }

            /// The name of its counter.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)+
                }
            }
        }

        /// Packets by the way they ended, one field for each [`Ending`] in its order.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct EndingCounters {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }
        crate::layout!(EndingCounters, size = 8 * Ending::ALL.len(), align = 8);

        impl EndingCounters {
            /// Packets that ended this way.
            #[must_use]
            pub const fn get(&self, ending: Ending) -> u64 {
                match ending {
                    $(Ending::$variant => self.$field,)+
                }
            }

            /// The counter of packets that end this way.
            #[must_use]
            pub const fn get_mut(&mut self, ending: Ending) -> &mut u64 {
                match ending {
                    $(Ending::$variant => &mut self.$field,)+
                }
            }
        }
    };
}

endings! {
    /// Steered, and sent back out of the ingress interface.
    Transmitted => transmitted: Transmit,
    /// Steered, and sent out of another interface.
    Redirected => redirected: Redirect,
    /// Steered to the backend on this host: passed to its stack.
    Delivered => delivered: Pass,
    /// Passed: another balancer has steered it here already.
    AlreadySteered => already_steered: Pass,
    /// Passed: neither IPv4 nor IPv6, or too short to tell for whom.
    NotIp => not_ip: Pass,
    /// Passed: no service has this address, port and protocol.
    NotService => not_service: Pass,
    /// Passed: ICMP to a VIP that is not an error about a packet of a service; the host answers.
    Icmp => icmp: Pass,
    /// Passed: no usable backend, and the service says `pass`, or `fail-open` with no backend on the
    /// link.
    NoBackendPassed => no_backend_passed: Pass,
    /// Dropped: no usable backend, and the service says `drop`.
    NoBackendDropped => no_backend_dropped: Drop,
    /// Dropped: for a VIP, but the IPv4 or IPv6 header contradicts itself or the frame.
    MalformedIp => malformed_ip: Drop,
    /// Dropped: for a VIP, but the UDP header is cut short or its length is impossible.
    MalformedUdp => malformed_udp: Drop,
    /// Dropped: for a VIP, but the TCP header is cut short or its length is impossible.
    MalformedTcp => malformed_tcp: Drop,
    /// Dropped: an ICMP error to a VIP, but the packet that it quotes is cut short.
    MalformedIcmp => malformed_icmp: Drop,
    /// Dropped: for a service, but from the VIP itself, a multicast or the broadcast address. An
    /// answer would go astray.
    BadSource => bad_source: Drop,
    /// Dropped: for a VIP, with more IPv6 extension headers than are looked at (RFC 8504, 5.3).
    ExtensionHeaders => extension_headers: Drop,
    /// Dropped: no hops left, on a host that is balancer and backend at once. Balancers that do not
    /// know each other pass packets in a circle.
    HopLimit => hop_limit: Drop,
    /// Passed: the headers lie beyond the frame's first buffer.
    NotLinear => not_linear: Pass,
    /// Dropped: the steering table names a backend that does not exist, which the agent never writes,
    /// or one behind an interface that has just gone. The program logs it.
    UnknownBackend => unknown_backend: Drop,
}
