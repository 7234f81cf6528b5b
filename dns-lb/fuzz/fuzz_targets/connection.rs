//! Any segments of a server that is asked by TCP through the VIP.
#![no_main]

#[path = "../../tests/holds/connection.rs"]
mod connection;
#[path = "../../tests/holds/through_vip.rs"]
mod through_vip;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    connection::holds(octets);
});
