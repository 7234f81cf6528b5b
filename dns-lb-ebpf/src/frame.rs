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
    /// The field for a value.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be_bytes())
    }

    /// The field as one word in the order of memory. Matching it is one comparison, where matching
    /// the field is one for each octet.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u16 {
        u16::from_ne_bytes(self.0)
    }

    /// The value.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

// SAFETY: an octet.
unsafe impl Wire for u8 {}

// SAFETY: an array of octets.
unsafe impl<const N: usize> Wire for [u8; N] {}

/// A frame from its first octet, the Ethernet destination, to its last before the FCS; of a frame
/// in several buffers (`xdp.frags`), the first buffer.
pub struct Frame<'a> {
    start: *mut u8,
    end: *mut u8,
    octets: PhantomData<&'a mut [u8]>,
}

/// A frame to read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    start: *mut u8,
    end: *mut u8,
    octets: PhantomData<&'a [u8]>,
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

    /// The frame to read.
    #[inline(always)]
    #[must_use]
    pub const fn view(&self) -> View<'_> {
        View {
            start: self.start,
            end: self.end,
            octets: PhantomData,
        }
    }

    /// The frame to read, and never to write again.
    #[inline(always)]
    #[must_use]
    pub const fn into_view(self) -> View<'a> {
        View {
            start: self.start,
            end: self.end,
            octets: PhantomData,
        }
    }

    /// The same frame, for a callee to have.
    #[inline(always)]
    #[must_use]
    pub const fn reborrow(&mut self) -> Frame<'_> {
        Frame {
            start: self.start,
            end: self.end,
            octets: PhantomData,
        }
    }

    /// The header at `offset`, to write.
    #[inline(always)]
    #[must_use]
    pub fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let at = self.view().checked::<T>(offset)?;
        // SAFETY: as in `View::header`; `&mut self` makes this the only reference.
        Some(unsafe { &mut *at })
    }

    /// The header at `offset`, to write, which the frame is known to hold.
    ///
    /// # Safety
    ///
    /// [`View::header`] has found as many octets there.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn known_header_mut<T: Wire>(&mut self, offset: usize) -> &mut T {
        let at = self.start.wrapping_add(offset).cast::<T>();
        // SAFETY: as in `header_mut`.
        unsafe { &mut *at }
    }
}

impl<'a> View<'a> {
    /// Length in octets.
    #[inline(always)]
    #[must_use]
    pub fn len(self) -> usize {
        self.end as usize - self.start as usize
    }

    /// Whether the frame has no octet at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// What comes from `offset` on.
    #[inline(always)]
    #[must_use]
    pub fn skip(self, offset: usize) -> Self {
        Self {
            start: self.start.wrapping_add(offset),
            ..self
        }
    }

    /// The header at `offset`, if the frame holds the whole of it.
    #[inline(always)]
    #[must_use]
    pub fn header<T: Wire>(self, offset: usize) -> Option<&'a T> {
        let at = self.checked::<T>(offset)?;
        // SAFETY: `checked` found all octets of T inside the frame; T has alignment 1 and no
        // invalid value; this view keeps writers away.
        Some(unsafe { &*at })
    }

    /// The one bounds check. In a form that the verifier knows: packet pointer plus offset,
    /// compared with the end of the packet. Offsets stay below 64 Ki and the kernel places no packet
    /// at the end of the address space, so the sums do not wrap.
    #[inline(always)]
    fn checked<T: Wire>(self, offset: usize) -> Option<*mut T> {
        const { assert!(align_of::<T>() == 1) };
        let first = self.start.wrapping_add(offset);
        // The compiler would otherwise move a part of the sum to the other side of the comparison,
        // and the verifier takes no arithmetic on the end of the packet.
        let end = opaque(first.wrapping_add(size_of::<T>()) as u64);
        if end > self.end as u64 {
            return None;
        }
        // SAFETY: the kernel has no packet, and Rust no slice, at address 0.
        unsafe { core::hint::assert_unchecked(!first.is_null()) };
        Some(first.cast())
    }
}

/// The same number, of which the compiler does not know where it comes from.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[must_use]
pub fn opaque(mut number: u64) -> u64 {
    // SAFETY: moves a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// The same number, of which the compiler does not know where it comes from.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub const fn opaque(number: u64) -> u64 {
    number
}

/// The same number, of which the verifier knows nothing any more: otherwise it follows each value,
/// or each way that led to it, by itself through all that comes after. `unknown` is any number that
/// it does not know.
#[inline(always)]
#[must_use]
pub fn forgotten(number: usize, unknown: usize) -> usize {
    number ^ unknown ^ opaque(unknown as u64) as usize
}
