//! What the emulated machine has for files: the tests, what they run and read, the modules they need,
//! and the first program, which prepares the rest and ends with the machine.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::{archive::Archive, package::Kernel};
use crate::setup;

/// What the machine's last line begins with; the exit status of the tests follows.
pub(super) const END: &str = "kernel: the tests ended with status ";

/// Programs that the tests run, and those that the first program is written for. The `insmod` within
/// busybox has the kernel complain about a compressed module first.
const COMMANDS: [&str; 4] = ["busybox", "insmod", "ip", "bpftool"];
/// Drivers that the tests need and Debian's kernels do not have built in.
const MODULES: [&str; 1] = ["veth"];
/// Where file systems are mounted, and where the tests may write. All files are in memory, so nothing
/// is laid over the latter, which the tests' own data may be below.
const DIRECTORIES: [&str; 7] = ["/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/var/lib"];
/// Where the tests are in the machine.
const TESTS: &str = "/packet";

/// Writes the machine's files as one archive.
pub(super) fn write(
    output: &Path,
    kernel: &Kernel,
    tests: &Path,
    arguments: &[String],
) -> anyhow::Result<()> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(Path::new(directory));
    }

    let mut programs = vec![(tests.to_owned(), PathBuf::from(TESTS))];
    for name in COMMANDS {
        let path = setup::find_command(name).with_context(|| format!("there is no {name}"))?;
        programs.push((path, Path::new("/bin").join(name)));
    }
    let mut libraries = BTreeSet::new();
    for (here, there) in programs {
        libraries.extend(libraries_of(&here)?);
        archive.file(&there, read(&here)?);
    }
    for library in libraries {
        archive.file(&library, read(&library)?);
    }

    let mut modules = Vec::new();
    for module in MODULES {
        for file in kernel.modules(module)? {
            let name = file.file_name().context("a module has a name")?;
            let there = Path::new("/modules").join(name);
            archive.file(&there, read(&file)?);
            modules.push(there);
        }
    }

    // The tests find their data by where they were built.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this package lies in the workspace")?;
    let home = root.join("tests");
    archive.directory(&home);
    add_folder(&mut archive, &root.join("dns-lb-ebpf/fuzz/fixtures/frame"))?;

    archive.file(
        Path::new("/init"),
        first_program(&modules, &home, arguments)?.into_bytes(),
    );
    File::create(output)
        .and_then(|file| archive.write(BufWriter::new(file)))
        .with_context(|| format!("cannot write {}", output.display()))
}

/// The shell script that the kernel starts. The hosts that the tests make mount file systems of their
/// own on `/sys`, `/sys/fs/bpf`, `/run`, `/etc` and `/var/lib`.
fn first_program(modules: &[PathBuf], home: &Path, arguments: &[String]) -> anyhow::Result<String> {
    let mut script = String::from(
        "#!/bin/busybox sh
# The kernel panics if this ends.
set -e
export PATH=/bin
busybox mount -t devtmpfs devtmpfs /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t bpf bpf /sys/fs/bpf
",
    );
    for module in modules {
        writeln!(script, "/bin/insmod {}", quote_path(module)?)?;
    }
    writeln!(script, "cd {}", quote_path(home)?)?;
    script.push_str("set +e\n");
    script.push_str(TESTS);
    for argument in arguments {
        write!(script, " {}", quote(argument))?;
    }
    // The serial line is slower than the end.
    write!(
        script,
        "\necho \"{END}$?\"\nbusybox sleep 1\nbusybox poweroff -f\n"
    )?;
    Ok(script)
}

fn quote_path(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is no text", path.display()))?;
    Ok(quote(text))
}

/// For the shell: as one word, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The libraries that a program is linked with, and what loads them.
fn libraries_of(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("cannot run ldd")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    if !output.status.success() || printed.contains("not found") {
        bail!(
            "what {} is linked with is not clear: {printed}{complaint}",
            program.display()
        );
    }
    Ok(parse_libraries(&printed))
}

/// Each line is `NAME => PATH (ADDRESS)`, or without the arrow for what has no other name.
fn parse_libraries(printed: &str) -> Vec<PathBuf> {
    printed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// Adds the files of a folder, at the place that they have here.
fn add_folder(archive: &mut Archive, folder: &Path) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        archive.file(&path, read(&path)?);
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let printed = "\tlinux-vdso.so.1 (0x00007f36ba67f000)
\tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f36ba5cd000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f36ba681000)
";
        assert_eq!(
            parse_libraries(printed),
            [
                "/lib/x86_64-linux-gnu/libelf.so.1",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn arguments_are_one_word_each() {
        let arguments = ["--skip", "it's two words"].map(str::to_owned);
        let script = first_program(&[], Path::new("/tests"), &arguments).unwrap();
        assert!(script.contains("\n/packet '--skip' 'it'\\''s two words'\n"));
    }
}
