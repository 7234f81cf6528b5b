//! A frame off the link, while a probe through the VIP is under way. The first octet says by which
//! address family and protocol, and of a reply what [`super::reply`] is told; the rest is the frame.

use dns_lb::health::link::{Overheard, overhear};

use super::{
    reply,
    through_vip::{ETHERNET, PORT, QUERY, octets as in_octets, way},
};

/// Of the first octet.
const IPV6: u8 = 0x80;
const TCP: u8 = 0x40;

/// Asserts what must hold; true: the frame is for the probe.
pub(crate) fn holds(octets: &[u8]) -> bool {
    let Some((&choices, frame)) = octets.split_first() else {
        return false;
    };
    let way = way(choices & IPV6 != 0);
    let (source, vip) = (way.source, way.vip.ip());
    let query = (choices & TCP == 0).then_some(QUERY);
    let hear = |frame: &[u8]| overhear(&way, PORT, query, frame).expect("a probe that can be");
    let Some(heard) = hear(frame) else {
        return false;
    };
    // From whom to whom, where both headers of IP have it.
    let packet = &frame[ETHERNET..];
    let (from, to) = match packet[0] >> 4 {
        4 => (12..16, 16..20),
        _ => (8..24, 24..40),
    };
    match heard {
        Overheard::Datagram {
            source: sender,
            payload,
        } => {
            assert!(query.is_some());
            assert_eq!(packet[from], in_octets(sender.ip()));
            assert_eq!(packet[to.clone()], in_octets(source));
            assert_eq!(payload[..2], QUERY[..2]);
            assert!(packet.windows(payload.len()).any(|part| part == payload));
            reply::holds(&[&[choices], &*payload].concat());
        }
        Overheard::Segment { packet: segment } => {
            assert!(query.is_none());
            assert_eq!(segment, packet);
            assert_eq!(packet[from], in_octets(vip));
            assert_eq!(packet[to.clone()], in_octets(source));
        }
        Overheard::Unreachable {
            source: sender,
            icmp_type,
            ..
        } => {
            assert_eq!(packet[from], in_octets(sender));
            assert!(matches!(icmp_type, 1 | 3 | 11));
            let quoted = [in_octets(source), in_octets(vip)].concat();
            let mut parts = packet.windows(quoted.len());
            assert!(parts.any(|part| part == quoted), "it quotes what we sent");
            return true;
        }
    }
    let mut to_another = frame.to_vec();
    to_another[ETHERNET + to.start] ^= 1;
    assert_eq!(hear(&to_another), None);
    true
}
