//! Any frame: the first octet says how the service chooses, the rest is the frame. Its end is the end
//! of an allocation, so that AddressSanitizer sees whoever reads on.
#![no_main]

#[path = "../../tests/one_backend/mod.rs"]
mod one_backend;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    if let Some((&choices, frame)) = octets.split_first() {
        one_backend::holds(choices, frame);
    }
});
