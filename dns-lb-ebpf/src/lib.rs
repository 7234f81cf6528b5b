//! What happens to a packet: parsing, finding the service, choosing a backend, rewriting the frame.
//!
//! Pure: no helper is called and no map is touched except through [`steer::Maps`], so the host
//! compiles the very code that the kernel runs. `main.rs` supplies the maps, counts, and answers
//! the kernel.
#![no_std]

pub mod ethernet;
pub mod frame;
pub mod hash;
pub mod ipv4;
pub mod steer;
pub mod udp;
