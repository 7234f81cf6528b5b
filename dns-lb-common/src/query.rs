//! What a query over UDP asks, as far as the balancer counts it: behind Direct Routing nobody else
//! on the balancer sees it.

/// Declares the counted types once: the enum with its numbers, and the counters.
macro_rules! queries {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal => $field:ident,)+) => {
        /// The type of a question (RFC 1035, 3.2.2 and 3.2.3), as it is counted.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum QueryType {
            $($(#[doc = $doc])+ $variant,)+
            /// Any other type.
            Other,
        }

        impl QueryType {
            /// All of them, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ Self::Other];

            /// The counted type of a QTYPE.
            #[inline(always)]
            #[must_use]
            pub const fn of(number: u16) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    _ => Self::Other,
                }
            }

            /// The name of its counter.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)+
                    Self::Other => "other",
                }
            }
        }

        /// Queries over UDP by type, one field for each [`QueryType`] in its order, and EDNS.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct QueryCounters {
            $($(#[doc = $doc])+ pub $field: u64,)+
            /// Any other type.
            pub other: u64,
            /// Queries of any type that carry EDNS: an OPT record (RFC 6891) right after the
            /// question.
            pub edns: u64,
        }
        crate::layout!(QueryCounters, size = 8 * (QueryType::ALL.len() + 1), align = 8);

        impl QueryCounters {
            /// Queries of this type.
            #[must_use]
            pub const fn get(&self, query_type: QueryType) -> u64 {
                match query_type {
                    $(QueryType::$variant => self.$field,)+
                    QueryType::Other => self.other,
                }
            }

            /// The counter of queries of this type.
            #[must_use]
            pub const fn get_mut(&mut self, query_type: QueryType) -> &mut u64 {
                match query_type {
                    $(QueryType::$variant => &mut self.$field,)+
                    QueryType::Other => &mut self.other,
                }
            }
        }
    };
}

queries! {
    /// An IPv4 address (RFC 1035).
    A = 1 => a,
    /// An IPv6 address (RFC 3596).
    Aaaa = 28 => aaaa,
    /// A name for an address (RFC 1035).
    Ptr = 12 => ptr,
    /// Where mail goes (RFC 1035).
    Mx = 15 => mx,
    /// Text (RFC 1035).
    Txt = 16 => txt,
    /// Where a service is (RFC 2782).
    Srv = 33 => srv,
    /// How an HTTPS origin is reached (RFC 9460).
    Https = 65 => https,
    /// Everything (RFC 1035; RFC 8482).
    Any = 255 => any,
}
