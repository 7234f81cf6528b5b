//! A probe through the VIP that is under way.

use std::net::IpAddr;

use dns_lb::{health::link::Way, mac::MacAddress};

pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The port that it is sent from.
pub(crate) const PORT: u16 = 40_000;
/// `example.net. A` under id 0.
pub(crate) const QUERY: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x07example\x03net\0\0\x01\0\x01";
/// Octets of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

pub(crate) fn way(is_ipv6: bool) -> Way {
    let (source, vip): (IpAddr, IpAddr) = if is_ipv6 {
        (
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53].into(),
        )
    } else {
        ([192, 0, 2, 1].into(), [192, 0, 2, 53].into())
    };
    Way {
        ifindex: 1,
        source_mac: MacAddress(OWN_MAC),
        destination_mac: MacAddress(BACKEND_MAC),
        source,
        vip: (vip, 53).into(),
    }
}

/// As packets have it.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
