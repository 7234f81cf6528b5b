//! What happens to a packet: parsing, finding the service, choosing a backend, rewriting the frame.
//!
//! Pure: no helper is called and no map is touched except through [`steer::Maps`], so the host
//! compiles the very code that the kernel runs. `main.rs` supplies the maps, counts, and answers
//! the kernel.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod dns;
pub mod ethernet;
pub mod frame;
pub mod hash;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod network;
pub mod ports;
pub mod steer;
pub mod tcp;
pub mod udp;
