//! On which ways a backend is asked: what the check wants, and what the kernel's state allows.

use std::net::IpAddr;

use super::{
    LinkReach, Reach, Target,
    exchange::Way,
    outcome::{Ending, OwnFault, Unasked},
};
use crate::config::ProbePath;

/// The ways to ask a backend on; at least one. Also the first VIP that has no way of its own.
pub(super) fn ways<'a>(
    target: &Target,
    path: ProbePath,
    reach: &'a Reach,
    trusts_stand_in: bool,
) -> Result<(Vec<Way<'a>>, Option<Unasked>), Ending> {
    if let Some(why) = &reach.own_fault
        && !target.local
    {
        return Err(OwnFault::Host(why.as_str().into()).into());
    }
    let mut ways = Vec::with_capacity(1);
    let mut unasked = None;
    let vips = match path {
        ProbePath::Vip | ProbePath::Both => &target.vips[..],
        ProbePath::Real => &[],
    };
    for &vip in vips {
        if target.local {
            ways.push(Way::Own { vip });
            continue;
        }
        let link = reach.link.as_ref().ok_or_else(|| match &reach.unresolved {
            Some(why) => Ending::NotFound {
                why: why.as_str().into(),
            },
            None => OwnFault::NotLocated.into(),
        })?;
        match source(link, vip) {
            Some(source) => ways.push(Way::Link { link, source, vip }),
            None if unasked.is_some() => {}
            None => {
                unasked = Some(Unasked {
                    vip,
                    interface: link.interface.as_str().into(),
                });
            }
        }
    }
    let address = target.address;
    match (&unasked, &reach.link) {
        _ if path != ProbePath::Vip => ways.push(Way::Real { address }),
        // It has answered there in the VIP's place: now silence says something.
        (Some(_), Some(_)) if trusts_stand_in => ways.push(Way::Real { address }),
        (Some(Unasked { vip, .. }), Some(link)) => ways.push(Way::StandIn {
            address,
            vip: *vip,
            interface: &link.interface,
        }),
        _ if ways.is_empty() => ways.push(Way::Real { address }),
        _ => {}
    }
    Ok((ways, unasked))
}

/// The address to ask a VIP from: of its family, and if it can be, of its scope.
pub(super) fn source(link: &LinkReach, vip: IpAddr) -> Option<IpAddr> {
    let family = link
        .sources
        .iter()
        .filter(|source| source.is_ipv4() == vip.is_ipv4());
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    family
        .min_by_key(|source| is_link_local(source) != is_link_local(&vip))
        .copied()
}
