//! The file that holds the secret of the flow hash.

use std::{
    fs::{self, OpenOptions},
    hash::Hasher as _,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use dns_lb_common::{DerivedKey, HashKey};
use siphasher::sip::SipHasher13;

/// Why there is no hash key.
#[derive(Debug, thiserror::Error)]
pub enum HashKeyError {
    /// The file could not be read or made.
    #[error(
        "cannot {operation} the hash key file {path}: {reason}{}",
        remedy(operation, reason)
    )]
    File {
        /// "read" or "create".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} is not a hash key: it must hold 32 hexadecimal digits and nothing else; copy it \
         from another balancer, or remove it to have a new one made"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// What to do about a file that cannot be had. The key is a secret, so this is what an ordinary user
/// who starts the agent meets first.
fn remedy(operation: &str, error: &io::Error) -> &'static str {
    match (operation, error.kind()) {
        ("create", io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            "; make it as root, 32 hexadecimal digits that the agent's user may read, or set \
             hash_key_file to another place"
        }
        (_, io::ErrorKind::PermissionDenied) => {
            "; the agent needs root, or a file that its user may read"
        }
        _ => "",
    }
}

/// What the program multiplies by, from the secret: the SipHash-1-3 of one counter after the other.
/// It is the same on every balancer, and in every version, that has the secret.
pub(super) fn derive(key: &HashKey) -> DerivedKey {
    let [first, second] = key.words;
    let word = |counter: u32| {
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(&counter.to_le_bytes());
        hasher.finish()
    };
    let mut flow = [0; 8];
    for (counter, pair) in (2..).zip(flow.chunks_exact_mut(2)) {
        let word = word(counter);
        pair.copy_from_slice(&[word as u32, (word >> 32) as u32]);
    }
    DerivedKey {
        name: [word(0), word(1) | 1],
        flow,
    }
}

/// Reads the key; makes a random one, readable by root alone, if there is no file.
///
/// # Errors
///
/// If the file cannot be read or made, or holds anything but 32 hexadecimal digits.
pub fn load_or_create_hash_key(path: &Path) -> Result<HashKey, HashKeyError> {
    if let Some(key) = load_hash_key(path)? {
        return Ok(key);
    }
    let key = HashKey {
        words: rand::random(),
    };
    match create(path, &key) {
        Ok(()) => Ok(key),
        Err(reason) => Err(HashKeyError::File {
            operation: "create",
            path: path.to_owned(),
            reason,
        }),
    }
}

/// Reads the key; `None` if there is no file.
///
/// # Errors
///
/// If the file cannot be read, or holds anything but 32 hexadecimal digits.
pub fn load_hash_key(path: &Path) -> Result<Option<HashKey>, HashKeyError> {
    match fs::read(path) {
        Ok(text) => parse(&text)
            .map(Some)
            .ok_or_else(|| HashKeyError::Malformed {
                path: path.to_owned(),
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(reason) => Err(HashKeyError::File {
            operation: "read",
            path: path.to_owned(),
            reason,
        }),
    }
}

/// What tells one key from another, and nothing of either: 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(key: &HashKey) -> String {
    let [first, second] = key.words;
    let mut hasher = SipHasher13::new_with_keys(first, second);
    hasher.write(b"dns-lb fingerprint");
    format!("{:016x}", hasher.finish())
}

/// Writes the key beside its place and moves it there: a crash leaves no half of a key.
fn create(path: &Path, key: &HashKey) -> io::Result<()> {
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        fs::create_dir_all(directory)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        let [first, second] = key.words;
        writeln!(file, "{first:016x}{second:016x}")?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        // Best effort: the error that matters is the one above.
        let _ = fs::remove_file(&draft);
    }
    written
}

fn parse(text: &[u8]) -> Option<HashKey> {
    let digits = str::from_utf8(text.trim_ascii()).ok()?;
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let (first, second) = digits.split_at(16);
    let word = |digits| u64::from_str_radix(digits, 16).ok();
    Some(HashKey {
        words: [word(first)?, word(second)?],
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_made_key_is_private_random_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below").join("hash.key");
        let made = load_or_create_hash_key(&path).unwrap();
        assert_eq!(load_or_create_hash_key(&path).unwrap(), made);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let other = load_or_create_hash_key(&directory.path().join("other.key")).unwrap();
        assert_ne!(made, other);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "a draft is left"
        );
    }

    #[test]
    fn a_fingerprint_stays_and_tells_keys_apart() {
        let of = |words| fingerprint(&HashKey { words });
        // Another version must not call the same key by another name.
        assert_eq!(of([1, 2]), "38a15f0afded2fea");
        assert_ne!(of([1, 2]), of([2, 1]));
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hash.key");
        for text in [
            "",
            "0123",
            "0123456789abcdef0123456789abcdeg",
            "+123456789abcdef0123456789abcdef",
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(
                load_or_create_hash_key(&path),
                Err(HashKeyError::Malformed { .. })
            ));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "0123456789abcdefFEDCBA9876543210\n").unwrap();
        let key = load_or_create_hash_key(&path).unwrap();
        assert_eq!(key.words, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    }
}
