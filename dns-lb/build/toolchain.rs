//! Finds what builds the XDP program: a Rust compiler that has the sources of `core` (no compiler
//! ships a `core` for the BPF target) and a bpf-linker of the same LLVM.
//!
//! Shared by `dns-lb/build.rs` and `xtask`, so that `cargo build` accepts exactly what
//! `cargo xtask setup` brings. It only looks: it installs nothing and asks no network.

use std::{
    env,
    ffi::OsStr,
    fmt::{self, Display, Formatter},
    fs,
    io::BufRead as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Names a rustup toolchain, or the path of a sysroot, to be used instead of the search.
pub(crate) const OVERRIDE: &str = "DNS_LB_BPF_TOOLCHAIN";

/// What builds the program: a compiler and a linker that understands its bitcode.
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
}

impl Toolchain {
    /// The first pair that fits, in the order of [`compilers`] and [`linkers`].
    pub(crate) fn find() -> Result<Self, Missing> {
        let compilers = compilers();
        let linkers = linkers();
        for compiler in &compilers {
            if let Some(linker) = linkers.iter().find(|linker| linker.suits(compiler)) {
                return Ok(Self {
                    compiler: compiler.clone(),
                    linker: linker.path.clone(),
                });
            }
        }
        Err(match compilers.into_iter().next() {
            None => Missing::Compiler,
            Some(compiler) => Missing::Linker {
                compiler,
                found: linkers.into_iter().find_map(|found| found.llvm),
            },
        })
    }

    /// `tool` (`cargo`, `cargo-clippy`) of this toolchain, told to `verb` (`build`, `clippy`) the
    /// programs for a kernel of the given architecture and byte order (`little` or `big`).
    pub(crate) fn command(&self, tool: &str, verb: &str, arch: &str, endian: &str) -> Command {
        let triple = triple(endian);
        let linker_variable = format!(
            "CARGO_TARGET_{}_LINKER",
            triple.replace('-', "_").to_uppercase()
        );
        // aya-ebpf lays out the kernel's registers by this cfg; BTF needs the debug information.
        let flags = [
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
        ];
        let mut command = Command::new(self.compiler.tool(tool));
        command
            .args([verb, "--quiet", "--package", "dns-lb-ebpf", "--bins"])
            .args([
                "--features",
                "program",
                "--target",
                triple,
                "-Z",
                "build-std=core",
            ])
            .env("CARGO", self.compiler.tool("cargo"))
            .env("RUSTC", self.compiler.tool("rustc"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env(linker_variable, &self.linker)
            // A wrapper is of the host's compiler: `cargo clippy` sets one, sccache the other.
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        if !self.compiler.nightly {
            // Lets a stable compiler take `-Z`. For this child only: crates of the host probe it.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

/// The target for a kernel of this byte order.
pub(crate) fn triple(endian: &str) -> &'static str {
    if endian == "big" {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    }
}

/// A Rust compiler with its cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) sysroot: PathBuf,
    /// As `rustc -vV` says it: `1.96.0`, `1.97.0-nightly`.
    pub(crate) release: String,
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
    nightly: bool,
}

impl Compiler {
    /// The compiler below `sysroot`, unless there is none or it is older than the workspace asks.
    pub(crate) fn at(sysroot: &Path) -> Option<Self> {
        let output = Command::new(sysroot.join("bin/rustc"))
            .arg("-vV")
            .output()
            .ok()?;
        let told = String::from_utf8(output.stdout).ok()?;
        let compiler = Self::parse(sysroot, &told)?;
        let fits = compiler.tool("cargo").is_file() && is_recent(&compiler.release);
        fits.then_some(compiler)
    }

    /// Reads the output of `rustc -vV`.
    fn parse(sysroot: &Path, told: &str) -> Option<Self> {
        let field = |name| told.lines().find_map(|line| line.strip_prefix(name));
        let release = field("release: ")?.to_owned();
        let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        let nightly = release.contains("nightly") || release.contains("dev");
        Some(Self {
            sysroot: sysroot.to_owned(),
            release,
            llvm,
            nightly,
        })
    }

    /// Path of one of its programs.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    fn has_sources(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
    }
}

impl Display for Compiler {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "rustc {} (LLVM {}) in {}",
            self.release,
            self.llvm,
            self.sysroot.display()
        )
    }
}

