//! The XDP program that the far end of a veth pair needs before it takes what XDP sends.
//!
//! Frames that `XDP_TX` or `XDP_REDIRECT` puts on a veth device are dropped without a word unless
//! its peer runs an XDP program too (seen on Linux 6.1 and 6.18). This one passes everything. It
//! is loaded by the bare system call: the lab must compile where no BPF toolchain is.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

/// `BPF_PROG_LOAD` of `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_LINK_CREATE` of `enum bpf_cmd`.
const LINK_CREATE: libc::c_int = 28;
/// `BPF_PROG_TYPE_XDP`
const PROG_TYPE_XDP: u32 = 6;
/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;
/// `BPF_F_XDP_HAS_FRAGS`: the program takes frames in several buffers. On a veth whose peer has a
/// large MTU there is none without.
const HAS_FRAGS: u32 = 1 << 5;
/// `XDP_FLAGS_DRV_MODE`: in the driver, where the frames would otherwise be lost.
const DRIVER_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`: opcode, registers, offset and immediate of two `struct bpf_insn`.
static PASS: [u64; 2] = [
    u64::from_ne_bytes([0xb7, 0, 0, 0, 2, 0, 0, 0]),
    u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]),
];

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The start of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The program on one interface, until dropped.
pub(crate) struct PassLink {
    _link: OwnedFd,
}

/// Attaches the program to an interface of the calling thread's network namespace.
pub(crate) fn attach(interface: &str) -> Result<PassLink> {
    let program = bpf(
        PROG_LOAD,
        &ProgLoad {
            prog_type: PROG_TYPE_XDP,
            insn_cnt: PASS.len() as u32,
            insns: PASS.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: HAS_FRAGS,
        },
    )
    .context("loading the XDP program that passes everything")?;
    let link = bpf(
        LINK_CREATE,
        &LinkCreate {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: if_nametoindex(interface)?,
            attach_type: ATTACH_XDP,
            flags: DRIVER_MODE,
        },
    )
    .with_context(|| format!("attaching an XDP program to {interface}"))?;
    Ok(PassLink { _link: link })
}

/// Calls bpf(2) for a command that returns a file descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` octets of an attribute structure that it knows as
    // `command`'s (both callers' are), and the memory that its addresses name is static.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new file descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
