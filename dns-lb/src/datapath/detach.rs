//! Taking a pinned link off its interface at once.
//!
//! Removing the pin does that too, but later: the kernel lets go of an unpinned link in a work
//! queue (`bpf_link_put` in `kernel/bpf/syscall.c`). Until then the interface refuses a program in
//! the other mode, and packets are still steered by maps that are no longer pinned. aya has no call
//! for it, so this speaks to the kernel itself.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_OBJ_GET` of `enum bpf_cmd` in `linux/bpf.h`.
const BPF_OBJ_GET: libc::c_int = 7;
/// `BPF_LINK_DETACH`, since Linux 5.9.
const BPF_LINK_DETACH: libc::c_int = 34;

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_DETACH` reads.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// Detaches the link that is pinned here. Its pin stays; the link is of no use any more.
pub(super) fn detach(pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let get = ObjectGet {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    let fd = bpf(BPF_OBJ_GET, &get)?;
    // SAFETY: the call above has opened it, and nobody else knows it.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let detach = LinkDetach {
        link_fd: link.as_raw_fd().cast_unsigned(),
    };
    bpf(BPF_LINK_DETACH, &detach).map(drop)
}

/// `bpf(2)`, for commands that only read their attributes.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads this many octets at this address, and for `BPF_OBJ_GET` a C string
    // whose owner the caller holds on to; it writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attributes,
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as libc::c_int)
}
