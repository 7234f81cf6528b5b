//! What drivers' XDP can, by the generic netlink family `netdev`, which exists from Linux 6.3 on
//! (`Documentation/netlink/specs/netdev.yaml`).

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The family that tells of families (`GENL_ID_CTRL` of `linux/genetlink.h`).
const CONTROLLER: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// `linux/netdev.h`
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// `NLMSG_ERROR` of `linux/netlink.h`
const ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;

/// Octets of a message's header, and of the one of generic netlink behind it.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// Octets of an answer that are read. The longest tells of the family's commands.
const ANSWER: usize = 16 * 1024;

/// Asks the kernel what drivers can.
pub(super) struct Netdev {
    socket: Socket,
    family: u16,
}

impl Netdev {
    /// # Errors
    /// No netlink, or the kernel is older than 6.3.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let request = request(
            CONTROLLER,
            CTRL_CMD_GETFAMILY,
            CTRL_ATTR_FAMILY_NAME,
            b"netdev\0",
        );
        let answer = ask(&socket, &request)?;
        let family = attribute(&answer, CTRL_ATTR_FAMILY_ID)
            .and_then(|value| value.first_chunk())
            .map(|value| u16::from_ne_bytes(*value))
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { socket, family })
    }

    /// The bits of `enum netdev_xdp_act` of an interface.
    ///
    /// # Errors
    /// It is gone, or the kernel does not tell.
    pub(super) fn xdp_features(&self, ifindex: u32) -> io::Result<u64> {
        let request = request(
            self.family,
            NETDEV_CMD_DEV_GET,
            NETDEV_A_DEV_IFINDEX,
            &ifindex.to_ne_bytes(),
        );
        let answer = ask(&self.socket, &request)?;
        attribute(&answer, NETDEV_A_DEV_XDP_FEATURES)
            .and_then(|value| value.first_chunk())
            .map(|value| u64::from_ne_bytes(*value))
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// A request with one attribute.
fn request(family: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    attributes.extend((4 + value.len() as u16).to_ne_bytes());
    attributes.extend(attribute.to_ne_bytes());
    attributes.extend(value);
    attributes.resize(attributes.len().next_multiple_of(4), 0);

    let length = HEADER + GENERIC_HEADER + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // No number and no sender: one request is under way at a time.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    message
}

/// The attributes of the answer.
fn ask(socket: &Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request, 0)?;
    let mut buffer = Vec::with_capacity(ANSWER);
    // The kernel has answered by the time that a request is sent.
    socket.recv(&mut buffer, libc::MSG_DONTWAIT)?;
    read(&buffer)
}

fn read(message: &[u8]) -> io::Result<Vec<u8>> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (header, payload) = message.split_first_chunk::<HEADER>().ok_or_else(cut)?;
    if u16::from_ne_bytes([header[4], header[5]]) == ERROR {
        let code = payload.first_chunk().ok_or_else(cut)?;
        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
    }
    Ok(payload.get(GENERIC_HEADER..).ok_or_else(cut)?.to_vec())
}

/// The value of an attribute.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (header, rest) = attributes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]])).checked_sub(4)?;
        let value = rest.get(..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) == wanted {
            return Some(value);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others_and_never_beyond_the_end() {
        let mut octets = request(1, 2, 9, b"abc").split_off(HEADER + GENERIC_HEADER);
        octets.extend(request(1, 2, 3, &7_u64.to_ne_bytes()).split_off(HEADER + GENERIC_HEADER));
        assert_eq!(attribute(&octets, 9), Some(&b"abc"[..]));
        assert_eq!(attribute(&octets, 3), Some(&7_u64.to_ne_bytes()[..]));
        assert_eq!(attribute(&octets, 4), None);
        for length in 0..octets.len() {
            assert_eq!(attribute(&octets[..length], 3), None, "{length}");
        }
        assert_eq!(attribute(&[3, 0, 3, 0], 3), None, "shorter than its header");
    }

    #[test]
    fn a_refusal_is_an_error() {
        let mut message = vec![0; HEADER + 4];
        message[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        message[HEADER..].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
        let error = read(&message).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(read(&message[..HEADER]).is_err());
        assert!(read(&[]).is_err());
    }

    #[test]
    fn the_loopback_has_no_native_xdp() {
        // Before Linux 6.3 there is nobody to ask.
        if let Ok(netdev) = Netdev::open() {
            assert_eq!(netdev.xdp_features(1).unwrap() & 1, 0);
            assert!(netdev.xdp_features(u32::MAX >> 1).is_err());
        }
    }
}
