//! `bpf(2)`, for the few commands that aya has no call for.

use std::{
    cell::Cell,
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr,
};

use aya::{
    Pod,
    maps::{Array, IterableMap as _, MapData},
};

/// `BPF_MAP_LOOKUP_ELEM` of `enum bpf_cmd` in `linux/bpf.h`.
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
/// `BPF_OBJ_GET`.
const BPF_OBJ_GET: libc::c_int = 7;
/// `BPF_OBJ_GET_INFO_BY_FD`.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// `BPF_MAP_LOOKUP_BATCH`, since Linux 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
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

/// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_link_info`, as far as it is the same for all links, and what one of XDP has beyond.
#[repr(C)]
#[derive(Default)]
struct XdpLinkInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    padding: u32,
    /// 0: it is on no interface any more.
    ifindex: u32,
    unused: u32,
}

/// The part of `union bpf_attr` that `BPF_MAP_LOOKUP_ELEM` reads.
#[repr(C)]
struct Lookup {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that `BPF_MAP_LOOKUP_BATCH` reads.
#[repr(C)]
struct LookupBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    /// How many entries to read. The kernel writes here how many it has read.
    count: Cell<u32>,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Opens what is pinned here.
pub(super) fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let get = ObjectGet {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the kernel reads a C string at the address, which lives through the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &get) }?;
    // SAFETY: the call above has opened it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a link off its interface.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let detach = LinkDetach {
        link_fd: link.as_raw_fd().cast_unsigned(),
    };
    // SAFETY: the command reads a descriptor and no address.
    unsafe { bpf(BPF_LINK_DETACH, &detach) }.map(drop)
}

/// The interface that an XDP link is on; 0: on none any more, since somebody has detached it or the
/// interface is gone.
pub(super) fn link_interface(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut found = XdpLinkInfo::default();
    let info = ObjectInfo {
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        info_len: size_of::<XdpLinkInfo>() as u32,
        info: (&raw mut found) as u64,
    };
    // SAFETY: the kernel writes at most `info_len` octets at the address, which are all integers of
    // a local structure that lives through the call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &info) }?;
    Ok(found.ifindex)
}

/// The first word of an array's first value, which is of this size: aya reads only values whose
/// layout it is told. `None` if the value is shorter.
pub(super) fn first_word(map: BorrowedFd<'_>, value_size: u32) -> io::Result<Option<u32>> {
    let key = 0_u32;
    let mut value = vec![0_u8; value_size as usize];
    let lookup = Lookup {
        map_fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads the array's key, four octets, and writes a value of this map's size,
    // which the caller knows, into a buffer as long; both live through the call.
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &lookup) }?;
    Ok(value.first_chunk().map(|word| u32::from_ne_bytes(*word)))
}

/// Reads as many entries of an array as there is room for, from this place on, and the keys of them;
/// tells how many there were. `keys` and `values` are of one length.
pub(super) fn lookup_batch<T: Pod>(
    array: &Array<MapData, T>,
    first: u32,
    keys: &mut [u32],
    values: &mut [T],
) -> io::Result<usize> {
    let count = keys.len().min(values.len());
    // A batch goes on behind a key; for an array that is the place before (`array_map_get_next_key`
    // in `kernel/bpf/arraymap.c`).
    let before = first.checked_sub(1);
    let mut last = 0_u32;
    let batch = LookupBatch {
        in_batch: before.as_ref().map_or(ptr::null(), ptr::from_ref) as u64,
        out_batch: (&raw mut last) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: Cell::new(count as u32),
        map_fd: array.map().fd().as_fd().as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: an `Array` has been found to have keys of four octets and values of the size of `T`.
    // The kernel reads a key at `in_batch`, unless that is null, and writes one at `out_batch`; it
    // writes at most `count` keys and values, for which there is room, and every pattern of octets
    // is a `T`. All of that lives through the call.
    let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &batch) };
    match result {
        // The array ends here: what there was of it has been read.
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(batch.count.get() as usize),
    }
}

/// The call.
///
/// # Safety
///
/// The attributes are those that the command reads, in a [`Cell`] where it writes, and the addresses in them are good for what the
/// command reads or writes there.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads this many octets at this address; what it does by them is the
    // caller's promise.
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
