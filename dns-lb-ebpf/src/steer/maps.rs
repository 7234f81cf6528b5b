//! What the choice asks of the maps.

use dns_lb_common::{
    Action, Backend, Control, DerivedKey, FlowKey, FragmentKey, Pinned, SteeringTable, VipSlot,
};

use super::{
    Kind, Payload, Verdict, by_policy,
    forward::spend_hop,
    name::{Query, choose_bounded, read_long_query, read_query, take_turn, take_turns},
    stateful::{Segment, choose_connection},
    steer_unusual,
    unusual::{Packet, datagram, fragment, is_from_peer, transport},
};
use crate::{
    dns,
    frame::{Frame, View},
    ipv4, ipv6,
    network::{Contents, Network},
};

/// The maps, as the program sees them, and what else only the kernel knows of a frame. A look-up is
/// a few inlined instructions, but for those of what is remembered.
pub trait Maps: Sized {
    /// The entry of `control`.
    fn control(&self) -> Option<&Control>;
    /// An entry of `vips`.
    fn vip(&self, index: u32) -> Option<&VipSlot>;
    /// An entry of `tables`.
    fn table(&self, index: u32) -> Option<&SteeringTable>;
    /// An entry of `backends`.
    fn backend(&self, index: u32) -> Option<&Backend>;
    /// The cursor of a service on this CPU; the next call gets the number after it.
    fn advance_cursor(&self, service: u16) -> u64;
    /// Gives a backend, by id, one more query by name in this window of this CPU, if that leaves it
    /// at its limit or below.
    fn has_turn(&self, backend: u16, window: u64, limit: u32) -> bool;
    /// What is remembered of an established connection; all zero if nothing, which no service has.
    fn established(&self, key: &FlowKey) -> Pinned;
    /// Remembers an established connection.
    fn establish(&self, key: &FlowKey, pinned: Pinned);
    /// What is remembered of a connection of which one packet has been seen, likewise.
    fn pending(&self, key: &FlowKey) -> Pinned;
    /// Remembers a connection of which one packet has been seen.
    fn await_more(&self, key: &FlowKey, pinned: Pinned);
    /// What is remembered of a datagram in fragments, likewise.
    fn fragments(&self, key: &FragmentKey) -> Pinned;
    /// Remembers a datagram in fragments.
    fn collect(&self, key: &FragmentKey, pinned: Pinned);
    /// Octets of the frame in all of its buffers.
    fn frame_length(&self) -> usize;
    /// Index of the interface that the frame came in by.
    fn ingress(&self) -> u32;
    /// Whether the frame is only to be explained: then nothing is counted and nothing remembered.
    fn explains(&self) -> bool;
    /// Counts a packet of a service, which a backend has, by its kind.
    fn count_kind(&self, service: u16, kind: Kind);
    /// Counts a frame, of which the first buffer has this many octets.
    fn count(&self, verdict: Verdict, first_buffer: usize);
    /// Says what becomes of the frame that is to be explained.
    fn explain(&self, verdict: Verdict);
    /// Asks the kernel to send the frame out of another interface; false if the devmap has none.
    fn redirect(&self, devmap_key: u16) -> bool;
}

/// The steps of the choice that the program has as functions of their own, with what they do as
/// their bodies here. The verifier goes through such a function once, for all that it may be called
/// with (global functions, `Documentation/bpf/verifier.rst`); inlined, each of its many ways through
/// would be followed to the end of the program.
pub trait Steps: Maps {
    /// Decides for a frame that is not plain: [`steer_unusual`].
    fn unusual(&self, frame: &mut Frame<'_>) -> Action {
        steer_unusual(self, frame)
    }
    /// Chooses for the datagram at `at`: [`datagram`].
    fn datagram<N: Network>(&self, frame: View<'_>, at: usize) -> Verdict {
        datagram::<N, Self>(self, frame, at)
    }
    /// Chooses for what a datagram carries: [`transport`].
    fn transport(&self, frame: View<'_>, packet: &mut Packet, address: &VipSlot) -> Verdict {
        transport(self, frame, packet, address)
    }
    /// Looks behind an IPv4 header: [`ipv4::behind_options`].
    fn behind_options(&self, frame: View<'_>, at: usize) -> Contents {
        ipv4::behind_options(frame, at)
    }
    /// Looks behind extension headers: [`ipv6::behind_extensions`].
    fn behind_extensions(&self, frame: View<'_>, at: usize, protocol: u8) -> Contents {
        ipv6::behind_extensions(self, frame, at, protocol)
    }
    /// Looks behind one: [`ipv6::behind_extension`].
    fn behind_extension(&self, frame: View<'_>, contents: Contents) -> Contents {
        ipv6::behind_extension(frame, contents)
    }
    /// Chooses for a UDP datagram by any policy: [`by_policy`].
    fn by_policy(&self, frame: View<'_>, slot: &VipSlot, payload: Payload, sum: u64) -> Verdict {
        by_policy(self, frame, slot, payload, sum)
    }
    /// Reads a query with a short name: [`read_query`].
    fn query(&self, key: &DerivedKey, frame: View<'_>, payload: Payload, counts: bool) -> Query {
        read_query(key, frame, payload, counts)
    }
    /// Goes on with the name of the query at `at`: [`dns::labels`].
    fn labels(&self, frame: View<'_>, at: usize, length: usize) -> usize {
        dns::labels(frame.skip(at), length)
    }
    /// Reads a query with a long name: [`read_long_query`].
    fn long_query(
        &self,
        key: &DerivedKey,
        frame: View<'_>,
        payload: Payload,
        counts: bool,
    ) -> Query {
        read_long_query(self, key, frame, payload, counts)
    }
    /// Chooses by name under a bounded load: [`choose_bounded`].
    fn bounded(&self, slot: &VipSlot, query: Query) -> Verdict {
        choose_bounded(self, slot, query)
    }
    /// Tries some of a name's backends under a bounded load: [`take_turns`].
    fn take_turns(&self, slot: &VipSlot, query: Query, window: u64, first: u64) -> Verdict {
        take_turns(self, slot, query, window, first)
    }
    /// Tries one of them: [`take_turn`].
    fn take_turn(&self, slot: &VipSlot, query: Query, window: u64, attempt: u64) -> Verdict {
        take_turn(self, slot, query, window, attempt)
    }
    /// Chooses for a TCP segment: [`choose_connection`].
    fn connection(&self, key: &FlowKey, slot: &VipSlot, segment: Segment) -> Verdict {
        choose_connection(self, key, slot, segment)
    }
    /// Chooses for a fragment: [`fragment`].
    fn fragment(&self, packet: &Packet, slot: &VipSlot, chosen: u16) -> Verdict {
        fragment(self, packet, slot, chosen)
    }
    /// Looks whether the frame comes from another balancer: [`is_from_peer`].
    fn is_from_peer(&self, frame: View<'_>, slot: &VipSlot) -> bool {
        is_from_peer(self, frame, slot)
    }
    /// Takes a hop off the packet: [`spend_hop`].
    fn spend_hop(&self, frame: Frame<'_>) -> bool {
        spend_hop(frame)
    }
}
