//! Ranges of an array's entries, thousands with each call. The VIP hash of a thousand VIPs has
//! millions of slots: a call for each of them takes seconds, in which a starting agent is blind.

use std::{io, ops::Range};

use aya::{
    Pod,
    maps::{Array, MapData, MapError},
    sys::SyscallError,
};

use super::syscall::lookup_batch;

/// Entries read with one call. The kernel copies them without a break, in well under a
/// millisecond, and more would hardly be faster.
const BATCH: u32 = 4_096;

/// Reads these entries of an array, in their order. It is no snapshot: who writes meanwhile may be
/// seen in some of them.
///
/// # Errors
///
/// If the array is shorter, or the kernel refuses.
pub fn read_range<T: Pod + Default>(
    array: &Array<MapData, T>,
    places: Range<u32>,
) -> Result<Vec<T>, MapError> {
    let max_entries = array.len();
    if places.end > max_entries {
        return Err(MapError::OutOfBounds {
            index: places.end - 1,
            max_entries,
        });
    }
    let mut values = Vec::with_capacity(places.len());
    let mut keys = vec![0; places.len().min(BATCH as usize)];
    for first in places.clone().step_by(BATCH as usize) {
        let begin = values.len();
        let count = (places.end - first).min(BATCH) as usize;
        values.resize(begin + count, T::default());
        let (keys, batch) = (&mut keys[..count], &mut values[begin..]);
        lookup_batch(array, first, keys, batch)
            .and_then(|read| verify(first, &keys[..read], count))
            .map_err(|io_error| SyscallError {
                call: "bpf_map_lookup_batch",
                io_error,
            })?;
    }
    Ok(values)
}

/// That the kernel has told of all these entries and no others. An array has no gaps.
fn verify(first: u32, keys: &[u32], count: usize) -> io::Result<()> {
    if keys.len() == count && (first..).zip(keys).all(|(place, &key)| place == key) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} of {count} entries from {first} on came back, or others in their place",
        keys.len()
    )))
}
