//! What a driver says of its interface when it is asked by `SIOCETHTOOL`: the carrier, and what it
//! does with frames on its own account. Never changes anything.

use std::{
    collections::BTreeSet,
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `ETHTOOL_GLINK` of `linux/ethtool.h`
const ETHTOOL_GLINK: u32 = 0x0000_000a;
/// `ETHTOOL_GSTRINGS`
const ETHTOOL_GSTRINGS: u32 = 0x0000_001b;
/// `ETHTOOL_GSSET_INFO`
const ETHTOOL_GSSET_INFO: u32 = 0x0000_0037;
/// `ETHTOOL_GFEATURES`
const ETHTOOL_GFEATURES: u32 = 0x0000_003a;

/// `ETH_SS_FEATURES`: the set of strings that names features.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`, in octets.
const NAME_OCTETS: usize = 32;
/// Names that room is made for at most. Linux 6.18 has 64.
const MOST_FEATURES: u32 = 1_024;

/// Asks the driver whether an interface is up and has a carrier. Netlink tells of a loss up to a
/// second late (`linkwatch_urgent_event` in `net/core/link_watch.c`): too late for a probe that has
/// just timed out.
///
/// # Errors
/// There is no such interface, or its driver does not say.
pub(crate) fn has_carrier(interface: &str) -> io::Result<bool> {
    // `struct ethtool_value`
    let mut value = [ETHTOOL_GLINK, 0];
    // SAFETY: the command writes the second word.
    unsafe { ask(interface, &mut value) }?;
    Ok(value[1] != 0)
}

/// Names of what is switched on, as `ethtool -k` of this kernel calls it: `rx-lro`, `rx-gro-hw`,
/// `rx-vlan-hw-parse`.
///
/// # Errors
/// There is no such interface.
pub(crate) fn active_features(interface: &str) -> io::Result<BTreeSet<String>> {
    // `struct ethtool_sset_info`: command, reserved, a mask of 64 bits, and a number for each bit.
    let mask = (1_u64 << FEATURE_NAMES).to_ne_bytes();
    let [a, b, c, d, e, f, g, h] = mask;
    let mut info = [
        ETHTOOL_GSSET_INFO,
        0,
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        0,
    ];
    // SAFETY: the command writes a word for the one bit that is set in the mask.
    unsafe { ask(interface, &mut info) }?;
    let count = info[4].min(MOST_FEATURES);

    // `struct ethtool_gstrings`: command, set, number, and the names.
    let mut names = vec![0; 3 + count as usize * NAME_OCTETS / 4];
    names[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, FEATURE_NAMES, count]);
    // SAFETY: the command writes as many names as it has just said there are, of 32 octets each; a
    // kernel does not get more while it runs.
    unsafe { ask(interface, &mut names) }?;

    // `struct ethtool_gfeatures`: command, number of blocks, and for each 32 features a block of
    // four words: available, requested, active, never changed.
    let blocks = count.div_ceil(32);
    let mut features = vec![0; 2 + 4 * blocks as usize];
    features[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks]);
    // SAFETY: the command writes at most as many blocks as the second word says.
    unsafe { ask(interface, &mut features) }?;

    let octets: Vec<u8> = names[3..]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect();
    let is_active = |place: usize| features[2 + 4 * (place / 32) + 2] >> (place % 32) & 1 == 1;
    Ok(octets
        .chunks_exact(NAME_OCTETS)
        .enumerate()
        .filter(|(place, _)| is_active(*place))
        .map(|(_, name)| {
            let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        })
        .collect())
}

/// Has the kernel carry out the command that the words begin with.
///
/// # Safety
/// The words have room for all that the command writes.
unsafe fn ask(interface: &str, words: &mut [u32]) -> io::Result<()> {
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
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();

    // SAFETY: takes no memory.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: SIOCETHTOOL reads the name, which ends with a zero, and the command that `ifru_data`
    // points to, and writes behind it what the caller has made room for; both live on.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
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

    #[test]
    fn the_loopback_has_features_by_name() {
        // `loopback_setup` in drivers/net/loopback.c: always on, and nobody can switch it off.
        let active = active_features("lo").unwrap();
        assert!(active.contains("loopback"), "{active:?}");
        assert!(!active.contains("rx-lro"), "{active:?}");
        assert!(!active.contains(""), "{active:?}");
        assert!(active_features("no-such-link").is_err());
    }
}
