//! What this host needs apart from its interfaces: the pins, privileges, the kernel, the clock, the
//! secret. Pure.

use std::path::PathBuf;

use dns_lb_common::ABI_VERSION;

use super::{Severity, id, look::Capabilities, report::Sheet};
use crate::datapath::Pinned;

/// The first kernel with programs for frames in several buffers, of which this is one.
const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// What nobody but the owner may do to the file of the secret: all but that its group reads it. Where the
/// agent is no root, that is how it does (`packaging/debian/postinst`).
const EXPOSING: u32 = 0o037;

/// What was seen of the host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) pin_dir: PathBuf,
    /// Why it can be no pin directory.
    pub(super) place: Result<(), String>,
    /// What is pinned, or why that is not known.
    pub(super) pinned: Result<Pinned, String>,
    /// As `uname -r` says it.
    pub(super) kernel: String,
    pub(super) has_btf: bool,
    /// Whether somebody keeps the clock right.
    pub(super) clock: Result<bool, String>,
    pub(super) hash_key_file: PathBuf,
    pub(super) hash_key: KeyFile,
}

/// The file of the flow hash's secret.
#[derive(Debug)]
pub(super) enum KeyFile {
    Absent,
    Unreadable(String),
    /// `key`: the fingerprint of what is in it.
    Present {
        mode: u32,
        key: Result<String, String>,
    },
}

pub(super) fn judge(host: &Host, own: &Result<Capabilities, String>, sheet: &mut Sheet) {
    judge_capabilities("this process", Severity::Warning, own, sheet);
    judge_pins(host, sheet);
    judge_kernel(host, sheet);
    match &host.clock {
        Ok(true) => sheet.pass(id::CLOCK_UNSYNCHRONISED, "host", "is synchronised"),
        Ok(false) => sheet.find(
            id::CLOCK_UNSYNCHRONISED,
            Severity::Warning,
            "host",
            "the kernel says that nobody keeps its clock right (STA_UNSYNC)",
            "run a time service: `timedatectl set-ntp true`, or chrony",
        ),
        Err(why) => sheet.skip(id::CLOCK_UNSYNCHRONISED, "host", why),
    }
    judge_hash_key(host, sheet);
}

/// What the agent lacks.
pub(super) fn judge_agent(found: &Result<Capabilities, String>, sheet: &mut Sheet) {
    judge_capabilities("agent", Severity::Error, found, sheet);
}

fn judge_capabilities(
    subject: &str,
    severity: Severity,
    found: &Result<Capabilities, String>,
    sheet: &mut Sheet,
) {
    let missing = match found {
        Ok(found) => found.missing(),
        Err(why) => return sheet.skip(id::CAPABILITY_MISSING, subject, why),
    };
    if missing.is_empty() {
        return sheet.pass(id::CAPABILITY_MISSING, subject, "has all that it needs");
    }
    sheet.find(
        id::CAPABILITY_MISSING,
        severity,
        subject,
        format!("its effective set lacks {}", missing.join(", ")),
        "run it as root, or with AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON CAP_NET_RAW",
    );
}

fn judge_pins(host: &Host, sheet: &mut Sheet) {
    let subject = host.pin_dir.display();
    if let Err(why) = &host.place {
        sheet.find(
            id::BPFFS_MISSING,
            Severity::Error,
            subject,
            why,
            "mount -t bpf bpf /sys/fs/bpf, or name a directory on one by --pin-dir",
        );
        return;
    }
    sheet.pass(id::BPFFS_MISSING, &subject, "is on a BPF file system");
    match &host.pinned {
        Ok(Pinned { version: 0, .. }) => {
            sheet.pass(id::PINS_VERSION, &subject, "no maps are pinned");
        }
        Ok(Pinned { version, .. }) if *version == ABI_VERSION => {
            let evidence = format!("the maps have layout {version}, as this command");
            sheet.pass(id::PINS_VERSION, &subject, evidence);
        }
        Ok(Pinned { version, .. }) => {
            let evidence =
                format!("the maps have layout {version}, this command works with {ABI_VERSION}");
            if *version > ABI_VERSION {
                let remedy = "use the dns-lb that made them; or, without traffic, `dns-lb unload` \
                              and start again";
                sheet.find(
                    id::PINS_VERSION,
                    Severity::Error,
                    &subject,
                    evidence,
                    remedy,
                );
            } else {
                let remedy = "start the agent again: it replaces the maps while they steer";
                sheet.find(
                    id::PINS_VERSION,
                    Severity::Warning,
                    &subject,
                    evidence,
                    remedy,
                );
            }
        }
        Err(why) => sheet.skip(id::PINS_VERSION, &subject, why),
    }
}

