//! Segments of a server that is asked by TCP through the VIP. The first octet chooses the address
//! family; then come segments, each of [`HEADER`] octets, options and payload. They fit where all that
//! is chosen is 0: no server would have it otherwise, but anybody may send it.

use std::time::Duration;

use dns_lb::health::link::converse;

use super::through_vip::{BACKEND_MAC, ETHERNET, OWN_MAC, PORT, QUERY, octets as in_octets, way};

/// Octets of a segment before options and payload: flags (RFC 9293, 3.1), how far its sequence number
/// is off, the same of its acknowledgement, time before it, window, words of options, length of the
/// payload.
const HEADER: usize = 7;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;

/// Times and windows are multiples.
const TIME: Duration = Duration::from_millis(50);
const WINDOW: u16 = 64;

/// Asserts what must hold; true: a message was read.
pub(crate) fn holds(octets: &[u8]) -> bool {
    let Some((&choices, script)) = octets.split_first() else {
        return false;
    };
    let way = way(choices & 1 != 0);
    let mut server = Server {
        script,
        vip: in_octets(way.vip.ip()),
        client: in_octets(way.source),
        next: 7,
        acknowledged: 0,
        said: 0,
    };
    let messages = converse(&way, PORT, QUERY, 1, |sent| server.answer(&sent));
    let messages = messages.expect("a probe that can be");
    let read: usize = messages.iter().map(|message| 2 + message.len()).sum();
    assert!(read <= server.said, "{read} octets of {}", server.said);
    !messages.is_empty()
}

struct Server<'s> {
    script: &'s [u8],
    vip: Vec<u8>,
    client: Vec<u8>,
    /// The sequence number that fits.
    next: u32,
    /// The acknowledgement that fits.
    acknowledged: u32,
    /// Octets of payload so far.
    said: usize,
}

impl Server<'_> {
    /// Looks at what the probe has sent, and sends the next segment of the script.
    fn answer(&mut self, sent: &[Vec<u8>]) -> Option<(Duration, Vec<u8>)> {
        for frame in sent {
            self.look_at(frame);
        }
        let (header, rest) = self.script.split_first_chunk::<HEADER>()?;
        let &[flags, off, ack_off, time, window, words, length] = header;
        let (options, rest) = rest.split_at(rest.len().min(usize::from(words % 11) * 4));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(length)));
        self.script = rest;

        let mut segment = Vec::new();
        segment.extend([0, 53]);
        segment.extend(PORT.to_be_bytes());
        segment.extend(
            self.next
                .wrapping_add_signed(off as i8 as i32)
                .to_be_bytes(),
        );
        let acknowledged = self.acknowledged.wrapping_add_signed(ack_off as i8 as i32);
        segment.extend(acknowledged.to_be_bytes());
        // A last word of options that is not whole is one of payload.
        segment.extend([(5 + options.len() as u8 / 4) << 4, flags]);
        segment.extend((u16::from(window) * WINDOW).to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(options);
        segment.extend(payload);
        self.said += options.len() % 4 + payload.len();
        if off == 0 {
            self.next += payload.len() as u32 + u32::from(flags & SYN != 0);
            self.next += u32::from(flags & FIN != 0);
        }
        Some((TIME * u32::from(time), self.frame(&segment)))
    }

    /// From the VIP to the probe.
    fn frame(&self, segment: &[u8]) -> Vec<u8> {
        let length = segment.len() as u16;
        let ipv4 = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0];
        let ipv6 = [0x60, 0, 0, 0, 0, 0, 6, 64];
        let mut frame = [OWN_MAC, BACKEND_MAC].concat();
        if self.vip.len() == 4 {
            frame.extend([0x08, 0x00]);
            frame.extend(ipv4);
            frame[ETHERNET + 2..][..2].copy_from_slice(&(20 + length).to_be_bytes());
        } else {
            frame.extend([0x86, 0xdd]);
            frame.extend(ipv6);
            frame[ETHERNET + 4..][..2].copy_from_slice(&length.to_be_bytes());
        }
        frame.extend(&self.vip);
        frame.extend(&self.client);
        frame.extend(segment);
        frame
    }

    /// Whatever the server does, the probe speaks to the VIP alone.
    fn look_at(&mut self, frame: &[u8]) {
        assert_eq!(frame[..12], [BACKEND_MAC, OWN_MAC].concat());
        let addresses = if self.vip.len() == 4 { 12 } else { 8 };
        let (packet, addresses) = (&frame[ETHERNET..], addresses..);
        let addresses = &packet[addresses];
        let (from, rest) = addresses.split_at(self.client.len());
        let (to, segment) = rest.split_at(self.vip.len());
        assert_eq!(from, self.client);
        assert_eq!(to, self.vip);
        assert_eq!(segment[..2], PORT.to_be_bytes());
        assert_eq!(segment[2..4], [0, 53]);
        let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
        let payload = segment.len() - usize::from(segment[12] >> 4) * 4;
        let flags = u32::from(segment[13] & SYN != 0) + u32::from(segment[13] & FIN != 0);
        self.acknowledged = sequence.wrapping_add(payload as u32 + flags);
    }
}
