//! What the kernel says in files, and the files of the agent.

use std::{
    fs, io,
    mem::MaybeUninit,
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use crate::{
    config::Config,
    datapath,
    doctor::{
        host::{Host, KeyFile},
        interface::Settings,
        vip::{AddressState, OwnAddress},
    },
    steer::{HashKeyError, fingerprint, load_hash_key},
};

/// The capabilities that the agent needs, by their numbers in `linux/capability.h`, and others that
/// stand for them: kernels split the last two from CAP_SYS_ADMIN (capabilities(7)).
const NEEDED: [(u32, &str, bool); 4] = [
    (12, "CAP_NET_ADMIN", false),
    (13, "CAP_NET_RAW", false),
    (38, "CAP_PERFMON", true),
    (39, "CAP_BPF", true),
];
const CAP_SYS_ADMIN: u32 = 21;

/// The effective set of a process (capabilities(7)), a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub(in crate::doctor) u64);

impl Capabilities {
    /// Whether the process may have the kernel find a neighbour.
    pub(in crate::doctor) fn can_resolve(self) -> bool {
        !self.missing().contains(&"CAP_NET_ADMIN")
    }

    /// Those that the agent needs and that are not there.
    pub(in crate::doctor) fn missing(self) -> Vec<&'static str> {
        let has = |number: u32| self.0 >> number & 1 == 1;
        let needed = NEEDED.iter();
        needed
            .filter(|(number, _, by_admin)| !(has(*number) || *by_admin && has(CAP_SYS_ADMIN)))
            .map(|(_, name, _)| *name)
            .collect()
    }
}

/// What this process may do.
pub(in crate::doctor) fn own_capabilities() -> Result<Capabilities, String> {
    read_capabilities("self")
}

/// What a process may do.
pub(in crate::doctor) fn capabilities(pid: i32) -> Result<Capabilities, String> {
    read_capabilities(&pid.to_string())
}

fn read_capabilities(process: &str) -> Result<Capabilities, String> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let bits = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .map(Capabilities)
        .ok_or_else(|| format!("{path} says nothing of capabilities"))
}

/// Looks at the host.
pub(in crate::doctor) fn host(config: &Config, pin_dir: &Path) -> Host {
    let inspected = datapath::inspect(pin_dir);
    let place = match &inspected {
        Err(
            error @ (datapath::DatapathError::NoBpffs { .. }
            | datapath::DatapathError::BpffsRoot { .. }
            | datapath::DatapathError::PinDirectory { .. }),
        ) => Err(error.to_string()),
        _ => Ok(()),
    };
    Host {
        pin_dir: pin_dir.to_owned(),
        place,
        pinned: inspected.map_err(|error| error.to_string()),
        kernel: first_line("/proc/sys/kernel/osrelease").unwrap_or_default(),
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        clock: is_clock_kept().map_err(|error| error.to_string()),
        hash_key_file: config.hash_key_file.clone(),
        hash_key: key_file(&config.hash_key_file),
    }
}

/// Whether somebody keeps the kernel's clock right (adjtimex(2)).
fn is_clock_kept() -> io::Result<bool> {
    let mut clock = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: without a mode set the call changes nothing, and writes one `timex`.
    let state = unsafe { libc::adjtimex(clock.as_mut_ptr()) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes is a `timex`, and the kernel has filled it in.
    let clock = unsafe { clock.assume_init() };
    Ok(clock.status & libc::STA_UNSYNC == 0)
}

fn key_file(path: &Path) -> KeyFile {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return KeyFile::Absent,
        Err(error) => return KeyFile::Unreadable(error.to_string()),
    };
    let key = match load_hash_key(path) {
        Ok(Some(key)) => Ok(fingerprint(&key)),
        Ok(None) => return KeyFile::Absent,
        Err(error @ HashKeyError::Malformed { .. }) => Err(error.to_string()),
        Err(error) => return KeyFile::Unreadable(error.to_string()),
    };
    KeyFile::Present { mode, key }
}

