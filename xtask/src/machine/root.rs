//! The machine's files: packages, what is to be run, the modules of its kernel, and the first program,
//! which prepares the rest, starts the job and ends with the machine.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::BufWriter,
    path::Path,
};

use anyhow::{Context as _, bail};

use super::{Job, Kernel, OUTPUT, archive::Archive, packages};

/// Where the job's exit status is noted, beside its files.
pub(super) const STATUS: &str = "status";
/// What the first program itself needs; every Debian has the rest.
const PACKAGES: [&str; 4] = ["busybox-static", "iproute2", "kmod", "mount"];
/// How the job's files leave the machine.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// Where file systems are mounted, and where programs expect a folder.
const DIRECTORIES: [&str; 10] = [
    "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp", "/var/lib", "/var/log", "/var/tmp",
];
/// Folders that are never copied: what is built, and what was.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// Writes the machine's files as one archive.
pub(super) fn write(output: &Path, kernel: &Kernel, job: &Job<'_>) -> anyhow::Result<()> {
    let mut archive = Archive::default();
    packages::add(&mut archive, &[&PACKAGES, job.packages].concat())?;
    for directory in DIRECTORIES.iter().chain([&OUTPUT]) {
        archive.directory(Path::new(directory));
    }
    archive.directory(job.folder);
    kernel.add_modules(&mut archive, &[&MODULES, job.modules].concat())?;
    for (here, there) in &job.files {
        add(&mut archive, here, there)?;
    }
    archive.program(Path::new("/init"), first_program(job)?.into_bytes());
    File::create(output)
        .and_then(|file| archive.write(BufWriter::new(file)))
        .with_context(|| format!("cannot write {}", output.display()))
}

/// Adds a file, or a folder with all that is in it.
fn add(archive: &mut Archive, here: &Path, there: &Path) -> anyhow::Result<()> {
    let metadata = fs::metadata(here).with_context(|| format!("cannot read {}", here.display()))?;
    if !metadata.is_dir() {
        archive.copy(there, here.to_owned());
        return Ok(());
    }
    archive.directory(there);
    let entries = fs::read_dir(here).with_context(|| format!("cannot read {}", here.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        if LEFT_OUT.iter().all(|left_out| name != *left_out) {
            add(archive, &here.join(&name), &there.join(&name))?;
        }
    }
    Ok(())
}

/// The shell script that the kernel starts. The kernel's words and its own are on the first serial line,
/// the job's on the second, and the job's files on the disk.
///
/// A kernel's first program may open few files, and so may what it starts.
fn first_program(job: &Job<'_>) -> anyhow::Result<String> {
    let mut script = String::from(
        "#!/bin/sh
# The kernel panics if this ends.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8 RUST_BACKTRACE=1
mount -n -t proc proc /proc
mount -n -t sysfs sysfs /sys
mount -n -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -n -t devpts -o ptmxmode=666,gid=5,mode=620 devpts /dev/pts
mount -n -t tmpfs tmpfs /dev/shm
mount -n -t tmpfs -o mode=755 tmpfs /run
mount -n -t cgroup2 cgroup2 /sys/fs/cgroup
mount -n -t bpf bpf /sys/fs/bpf
mount -n -t tracefs tracefs /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
chmod 1777 /tmp /var/tmp /dev/shm
echo machine > /proc/sys/kernel/hostname
ip link set lo up
ulimit -H -n 1048576
",
    );
    for module in MODULES.iter().chain(job.modules) {
        writeln!(script, "modprobe {}", quote(module))?;
    }
    script.push_str("stty -F /dev/ttyS1 raw -echo\n");
    for (name, value) in job.environment {
        writeln!(script, "export {name}={}", quote(value))?;
    }
    writeln!(script, "cd {}", quote_path(job.folder)?)?;
    script.push_str("set +e\n");
    for word in job.command {
        write!(script, "{} ", quote(word))?;
    }
    write!(
        script,
        "</dev/null >/dev/ttyS1 2>&1
echo $? > /{STATUS}
cd /
tar -c -f /dev/vda {STATUS} {}
sync
busybox poweroff -f
sleep 60
",
        OUTPUT.trim_start_matches('/')
    )?;
    Ok(script)
}

fn quote_path(path: &Path) -> anyhow::Result<String> {
    match path.to_str() {
        Some(text) => Ok(quote(text)),
        None => bail!("{} is no text", path.display()),
    }
}

/// For the shell: as one word, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn words_of_the_command_stay_words() {
        let command = ["/packet", "--skip", "it's two words"].map(str::to_owned);
        let job = Job {
            name: "test",
            packages: &[],
            files: Vec::new(),
            modules: &["veth"],
            command: &command,
            folder: Path::new("/tests"),
            environment: &[("NAME".to_owned(), "a 'b'".to_owned())],
            limit: Duration::ZERO,
        };
        let script = first_program(&job).unwrap();
        assert!(script.contains("\n'/packet' '--skip' 'it'\\''s two words' </dev/null"));
        assert!(script.contains("\nexport NAME='a '\\''b'\\'''\n"));
        assert!(script.contains("\nmodprobe 'veth'\n"));
    }
}
