//! The files that a configuration consists of, and the patterns that name them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

/// Most names of a directory that are looked at.
const MAX_NAMES: usize = 10_000;
/// Most files that a pattern may stand for.
pub(super) const MAX_MATCHES: usize = 1_000;

/// Where files come from.
pub trait Files {
    /// The octets of a file, at most `limit` of them. Of an included file `regular` is demanded: a
    /// pipe would never end.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, path: &Path, limit: u64, regular: bool) -> io::Result<Vec<u8>>;

    /// The names in a directory.
    ///
    /// # Errors
    /// It cannot be read, or there are very many.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// A path that is the same for the same file, to tell cycles by.
    fn identity(&self, path: &Path) -> PathBuf;
}

/// This host's files.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, limit: u64, regular: bool) -> io::Result<Vec<u8>> {
        // Asked before it is opened: opening a pipe waits for its writer.
        if regular && !path.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut octets = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut octets)?;
        Ok(octets)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in directory.read_dir()? {
            if names.len() == MAX_NAMES {
                return Err(io::Error::other("a directory of more than 10000 names"));
            }
            // Who has a name that is no text is not meant by a pattern of text.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn identity(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }
}

/// Whether a path has wildcards in it.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files that a pattern stands for, in the order of their names; one without wildcards stands for
/// itself, be there such a file or not.
///
/// # Errors
/// A directory cannot be read, or more than [`MAX_MATCHES`] fit.
pub(super) fn expand(files: &dyn Files, pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_str().unwrap_or_default();
        let Component::Normal(plain) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        if !is_pattern(text) {
            found.iter_mut().for_each(|path| path.push(plain));
            continue;
        }
        let mut next = Vec::new();
        for directory in &found {
            let listed = match directory.as_os_str().is_empty() {
                true => files.list(Path::new(".")),
                false => files.list(directory),
            };
            let mut names = match listed {
                Ok(names) => names,
                // One of several that fit, and no directory.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            names.retain(|name| fits(name, text));
            names.sort_unstable();
            next.extend(names.into_iter().map(|name| directory.join(name)));
            if next.len() > MAX_MATCHES {
                return Err(io::Error::other("more than 1000 files fit the pattern"));
            }
        }
        found = next;
    }
    Ok(found)
}

/// Whether a name fits a pattern of `*`, `?` and `[…]`; a dot at its beginning has to be in the
/// pattern too. Goes back to the last `*` alone, so it takes the product of both lengths at most.
fn fits(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut n, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(next) = fits_one(name[n], &pattern, p) {
            n += 1;
            p = next;
        } else if let Some((star_p, star_n)) = star {
            star = Some((star_p, star_n + 1));
            p = star_p + 1;
            n = star_n + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}

/// Where the pattern goes on if this character fits what is at `at`.
fn fits_one(character: char, pattern: &[char], at: usize) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => {
            // A `]` that comes first is a member.
            let from = at + 1;
            let negated = matches!(pattern.get(from), Some('!' | '^'));
            let first = from + usize::from(negated);
            let length = pattern.get(first + 1..)?.iter().position(|&c| c == ']');
            let Some(end) = length.map(|length| first + 1 + length) else {
                return (character == '[').then_some(at + 1);
            };
            let members = &pattern[first..end];
            let mut is_member = false;
            let mut index = 0;
            while index < members.len() {
                if members.get(index + 1) == Some(&'-') && index + 2 < members.len() {
                    is_member |= (members[index]..=members[index + 2]).contains(&character);
                    index += 3;
                } else {
                    is_member |= members[index] == character;
                    index += 1;
                }
            }
            (is_member != negated).then_some(end + 1)
        }
        &plain => (plain == character).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_as_in_a_shell() {
        for (name, pattern, expected) in [
            ("a.conf", "*.conf", true),
            ("a.conf", "*", true),
            (".a.conf", "*.conf", false),
            (".a.conf", ".*.conf", true),
            ("a.conf~", "*.conf", false),
            ("dns1.conf", "dns?.conf", true),
            ("dns12.conf", "dns?.conf", false),
            ("dns1.conf", "dns[0-3].conf", true),
            ("dns4.conf", "dns[0-3].conf", false),
            ("dns4.conf", "dns[!0-3].conf", true),
            ("dns].conf", "dns[]].conf", true),
            ("dns[.conf", "dns[.conf", true),
            ("abcabd", "*ab?", true),
            ("", "*", true),
            ("x", "", false),
        ] {
            assert_eq!(fits(name, pattern), expected, "{name} {pattern}");
        }
    }
}
