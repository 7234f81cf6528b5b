//! Installed Debian packages: which a package needs, and the files of all of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::archive::Archive;
use crate::process::run_quietly;

/// What is for people to read, or for a desktop, and what only packages' scripts use.
const LEFT_OUT: [&str; 14] = [
    "/usr/lib/x86_64-linux-gnu/perl",
    "/usr/share/bash-completion",
    "/usr/share/bug",
    "/usr/share/common-licenses",
    "/usr/share/doc",
    "/usr/share/doc-base",
    "/usr/share/fonts",
    "/usr/share/info",
    "/usr/share/javascript",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/perl",
    "/usr/share/zoneinfo",
];

/// Where packages' scripts make links to one of several programs that do the same.
const ALTERNATIVES: &str = "/etc/alternatives";

/// What the packages' scripts make in `/etc`.
const MADE_BY_SCRIPTS: [&str; 6] = [
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
];

/// Adds all files of these packages, of those that they depend on, and of those that every Debian has.
pub(super) fn add(archive: &mut Archive, names: &[&str]) -> anyhow::Result<()> {
    let listed = run_quietly(Command::new("dpkg-query").args(["-W", "-f", FORMAT]))
        .context("only on Debian are there packages to take programs from")?;
    let packages = Installed::parse(&listed).closure(names)?;
    let files = run_quietly(
        Command::new("dpkg-query")
            .arg("-L")
            .args(packages)
            .env("LC_ALL", "C"),
    )?;
    // Also said there: which files another package has moved away, and that a package has none.
    let paths = files.lines().filter(|line| line.starts_with('/'));
    let mut folders = Folders::default();
    for path in paths.map(Path::new) {
        if !LEFT_OUT.iter().any(|folder| path.starts_with(folder)) {
            folders.add(archive, path)?;
        }
        // Packages' scripts make keys beside their configuration. Those for TLS are the host's own.
        let is_configuration =
            path.parent() == Some(Path::new("/etc")) && path != Path::new("/etc/ssl");
        if is_configuration && path.is_dir() {
            folders.add_all(archive, path)?;
        }
    }
    for path in MADE_BY_SCRIPTS {
        folders.add(archive, Path::new(path))?;
    }
    for folder in [ALTERNATIVES, "/usr/bin", "/usr/sbin"] {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))? {
            let path = entry?.path();
            let target = fs::read_link(&path).unwrap_or_default();
            if folder == ALTERNATIVES || target.starts_with(ALTERNATIVES) {
                folders.add(archive, &path)?;
            }
        }
    }
    Ok(())
}

/// Where folders really are: `/bin` is a link to one.
#[derive(Default)]
struct Folders(HashMap<PathBuf, PathBuf>);

impl Folders {
    fn add(&mut self, archive: &mut Archive, path: &Path) -> anyhow::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            // Packages' files can be removed, or never have been unpacked, by the operator's wish.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => bail!("cannot look at {}: {error}", path.display()),
        };
        let place = self.real(parent)?.join(name);
        if metadata.is_dir() {
            archive.directory(&place);
        } else if metadata.is_symlink() {
            archive.link(&place, fs::read_link(path)?);
        } else if metadata.is_file() {
            archive.copy_owned(&place, path.to_owned());
        }
        Ok(())
    }

    /// Adds a folder with all that is in it.
    fn add_all(&mut self, archive: &mut Archive, folder: &Path) -> anyhow::Result<()> {
        self.add(archive, folder)?;
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.add_all(archive, &entry.path())?;
            } else {
                self.add(archive, &entry.path())?;
            }
        }
        Ok(())
    }

    fn real(&mut self, folder: &Path) -> anyhow::Result<&Path> {
        if !self.0.contains_key(folder) {
            let real = fs::canonicalize(folder)
                .with_context(|| format!("cannot look at {}", folder.display()))?;
            self.0.insert(folder.to_owned(), real);
        }
        Ok(&self.0[folder])
    }
}