/// Why the program cannot be built. The remedy is always `cargo xtask setup`.
pub(crate) enum Missing {
    Compiler,
    /// `found` is the LLVM of the bpf-linker that is there, which does not suit.
    Linker {
        compiler: Compiler,
        found: Option<u32>,
    },
}

impl Display for Missing {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => match env::var(OVERRIDE) {
                Ok(name) => write!(
                    out,
                    "{OVERRIDE}={name} is no Rust toolchain of {} or newer with the sources of `core`",
                    env!("CARGO_PKG_RUST_VERSION")
                ),
                Err(_) => write!(
                    out,
                    "no Rust compiler of {} or newer with the sources of `core` is installed",
                    env!("CARGO_PKG_RUST_VERSION")
                ),
            },
            Self::Linker {
                compiler,
                found: Some(found),
            } => {
                write!(
                    out,
                    "bpf-linker is built for LLVM {found}, which does not fit {compiler}"
                )
            }
            Self::Linker {
                compiler,
                found: None,
            } => {
                write!(out, "no bpf-linker that fits {compiler} is installed")
            }
        }
    }
}

/// Compilers that have the sources of `core`, best first: the one that the operator names and no
/// other; else rustup's nightlies, then the distribution's (Debian's rustc-web).
pub(crate) fn compilers() -> Vec<Compiler> {
    let sysroots = match env::var(OVERRIDE) {
        Ok(path) if Path::new(&path).is_absolute() => vec![PathBuf::from(path)],
        Ok(name) => {
            let with_host = format!("{name}-{}-", env::consts::ARCH);
            rustup_toolchains(|found| found == name || found.starts_with(&with_host))
        }
        Err(_) => {
            let system = ["/usr", "/usr/local"].map(PathBuf::from);
            nightlies().into_iter().chain(system).collect()
        }
    };
    let compilers = sysroots.iter().filter_map(|sysroot| Compiler::at(sysroot));
    compilers.filter(Compiler::has_sources).collect()
}

/// Sysroots of rustup's nightlies, newest first, whether or not they have the sources.
pub(crate) fn nightlies() -> Vec<PathBuf> {
    rustup_toolchains(|name| name.starts_with("nightly"))
}

/// Sysroots of rustup's toolchains of certain names.
///
/// Read from rustup's directory, since asking `rustup` itself may make it download something.
fn rustup_toolchains(wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let dir = home("RUSTUP_HOME", ".rustup").map(|home| home.join("toolchains"));
    let Some(entries) = dir.and_then(|dir| fs::read_dir(dir).ok()) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(OsStr::to_str)
                .is_some_and(&wanted)
        })
        .collect();
    // `nightly-x86_64-…` sorts after `nightly-2026-…`: reversed, the undated one comes first.
    paths.sort_unstable_by(|one, other| other.cmp(one));
    paths
}

/// A bpf-linker that starts.
struct Linker {
    path: PathBuf,
    /// Major version of its LLVM; `None` if the file does not tell.
    llvm: Option<u32>,
}

impl Linker {
    fn at(path: PathBuf) -> Option<Self> {
        // A link to a library that has gone shows itself here.
        let starts = Command::new(&path)
            .arg("--version")
            .output()
            .ok()?
            .status
            .success();
        let llvm = linked_llvm(&fs::read(&path).ok()?);
        starts.then_some(Self { path, llvm })
    }

    /// Another LLVM does not read the compiler's bitcode, or not all of it.
    fn suits(&self, compiler: &Compiler) -> bool {
        self.llvm == Some(compiler.llvm)
    }
}