fn judge_kernel(host: &Host, sheet: &mut Sheet) {
    let kernel = &host.kernel;
    match version(kernel) {
        Some(found) if found >= OLDEST_KERNEL => {
            sheet.pass(id::KERNEL_OLD, "host", format!("Linux {kernel}"));
        }
        Some(_) => sheet.find(
            id::KERNEL_OLD,
            Severity::Error,
            "host",
            format!("Linux {kernel}: programs for frames in several buffers exist from 5.18 on"),
            "boot a kernel of 6.1 or later",
        ),
        None => sheet.skip(
            id::KERNEL_OLD,
            "host",
            format!("no version can be read in {kernel:?}"),
        ),
    }
    if host.has_btf {
        sheet.pass(id::BTF_MISSING, "host", "/sys/kernel/btf/vmlinux is there");
    } else {
        sheet.find(
            id::BTF_MISSING,
            Severity::Warning,
            "host",
            "there is no /sys/kernel/btf/vmlinux",
            "mount sysfs, or boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions' are",
        );
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn judge_hash_key(host: &Host, sheet: &mut Sheet) {
    let subject = host.hash_key_file.display();
    let (mode, key) = match &host.hash_key {
        KeyFile::Absent => {
            return sheet.find(
                id::HASH_KEY_MISSING,
                Severity::Info,
                subject,
                "there is no such file; the first start makes one, with a random secret",
                "where several balancers share the traffic, copy one's file to all before they start",
            );
        }
        KeyFile::Unreadable(why) => return sheet.skip(id::HASH_KEY_MALFORMED, subject, why),
        KeyFile::Present { mode, key } => (mode, key),
    };
    sheet.pass(id::HASH_KEY_MISSING, &subject, "is there");
    if mode & EXPOSING == 0 {
        let evidence = format!("mode {mode:04o}");
        sheet.pass(id::HASH_KEY_EXPOSED, &subject, evidence);
    } else {
        sheet.find(
            id::HASH_KEY_EXPOSED,
            Severity::Warning,
            &subject,
            format!("mode {mode:04o}: others than its owner and group have access to the secret"),
            format!("chmod g-wx,o= {subject}"),
        );
    }
    match key {
        Ok(fingerprint) => {
            sheet.pass(id::HASH_KEY_MALFORMED, &subject, "holds a secret");
            sheet.find(
                id::HASH_KEY_FINGERPRINT,
                Severity::Info,
                &subject,
                format!("fingerprint {fingerprint}"),
                "on balancers that share the traffic it has to be the same",
            );
        }
        Err(why) => sheet.find(
            id::HASH_KEY_MALFORMED,
            Severity::Error,
            &subject,
            why,
            format!(
                "put the key of the other balancers there, or a new one: \
                 od -An -N16 -tx1 /dev/urandom | tr -d ' ' >{subject}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use Severity::{Error, Info, Skipped, Warning};

    use super::*;

    fn host() -> Host {
        Host {
            pin_dir: "/sys/fs/bpf/dns-lb".into(),
            place: Ok(()),
            pinned: Ok(Pinned {
                version: ABI_VERSION,
                program_id: Some(1),
            }),
            kernel: "6.1.0-30-amd64".to_owned(),
            has_btf: true,
            clock: Ok(true),
            hash_key_file: "/etc/dns-lb/hash.key".into(),
            hash_key: KeyFile::Present {
                mode: 0o600,
                key: Ok("00".to_owned()),
            },
        }
    }

    const KEY: &str = "/etc/dns-lb/hash.key";
    const FINGERPRINT: (Severity, &str, &str) = (Info, "hash-key-fingerprint", KEY);

    fn assert_found(host: &Host, capabilities: u64, expected: &[(Severity, &str, &str)]) {
        let mut sheet = Sheet::default();
        judge(host, &Ok(Capabilities(capabilities)), &mut sheet);
        assert_eq!(sheet.found(), expected, "{host:?}");
    }

    #[test]
    fn a_host_as_it_should_be_has_a_fingerprint() {
        assert_found(&host(), u64::MAX, &[FINGERPRINT]);
    }

    #[test]
    fn what_the_host_lacks_is_named() {
        type Change = fn(&mut Host);
        let pins = "/sys/fs/bpf/dns-lb";
        let rows: [(Change, (Severity, &str, &str)); 8] = [
            (
                |host| host.place = Err("no".to_owned()),
                (Error, "bpffs-missing", pins),
            ),
            (
                |host| host.pinned.as_mut().unwrap().version += 1,
                (Error, "pins-version", pins),
            ),
            (
                |host| host.pinned.as_mut().unwrap().version -= 1,
                (Warning, "pins-version", pins),
            ),
            (
                |host| host.pinned = Err("EPERM".to_owned()),
                (Skipped, "pins-version", pins),
            ),
            (
                |host| host.kernel = "5.17.9".to_owned(),
                (Error, "kernel-old", "host"),
            ),
            (
                |host| host.kernel = "new".to_owned(),
                (Skipped, "kernel-old", "host"),
            ),
            (
                |host| host.has_btf = false,
                (Warning, "btf-missing", "host"),
            ),
            (
                |host| host.clock = Ok(false),
                (Warning, "clock-unsynchronised", "host"),
            ),
        ];
        for (change, expected) in rows {
            let mut host = host();
            change(&mut host);
            assert_found(&host, u64::MAX, &[expected, FINGERPRINT]);
        }
    }

    #[test]
    fn the_secret_has_to_be_one_and_to_be_kept() {
        let present = |mode, key: Result<&str, &str>| KeyFile::Present {
            mode,
            key: key.map(str::to_owned).map_err(str::to_owned),
        };
        for (hash_key, expected) in [
            (KeyFile::Absent, vec![(Info, "hash-key-missing", KEY)]),
            (
                KeyFile::Unreadable(String::new()),
                vec![(Skipped, "hash-key-malformed", KEY)],
            ),
            (
                present(0o660, Ok("00")),
                vec![(Warning, "hash-key-exposed", KEY), FINGERPRINT],
            ),
            (
                present(0o604, Ok("00")),
                vec![(Warning, "hash-key-exposed", KEY), FINGERPRINT],
            ),
            (present(0o400, Ok("00")), vec![FINGERPRINT]),
            // As the package has it.
            (present(0o640, Ok("00")), vec![FINGERPRINT]),
            (
                present(0o600, Err("short")),
                vec![(Error, "hash-key-malformed", KEY)],
            ),
        ] {
            let host = Host { hash_key, ..host() };
            assert_found(&host, u64::MAX, &expected);
        }
    }

    #[test]
    fn a_process_needs_four_capabilities_and_root_of_old_kernels_has_them() {
        let missing = (Warning, "capability-missing", "this process");
        assert_found(&host(), 0, &[missing, FINGERPRINT]);
        // CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN, which the others were split from.
        let old = 1 << 12 | 1 << 13 | 1 << 21;
        assert_found(&host(), old, &[FINGERPRINT]);
        let mut sheet = Sheet::default();
        judge_agent(&Ok(Capabilities(old & !(1 << 13))), &mut sheet);
        let expected = [(Error, "capability-missing", "agent")];
        assert_eq!(sheet.found(), expected);
    }

    #[test]
    fn releases_begin_with_two_numbers() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("6"), None);
        assert_eq!(version(""), None);
    }
}