/// A line a package, its fields apart by tabs.
const FORMAT: &str = "${Package}\t${binary:Package}\t${db:Status-Status}\t${Essential}\t\
                      ${Pre-Depends}, ${Depends}\t${Provides}\n";

/// What is installed, by name.
struct Installed<'a> {
    packages: BTreeMap<&'a str, Package<'a>>,
    /// Names that packages stand in for.
    provided: BTreeMap<&'a str, &'a str>,
}

struct Package<'a> {
    /// With its architecture, where that has to be said.
    full_name: &'a str,
    essential: bool,
    /// Each one of several that do.
    needs: Vec<Vec<&'a str>>,
}

impl<'a> Installed<'a> {
    /// Reads lines as of [`FORMAT`].
    fn parse(listed: &'a str) -> Self {
        let mut packages = BTreeMap::new();
        let mut provided = BTreeMap::new();
        for line in listed.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let &[name, full_name, "installed", essential, needs, provides] = fields.as_slice()
            else {
                continue;
            };
            let needs = needs
                .split(',')
                .map(|need| need.split('|').filter_map(bare).collect::<Vec<_>>())
                .filter(|need| !need.is_empty());
            packages.insert(
                name,
                Package {
                    full_name,
                    essential: essential == "yes",
                    needs: needs.collect(),
                },
            );
            provided.extend(provides.split(',').filter_map(bare).map(|of| (of, name)));
        }
        Self { packages, provided }
    }

    /// The full names of these packages, of all that they need, and of the essential ones.
    fn closure(&self, names: &[&str]) -> anyhow::Result<BTreeSet<&'a str>> {
        let mut open: Vec<&str> = self
            .packages
            .iter()
            .filter(|(_, package)| package.essential)
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            let found = self.find(name).with_context(|| {
                format!("the package {name} is not installed: run `cargo xtask setup`")
            })?;
            open.push(found);
        }
        let mut done = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !done.insert(name) {
                continue;
            }
            for need in &self.packages[name].needs {
                let found = need.iter().find_map(|name| self.find(name));
                open.push(found.with_context(|| {
                    format!("{name} needs {}, which is not installed", need.join(" or "))
                })?);
            }
        }
        Ok(done
            .into_iter()
            .map(|name| self.packages[name].full_name)
            .collect())
    }

    /// The package of this name, or that provides it.
    fn find(&self, name: &str) -> Option<&'a str> {
        self.packages
            .get_key_value(name)
            .map(|(name, _)| *name)
            .or_else(|| self.provided.get(name).copied())
    }
}

/// The name in what may also have a version in parentheses and an architecture after a colon.
fn bare(word: &str) -> Option<&str> {
    word.split(['(', ':'])
        .next()
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "base\tbase\tinstalled\tyes\t, \t\n\
        server\tserver\tinstalled\t\tlibc (>= 2.36), , old | mailer, tool:any\t\n\
        libc\tlibc:amd64\tinstalled\t\t, server\t\n\
        post\tpost\tinstalled\t\t, \tmailer (= 3), other\n\
        tool\ttool\tinstalled\t\t, \t\n\
        old\told\tconfig-files\t\t, \t\n\
        stranger\tstranger\tinstalled\t\t, \t\n";

    #[test]
    fn packages_bring_what_they_depend_on() {
        let closure = Installed::parse(LISTED).closure(&["server"]).unwrap();
        let expected = ["base", "libc:amd64", "post", "server", "tool"];
        assert_eq!(closure, BTreeSet::from(expected));
    }

    #[test]
    fn a_package_that_is_not_installed_is_named() {
        let error = Installed::parse(LISTED).closure(&["old"]).unwrap_err();
        assert!(error.to_string().contains("package old is not"), "{error}");
        let broken = "server\tserver\tinstalled\t\tgone | lost\t\n";
        let error = Installed::parse(broken).closure(&["server"]).unwrap_err();
        assert!(error.to_string().contains("gone or lost"), "{error}");
    }
}
