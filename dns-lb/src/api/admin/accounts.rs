//! Names of users and groups, from the host's own files.
//!
//! Not from the name services that the C library would ask: those may be on the network, and then
//! need the very DNS that this host balances.

use std::{fs::File, io::Read as _, path::Path};

/// Octets of a file that are read.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// The name of a user; `None` if the host's own files have none.
#[must_use]
pub(crate) fn user_name(uid: u32) -> Option<String> {
    name_of(&read("/etc/passwd"), uid)
}

/// The name of a group; `None` if the host's own files have none.
#[must_use]
pub(crate) fn group_name(gid: u32) -> Option<String> {
    name_of(&read("/etc/group"), gid)
}

/// The number of a group that is given by name or by number.
#[must_use]
pub(crate) fn group_id(group: &str) -> Option<u32> {
    id_of(&read("/etc/group"), group).or_else(|| group.parse().ok())
}

/// A file's text as far as it can be had: a name is a nicety, and a missing group is reported as one.
fn read(path: impl AsRef<Path>) -> String {
    let mut octets = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(MAX_SIZE).read_to_end(&mut octets);
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// Names and numbers of passwd(5) and group(5), which begin alike.
fn accounts(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, id.parse().ok()?))
    })
}

fn name_of(text: &str, wanted: u32) -> Option<String> {
    let (name, _) = accounts(text).find(|(_, id)| *id == wanted)?;
    // It goes into a line of the log and of the state file.
    let is_fit = name.len() <= 64 && !name.chars().any(char::is_control);
    is_fit.then(|| name.to_owned())
}

fn id_of(text: &str, wanted: &str) -> Option<u32> {
    let (_, id) = accounts(text).find(|(name, _)| *name == wanted)?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_files_of_the_host() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n# a remark\nbroken:x\n+::::\n\
                    alice:x:1000:1000::/home/alice:/bin/sh\nbad\u{7}:x:7:7:::\n";
        assert_eq!(name_of(text, 0).as_deref(), Some("root"));
        assert_eq!(name_of(text, 1_000).as_deref(), Some("alice"));
        assert_eq!(name_of(text, 7), None);
        assert_eq!(name_of(text, 8), None);
        assert_eq!(id_of("adm:x:4:syslog,alice\n", "adm"), Some(4));
        assert_eq!(id_of("adm:x:4:syslog,alice\n", "alice"), None);
    }

    #[test]
    fn a_group_may_be_a_number() {
        assert_eq!(group_id("4294967294"), Some(4_294_967_294));
        assert_eq!(group_id("no group has this name"), None);
    }
}
