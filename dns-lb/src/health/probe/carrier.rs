//! Whether an interface has a carrier at this moment.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `ETHTOOL_GLINK` of `linux/ethtool.h`
const ETHTOOL_GLINK: u32 = 0x0000_000a;

/// `struct ethtool_value` of `linux/ethtool.h`
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Asks the driver whether an interface is up and has a carrier. Netlink tells of a loss up to a
/// second late (`linkwatch_urgent_event` in `net/core/link_watch.c`): too late for a probe that has
/// just timed out.
///
/// # Errors
/// There is no such interface, or its driver does not say.
pub(super) fn has_carrier(interface: &str) -> io::Result<bool> {
    let name = CString::new(interface)?;
    let octets = name.as_bytes_with_nul();
    // SAFETY: all zeroes is an `ifreq` without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if octets.len() > request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(octets) {
        *to = from.cast_signed() as libc::c_char;
    }
    let mut value = EthtoolValue {
        cmd: ETHTOOL_GLINK,
        data: 0,
    };
    request.ifr_ifru.ifru_data = (&raw mut value).cast();

    // SAFETY: takes no memory.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: SIOCETHTOOL reads the name, which ends with a zero, and the command that `ifru_data`
    // points to, and writes that structure's `data`; both live on.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value.data != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_a_carrier_and_no_such_interface_has_none() {
        assert!(has_carrier("lo").unwrap());
        let error = has_carrier("no-such-link").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert!(has_carrier("a-name-that-is-too-long").is_err());
        assert!(has_carrier("l\0o").is_err());
    }
}
