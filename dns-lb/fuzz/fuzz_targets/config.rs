//! Any text for a configuration.
#![no_main]

#[path = "../../tests/holds/config.rs"]
mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    config::holds(octets);
});
