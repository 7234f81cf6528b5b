//! Any octets for a state file.
#![no_main]

#[path = "../../tests/holds/state_file.rs"]
mod state_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    state_file::holds(octets);
});
