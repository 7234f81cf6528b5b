//! Linker settings for the program; the host build of the library needs none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Lets LLVM read a u16, u32 or u64 from a packet in one instruction instead of octet by octet.
    // Sound: the kernel's verifier accepts misaligned packet access where the CPU does. It stands
    // here to hold for every way of building the program.
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("bpf") {
        println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
