//! Taking a pinned link off its interface at once.
//!
//! Removing the pin does that too, but later: the kernel lets go of an unpinned link in a work
//! queue (`bpf_link_put` in `kernel/bpf/syscall.c`). Until then the interface refuses a program in
//! the other mode, and packets are still steered by maps that are no longer pinned. aya has no call
//! for it, so this speaks to the kernel itself.

use std::{io, os::fd::AsFd as _, path::Path};

use super::syscall::{detach_link, open_pin};

/// Detaches the link that is pinned here. Its pin stays; the link is of no use any more.
pub(super) fn detach(pin: &Path) -> io::Result<()> {
    detach_link(open_pin(pin)?.as_fd())
}