/// Settings of IPv4 on an interface (`Documentation/networking/ip-sysctl.rst`): of these the greater
/// of the interface's and that of all holds.
pub(in crate::doctor) fn settings(interface: &str) -> Settings {
    let one = |place: &str, name: &str| -> Result<u8, String> {
        let path = format!("/proc/sys/net/ipv4/conf/{place}/{name}");
        let value = first_line(&path).map_err(|error| format!("{path}: {error}"))?;
        value.parse().map_err(|_| format!("{path} holds {value:?}"))
    };
    let greater = |name| Ok(one(interface, name)?.max(one("all", name)?));
    Settings {
        rp_filter: greater("rp_filter"),
        arp_ignore: greater("arp_ignore"),
        arp_announce: greater("arp_announce"),
    }
}

/// Addresses of this host that duplicate address detection has not passed.
pub(super) fn undecided_addresses() -> Vec<OwnAddress> {
    // A kernel without IPv6 has no such file, and no such address.
    let table = fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    table.lines().filter_map(undecided_address).collect()
}

/// A row: address, index, length of the prefix, scope, flags, interface; in hexadecimal.
fn undecided_address(row: &str) -> Option<OwnAddress> {
    const DUPLICATE: u32 = 0x08;
    const OPTIMISTIC: u32 = 0x04;
    const TENTATIVE: u32 = 0x40;
    let mut columns = row.split_ascii_whitespace();
    let address = u128::from_str_radix(columns.next()?, 16).ok()?;
    let flags = u32::from_str_radix(columns.nth(3)?, 16).ok()?;
    let interface = columns.next()?.to_owned();
    let state = if flags & DUPLICATE != 0 {
        AddressState::Duplicate
    } else if flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0 {
        AddressState::Tentative
    } else {
        return None;
    };
    Some(OwnAddress {
        interface,
        address: IpAddr::V6(Ipv6Addr::from_bits(address)),
        state,
    })
}

fn first_line(path: &str) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_set() {
        own_capabilities().unwrap();
        assert!(capabilities(i32::MAX).is_err());
    }

    #[test]
    fn rows_of_addresses_are_read() {
        let row =
            |flags: &str| format!("20010db8000000000000000000000053 02 80 00 {flags}     eth0");
        let own = |state| {
            Some(OwnAddress {
                interface: "eth0".to_owned(),
                address: "2001:db8::53".parse().unwrap(),
                state,
            })
        };
        // IFA_F_PERMANENT is 0x80.
        assert_eq!(undecided_address(&row("80")), None);
        assert_eq!(undecided_address(&row("c0")), own(AddressState::Tentative));
        assert_eq!(undecided_address(&row("c4")), None, "optimistic");
        assert_eq!(undecided_address(&row("c8")), own(AddressState::Duplicate));
        assert_eq!(undecided_address("x"), None);
        assert_eq!(undecided_address(""), None);
    }

    #[test]
    fn settings_of_the_loopback_are_numbers() {
        let settings = settings("lo");
        settings.rp_filter.unwrap();
        let missing = super::settings("no-such-link").arp_ignore;
        assert!(missing.unwrap_err().contains("no-such-link/arp_ignore"));
    }

    #[test]
    fn a_key_is_shown_by_its_fingerprint_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hash.key");
        assert!(matches!(key_file(&path), KeyFile::Absent));
        fs::write(&path, "x").unwrap();
        assert!(matches!(
            key_file(&path),
            KeyFile::Present { key: Err(_), .. }
        ));
        let text = "0123456789abcdeffedcba9876543210";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let KeyFile::Present {
            mode: 0o640,
            key: Ok(fingerprint),
        } = key_file(&path)
        else {
            panic!("{:?}", key_file(&path));
        };
        assert_eq!(fingerprint.len(), 16);
        assert!(!text.contains(&fingerprint));
    }
}