/// Every bpf-linker in `PATH` and in cargo's own directory, which need not be in `PATH`.
fn linkers() -> Vec<Linker> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_bin = home("CARGO_HOME", ".cargo").map(|dir| dir.join("bin"));
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in env::split_paths(&path).chain(cargo_bin) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs.into_iter()
        .filter_map(|dir| Linker::at(dir.join("bpf-linker")))
        .collect()
}

/// The major version of the LLVM that an executable is linked with.
///
/// bpf-linker has no option that tells it. A dynamically linked one names the shared library
/// (`libLLVM.so.22.1`); a static one carries the producer that LLVM writes into bitcode
/// (`LLVM22.1.8`).
fn linked_llvm(executable: &[u8]) -> Option<u32> {
    let mut producer = None;
    let mut rest = executable;
    // `skip_until` is a `memchr`: build scripts are not optimised, and the file has 40 MB.
    while rest.skip_until(b'L').is_ok_and(|skipped| skipped > 0) {
        if let Some(tail) = rest.strip_prefix(b"LVM.so.".as_slice()) {
            return leading_number(tail);
        }
        if let Some(tail) = rest.strip_prefix(b"LVM".as_slice()) {
            producer = producer.or_else(|| leading_number(tail));
        }
    }
    producer
}

/// The number that `text` begins with, if a dot follows.
fn leading_number(text: &[u8]) -> Option<u32> {
    let dot = text.iter().position(|octet| !octet.is_ascii_digit())?;
    let number = str::from_utf8(&text[..dot]).ok()?.parse().ok()?;
    (text[dot] == b'.').then_some(number)
}

/// Whether a release (`1.96.0`, `1.97.0-nightly`) is the one that the workspace asks for, or newer.
pub(crate) fn is_recent(release: &str) -> bool {
    fn version(text: &str) -> Option<(u32, u32)> {
        let mut parts = text.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    }
    version(release) >= version(env!("CARGO_PKG_RUST_VERSION"))
}

/// The directory that a variable names, else the one of this name in the user's home.
fn home(variable: &str, default: &str) -> Option<PathBuf> {
    let named = env::var_os(variable).map(PathBuf::from);
    named.or_else(|| Some(env::home_dir()?.join(default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_rustc_tells() {
        let told = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let compiler = Compiler::parse(Path::new("/opt/rust"), told).expect("well-formed");
        assert_eq!(compiler.release, "1.97.0-nightly");
        assert_eq!(compiler.llvm, 22);
        assert!(compiler.nightly);
        assert_eq!(
            Compiler::parse(Path::new("/opt/rust"), "rustc 1.97.0\n"),
            None
        );
    }

    #[test]
    fn older_compilers_are_refused() {
        assert!(is_recent(concat!(env!("CARGO_PKG_RUST_VERSION"), ".0")));
        assert!(is_recent("1.100.0-nightly"));
        assert!(is_recent("2.0.0"));
        assert!(!is_recent("1.9.0"));
        assert!(!is_recent("1.85.0"));
        assert!(!is_recent("unknown"));
    }

    #[test]
    fn llvm_of_a_linker_is_read_from_its_file() {
        let dynamic = b"\0LLVM 23 builds\0LLVM19.1.0\0libLLVM.so.22.1\0";
        assert_eq!(
            linked_llvm(dynamic),
            Some(22),
            "the shared library counts first"
        );
        assert_eq!(
            linked_llvm(b"\0LLVM0700\0LLVM21.1.3-rust-1.94.0\0"),
            Some(21)
        );
        assert_eq!(linked_llvm(b"\0LLVM\0LLLVM9.0"), Some(9));
        assert_eq!(linked_llvm(b"\x7fELF LLVM0700 LLVM22"), None);
        assert_eq!(linked_llvm(b""), None);
    }
}
