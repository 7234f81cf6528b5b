//! What the tests of the servers share.

use std::{fs, path::Path};

/// Raises the soft limit on descriptors as far as anybody may: a thousand clients live in the same
/// process as the server here, and 1,024 is a common limit.
pub(super) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a local `rlimit`, which the call fills.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(got, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a local `rlimit`, which the call only reads.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0);
}

/// Asserts that a file of the repository is as `wanted` makes it of what is there; with `UPDATE_DOCS`
/// set, makes it so.
pub(super) fn assert_shipped(path: &str, wanted: impl FnOnce(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let shipped = fs::read_to_string(&file).unwrap_or_default();
    let wanted = wanted(&shipped);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, wanted).expect("a file that can be written");
        return;
    }
    assert!(
        shipped == wanted,
        "{path} is not up to date: run this test again with UPDATE_DOCS=1"
    );
}
