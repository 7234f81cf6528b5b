//! The last step: the frame gets the addresses of its backend.

use dns_lb_common::{Backend, Egress, Ending};

use super::{Steps, Verdict};
use crate::{
    ethernet::{self, EthernetHeader},
    frame::Frame,
    ipv4::Ipv4Header,
    ipv6::Ipv6Header,
    network::Network,
};

/// Sends the frame to the backend that was chosen.
#[inline(always)]
pub(super) fn forward<M: Steps>(
    maps: &M,
    frame: &mut Frame<'_>,
    backend: &Backend,
    verdict: Verdict,
) -> Verdict {
    // Only entries of backends on the link have an interface.
    let mut ending = Ending::Transmitted;
    let is_elsewhere = backend.ifindex != maps.ingress();
    if is_elsewhere || verdict.has_local() {
        if backend.egress == Egress::Local as u8 {
            return verdict.ending_as(Ending::Delivered);
        }
        if backend.egress != Egress::Forward as u8 {
            return verdict.instead(Ending::UnknownBackend);
        }
        // Two hosts that each hold the other for the backend, and do not know each other's MAC
        // address, would pass a frame to and fro for ever.
        if verdict.has_local() && !maps.spend_hop(frame.reborrow()) {
            return verdict.instead(Ending::HopLimit);
        }
        if is_elsewhere {
            if !maps.redirect(backend.devmap_key) {
                return verdict.instead(Ending::UnknownBackend);
            }
            ending = Ending::Redirected;
        }
    }
    // It was long enough for this header before; the verifier wants to see it again.
    let Some(ethernet) = frame.header_mut::<EthernetHeader>(0) else {
        return verdict.instead(Ending::UnknownBackend);
    };
    ethernet.readdress(backend);
    verdict.ending_as(ending)
}

/// Takes a hop off the packet, as a router would. False if none is left.
#[inline(always)]
#[must_use]
pub fn spend_hop(mut frame: Frame<'_>) -> bool {
    match ethernet::payload(frame.view()) {
        Some((ethernet::IPV4, at)) => frame
            .header_mut::<Ipv4Header>(at)
            .is_some_and(Network::spend_hop),
        Some((ethernet::IPV6, at)) => frame
            .header_mut::<Ipv6Header>(at)
            .is_some_and(Network::spend_hop),
        _ => false,
    }
}
