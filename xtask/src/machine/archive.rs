//! A cpio archive in the "newc" format, which the kernel unpacks into its first root file system.
//!
//! The format: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`. What is in it belongs
//! to root, whoever writes it, but for files of packages.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// Names and data are filled up to a multiple of so many octets.
const ALIGNMENT: usize = 4;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// What a mode has its type in.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// User and group, by number.
type Owner = [u32; 2];
const ROOT: Owner = [0, 0];

/// What is to be in an archive: by path, so that a directory comes before what is in it.
#[derive(Default)]
pub(super) struct Archive {
    entries: BTreeMap<PathBuf, Entry>,
}

enum Entry {
    Directory,
    /// A program that is made here.
    Program(Vec<u8>),
    /// A file of this machine's, with its permissions; read when the archive is written.
    Copy(PathBuf),
    /// The same, with its owner.
    CopyOwned(PathBuf),
    /// A symbolic link, and what it says.
    Link(PathBuf),
}

impl Archive {
    /// Adds a directory, and those that it is in. What is there already stays.
    pub(super) fn directory(&mut self, path: &Path) {
        for directory in path.ancestors() {
            self.entries
                .entry(directory.to_owned())
                .or_insert(Entry::Directory);
        }
    }

    /// Adds a program, and the directories that it is in.
    pub(super) fn program(&mut self, path: &Path, contents: Vec<u8>) {
        self.insert(path, Entry::Program(contents));
    }

    /// Adds a file of this machine's, and the directories that it is in.
    pub(super) fn copy(&mut self, path: &Path, from: PathBuf) {
        self.insert(path, Entry::Copy(from));
    }

    /// The same, and whose it is here, its copy is there.
    pub(super) fn copy_owned(&mut self, path: &Path, from: PathBuf) {
        self.insert(path, Entry::CopyOwned(from));
    }

    /// Adds a symbolic link, and the directories that it is in.
    pub(super) fn link(&mut self, path: &Path, target: PathBuf) {
        self.insert(path, Entry::Link(target));
    }

    fn insert(&mut self, path: &Path, entry: Entry) {
        if let Some(directory) = path.parent() {
            self.directory(directory);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    pub(super) fn write(&self, mut output: impl Write) -> io::Result<()> {
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let name = path.strip_prefix("/").unwrap_or(path);
            if name.as_os_str().is_empty() {
                continue;
            }
            let name = name.as_os_str().as_bytes();
            let mut write = |mode, owner, contents: &[u8]| {
                write_entry(&mut output, number, mode, owner, name, contents)
            };
            match entry {
                Entry::Directory => write(DIRECTORY | 0o755, ROOT, &[]),
                Entry::Program(contents) => write(FILE | 0o755, ROOT, contents),
                Entry::Copy(from) => {
                    let (mode, _, contents) = read(from)?;
                    write(FILE | mode, ROOT, &contents)
                }
                Entry::CopyOwned(from) => {
                    let (mode, owner, contents) = read(from)?;
                    write(FILE | mode, owner, &contents)
                }
                Entry::Link(target) => write(LINK | 0o777, ROOT, target.as_os_str().as_bytes()),
            }?;
        }
        write_entry(&mut output, 0, 0, ROOT, TRAILER, &[])?;
        output.flush()
    }
}

/// A file's permissions, owner and contents; the error says which file.
fn read(path: &Path) -> io::Result<(u32, Owner, Vec<u8>)> {
    let read = || {
        let metadata = fs::metadata(path)?;
        let owner = [metadata.uid(), metadata.gid()];
        Ok((metadata.mode() & 0o7777, owner, fs::read(path)?))
    };
    read().map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}

/// `number` is the inode's: no two are links of one file.
fn write_entry(
    output: &mut impl Write,
    number: u32,
    mode: u32,
    [user, group]: Owner,
    name: &[u8],
    contents: &[u8],
) -> io::Result<()> {
    let links = 1 + u32::from(mode & TYPE == DIRECTORY);
    let size = u32::try_from(contents.len()).map_err(io::Error::other)?;
    let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
    // After the links: time of change, size, the device's two numbers, those of the device that a
    // device file is, size of the name with the zero that ends it, check sum (unused).
    let fields = [
        number, mode, user, group, links, 0, size, 0, 0, 0, 0, name_size, 0,
    ];
    let mut header = String::from("070701");
    for field in fields {
        header.push_str(&format!("{field:08X}"));
    }
    output.write_all(header.as_bytes())?;
    output.write_all(name)?;
    let filled = header.len() + name.len() + 1;
    output.write_all(&[0; ALIGNMENT][..1 + padding(filled)])?;
    output.write_all(contents)?;
    output.write_all(&[0; ALIGNMENT][..padding(contents.len())])
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT) - length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_parents_come_first() {
        let mut archive = Archive::default();
        archive.program(Path::new("/a/b"), b"octets".to_vec());
        let mut written = Vec::new();
        archive.write(&mut written).unwrap();

        assert_eq!(written.len() % ALIGNMENT, 0);
        let find = |octets: &[u8]| {
            let mut windows = written.windows(octets.len());
            windows.position(|window| window == octets).unwrap()
        };
        // A header has 110 octets, and a file's data begins where a multiple of four is.
        assert_eq!(find(b"a\0"), 110);
        assert_eq!(find(b"a/b\0"), 112 + 110);
        assert_eq!(find(b"octets"), 112 + 116);
        assert_eq!(written.len(), 112 + 116 + 8 + 124);
    }
}
