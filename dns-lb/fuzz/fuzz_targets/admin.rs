//! Any bodies of requests to the admin socket.
#![no_main]

#[path = "../../tests/holds/admin.rs"]
mod admin;
#[path = "../../tests/holds/two_services.rs"]
mod two_services;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    admin::holds(octets);
});
