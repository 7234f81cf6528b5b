//! Any reply to the query of a probe.
#![no_main]

#[path = "../../tests/holds/reply.rs"]
mod reply;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    reply::holds(octets);
});
