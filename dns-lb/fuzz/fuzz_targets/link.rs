//! Any frame off the link while a probe through the VIP is under way, and the reply in it.
#![no_main]

#[path = "../../tests/holds/link.rs"]
mod link;
#[path = "../../tests/holds/reply.rs"]
mod reply;
#[path = "../../tests/holds/through_vip.rs"]
mod through_vip;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    link::holds(octets);
});
