//! The octets of a frame, and the only place where their bounds are checked.

use core::marker::PhantomData;

/// A type that any octets of a packet are a value of.
///
/// # Safety
///
/// The type has alignment 1, no padding, and every bit pattern is valid.
pub unsafe trait Wire: Copy {}

/// A 16-bit field in network byte order (RFC 791, appendix B).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Be16([u8; 2]);

// SAFETY: an array of octets.
unsafe impl Wire for Be16 {}

impl Be16 {
    /// The value.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

/// A frame from its first octet, the Ethernet destination, to its last before the FCS.
pub struct Frame<'a> {
    start: *mut u8,
    end: *mut u8,
    octets: PhantomData<&'a mut [u8]>,
}

impl<'a> Frame<'a> {
    /// A frame over the octets from `start` up to `end`.
    ///
    /// # Safety
    ///
    /// Either `start..end` is memory that may be read and written for `'a` by nobody else, or both
    /// are an XDP context's `data` and `data_end`, whose every use the verifier checks.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(start: *mut u8, end: *mut u8) -> Self {
        Self {
            start,
            end,
            octets: PhantomData,
        }
    }

    /// A frame over a buffer.
    #[must_use]
    pub fn from_slice(octets: &'a mut [u8]) -> Self {
        let range = octets.as_mut_ptr_range();
        Self {
            start: range.start,
            end: range.end,
            octets: PhantomData,
        }
    }

    /// Length in octets.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.end as usize - self.start as usize
    }

    /// Whether the frame has no octet at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header at `offset`, if the frame holds the whole of it.
    #[inline(always)]
    #[must_use]
    pub fn header<T: Wire>(&self, offset: usize) -> Option<&T> {
        let at = self.checked::<T>(offset)?;
        // SAFETY: `checked` found all octets of T inside the frame; T has alignment 1 and no
        // invalid value; `&self` keeps writers away.
        Some(unsafe { &*at })
    }

    /// The header at `offset`, to write.
    #[inline(always)]
    #[must_use]
    pub fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let at = self.checked::<T>(offset)?;
        // SAFETY: as in `header`; `&mut self` makes this the only reference.
        Some(unsafe { &mut *at })
    }

    /// The one bounds check. In a form that the verifier knows: packet pointer plus offset,
    /// compared with the end of the packet. Offsets are a few hundred at the most and the kernel
    /// places no packet at the end of the address space, so the sums do not wrap.
    #[inline(always)]
    fn checked<T: Wire>(&self, offset: usize) -> Option<*mut T> {
        const { assert!(align_of::<T>() == 1) };
        let first = self.start.wrapping_add(offset);
        let end = first.wrapping_add(size_of::<T>());
        (end <= self.end).then_some(first.cast())
    }
}
