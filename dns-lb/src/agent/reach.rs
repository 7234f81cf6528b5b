//! How probes reach a backend, from what the kernel says of this host. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::knowledge::BackendState;
use crate::{
    health::{LinkReach, Reach},
    mac::MacAddress,
    neighbor::{Neighbors, Unresolved},
};

/// MAC addresses and names of a service's backends.
pub(super) type Peers = Arc<[(MacAddress, Arc<str>)]>;

/// Where the backends of a service are.
pub(super) fn peers<'s>(states: impl IntoIterator<Item = &'s BackendState>) -> Peers {
    let located = states.into_iter().filter_map(|state| {
        let location = state.location?;
        Some((location.mac, Arc::clone(&state.key.backend)))
    });
    located.collect()
}

/// How a backend is reached now. `vips`: the addresses that clients are given, which no probe may
/// come from; `peers`: who of its service is where.
pub(super) fn reach(
    state: &BackendState,
    neighbors: &Neighbors,
    vips: &BTreeSet<IpAddr>,
    peers: &Peers,
) -> Reach {
    let link = state.location.and_then(|location| {
        let link = neighbors.links.get(&location.ifindex)?;
        Some(LinkReach {
            interface: link.name.clone(),
            ifindex: location.ifindex,
            mac: location.mac,
            source_mac: location.source_mac,
            sources: sources(state.address, location.ifindex, neighbors, vips),
        })
    });
    Reach {
        link,
        unresolved: state
            .unresolved
            .as_ref()
            .filter(|unresolved| !matches!(unresolved, Unresolved::Resolving { .. }))
            .map(ToString::to_string),
        is_lost: state.is_lost,
        own_fault: state.own_fault(),
        peers: Arc::clone(peers),
    }
}

/// This host's addresses on an interface that a server on its link can answer to, those first whose
/// network the server is in.
pub(crate) fn sources(
    server: IpAddr,
    ifindex: u32,
    neighbors: &Neighbors,
    vips: &BTreeSet<IpAddr>,
) -> Vec<IpAddr> {
    let on_link = neighbors.addresses.get(&ifindex).into_iter().flatten();
    let mut sources: Vec<(bool, IpAddr)> = on_link
        .filter(|(address, _)| !vips.contains(address) && !is_link_local(address))
        .map(|(&address, &prefix_length)| (!shares_prefix(address, server, prefix_length), address))
        .collect();
    sources.sort_unstable();
    sources.into_iter().map(|(_, address)| address).collect()
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn shares_prefix(one: IpAddr, other: IpAddr, length: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let differing = (Ipv4Addr::to_bits(one) ^ Ipv4Addr::to_bits(other)).leading_zeros();
            differing >= u32::from(length)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let differing = (Ipv6Addr::to_bits(one) ^ Ipv6Addr::to_bits(other)).leading_zeros();
            differing >= u32::from(length)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn probes_come_from_the_servers_network_and_never_from_a_vip() {
        let own = [
            ("10.0.0.1", 24),
            ("10.0.1.1", 24),
            ("10.0.1.200", 32),
            ("169.254.1.1", 16),
            ("2001:db8::1", 64),
            ("fe80::1", 64),
        ];
        let neighbors = Neighbors {
            addresses: [(7, own.map(|(text, length)| (address(text), length)).into())].into(),
            ..Neighbors::default()
        };
        let vips = [address("10.0.1.200")].into();
        let found = |server| sources(address(server), 7, &neighbors, &vips);
        let texts = ["10.0.1.1", "10.0.0.1", "2001:db8::1"].map(address);
        assert_eq!(found("10.0.1.7"), texts);
        let texts = ["2001:db8::1", "10.0.0.1", "10.0.1.1"].map(address);
        assert_eq!(found("2001:db8::7"), texts);
        assert!(sources(address("10.0.1.7"), 8, &neighbors, &vips).is_empty());
    }

    #[test]
    fn a_prefix_is_as_long_as_it_says() {
        for (one, other, length, shared) in [
            ("10.0.0.1", "10.0.0.254", 24, true),
            ("10.0.0.1", "10.0.1.1", 24, false),
            ("10.0.0.1", "10.0.1.1", 0, true),
            ("10.0.0.1", "10.0.0.1", 32, true),
            ("2001:db8::1", "2001:db8::ffff", 64, true),
            ("2001:db8::1", "2001:db8:0:1::1", 64, false),
            ("10.0.0.1", "2001:db8::1", 0, false),
        ] {
            let found = shares_prefix(address(one), address(other), length);
            assert_eq!(found, shared, "{one} {other} {length}");
        }
    }
}
