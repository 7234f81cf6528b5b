//! The capabilities that the data plane takes, and which of them this process lacks.

use std::{borrow::Cow, fs};

/// A capability and its number in `linux/capability.h`.
type Capability = (&'static str, u32);

const NEEDED: [Capability; 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38)];

/// Stands for CAP_BPF and CAP_PERFMON, which were split from it in Linux 5.8.
const CAP_SYS_ADMIN: u32 = 21;

/// What to do about an operation that the kernel has refused for want of privileges.
pub(super) fn hint() -> Cow<'static, str> {
    let missing = missing();
    let those = if missing.is_empty() {
        "all of which are there: a container or an LSM withholds something".to_owned()
    } else {
        format!("of which this process lacks {}", missing.join(", "))
    };
    format!(
        "; this needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, {those}"
    )
    .into()
}

/// The capabilities that this process lacks; none if the system does not tell.
pub(super) fn missing() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_of(&status).unwrap_or_default()
}

/// Those that a process lacks whose `/proc/PID/status` this is (proc_pid_status(5)).
fn missing_of(status: &str) -> Option<Vec<&'static str>> {
    let mut lines = status.lines();
    let effective = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let has = |number: u32| effective >> number & 1 == 1;
    let is_missing = |&(name, number): &Capability| {
        let stands_in = name != "CAP_NET_ADMIN" && has(CAP_SYS_ADMIN);
        !has(number) && !stands_in
    };
    let missing = NEEDED.iter().filter(|needed| is_missing(needed));
    Some(missing.map(|&(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_a_process_lacks() {
        let of = |effective: &str| {
            missing_of(&format!(
                "Name:\tdns-lb\nCapEff:\t{effective}\nCapBnd:\t0\n"
            ))
        };
        assert_eq!(of("000001ffffffffff"), Some(vec![]));
        assert_eq!(of("000000c000003000"), Some(vec![]));
        assert_eq!(of("0000008000003000"), Some(vec!["CAP_PERFMON"]));
        assert_eq!(of("000000c000002000"), Some(vec!["CAP_NET_ADMIN"]));
        assert_eq!(of("0000004000003000"), Some(vec!["CAP_BPF"]));
        // CAP_SYS_ADMIN, as before Linux 5.8.
        assert_eq!(of("0000000000201000"), Some(vec![]));
        assert_eq!(
            of("0000000000000000"),
            Some(vec!["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"])
        );
        assert_eq!(missing_of("nothing of the kind"), None);
    }
}
