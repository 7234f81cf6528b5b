use proptest::prelude::*;

use super::*;

const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xc9]);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reply(vip: [u8; 4]) -> Vec<u8> {
    let mut frame = [OWN.0, THEIRS.0].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(THEIRS.0);
    frame.extend(vip);
    frame.extend(OWN.0);
    frame.extend([192, 0, 2, 1]);
    // What an Ethernet needs to have 60 octets.
    frame.extend([0; 18]);
    frame
}

fn advertisement(vip: Ipv6Addr, option: &[u8], hops: u8) -> Vec<u8> {
    let mut payload = vip.octets().to_vec();
    payload.extend(option);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(THEIRS.0, OWN.0)
        .ipv6(vip.octets(), [0xfe; 16], hops)
        .icmpv6_raw(NEIGHBOR_ADVERTISEMENT, 0, [0x60, 0, 0, 0])
        .write(&mut frame, &payload)
        .unwrap();
    frame
}

#[test]
fn an_arp_request_says_who_asks() {
    let frame = question(address("192.0.2.200"), &[address("192.0.2.1")], OWN).unwrap();
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, // who asks
        0, 0, 0, 0, 0, 0, 192, 0, 2, 200,
    ];
    assert_eq!(frame, expected);
    let frame = question(address("192.0.2.200"), &[address("2001:db8::1")], OWN).unwrap();
    assert_eq!(frame[28..32], [0; 4], "nobody's address");
}

#[test]
fn a_solicitation_goes_to_the_group_of_the_address() {
    let sources = [address("192.0.2.1"), address("fe80::1")];
    let frame = question(address("2001:db8::aa:bbcc"), &sources, OWN).unwrap();
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0xaa, 0xbb, 0xcc]);
    let ip = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(etherparse::TransportSlice::Icmpv6(message)) = ip.transport else {
        panic!("no ICMPv6 in {frame:02x?}");
    };
    let [ip @ .., _] = [frame[22..38].to_vec(), frame[38..54].to_vec(), vec![]];
    let [source, group] = ip.map(|octets| <[u8; 16]>::try_from(octets).unwrap());
    assert_eq!(
        Ipv6Addr::from(source),
        "fe80::1".parse::<Ipv6Addr>().unwrap()
    );
    assert_eq!(
        Ipv6Addr::from(group),
        "ff02::1:ffaa:bbcc".parse::<Ipv6Addr>().unwrap()
    );
    assert!(message.is_checksum_valid(source, group));
    assert_eq!(frame[21], 255, "hop limit");
    assert_eq!(frame[54], 135);
    assert_eq!(
        frame[78..],
        [1, 1, 2, 0, 0, 0, 0, 1],
        "the source's address"
    );
    assert!(question(address("2001:db8::1"), &[address("192.0.2.1")], OWN).is_none());
}

#[test]
fn answers_are_read() {
    let found = claim(&reply([192, 0, 2, 200])).unwrap();
    let expected = Claim {
        address: address("192.0.2.200"),
        mac: THEIRS,
    };
    assert_eq!(found, expected);

    let vip = "2001:db8::53".parse().unwrap();
    let other = [TARGET_LINK_ADDRESS, 1, 2, 0, 0, 0, 0, 7];
    for (option, mac) in [(&[][..], THEIRS), (&other, MacAddress([2, 0, 0, 0, 0, 7]))] {
        let found = claim(&advertisement(vip, option, HOPS)).unwrap();
        let expected = Claim {
            address: vip.into(),
            mac,
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_no_answer_is_none() {
    let mut request = reply([192, 0, 2, 200]);
    request[21] = 1;
    assert_eq!(claim(&request), None);
    let mut group = reply([192, 0, 2, 200]);
    group[22] |= 1;
    assert_eq!(claim(&group), None);
    let vip = "2001:db8::53".parse().unwrap();
    assert_eq!(claim(&advertisement(vip, &[], 64)), None, "from elsewhere");
    let endless = [TARGET_LINK_ADDRESS, 9, 2, 0, 0, 0, 0, 7];
    assert_eq!(claim(&advertisement(vip, &endless, HOPS)), None);
}

proptest! {
    #[test]
    fn any_octets_are_read(frame: Vec<u8>, kind in 0..2, tail: Vec<u8>) {
        let _ = claim(&frame);
        let mut like = match kind {
            0 => reply([192, 0, 2, 200]),
            _ => advertisement(Ipv6Addr::LOCALHOST, &tail, HOPS),
        };
        like.truncate(14 + frame.len());
        let _ = claim(&like);
    }
}
