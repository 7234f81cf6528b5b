//! Any octets on a connection to the admin socket.
#![no_main]

#[path = "../../tests/holds/admin_http.rs"]
mod admin_http;
#[path = "../../tests/holds/two_services.rs"]
mod two_services;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    admin_http::holds(octets);
});
