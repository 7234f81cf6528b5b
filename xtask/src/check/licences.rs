//! Licences and duplicates of the dependencies, held against `deny.toml` without the network and
//! without cargo-deny, which reads the same file.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::process::{cargo, run_quietly};

/// What is read of `deny.toml`; cargo-deny knows more keys.
#[derive(Deserialize)]
struct Policy {
    graph: Graph,
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    multiple_versions: Level,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Allow,
    Warn,
    Deny,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

pub(super) fn check() -> anyhow::Result<()> {
    let policy = fs::read_to_string("deny.toml").context("cannot read deny.toml")?;
    let policy: Policy = toml::from_str(&policy).context("deny.toml")?;
    let packages = dependencies(&policy.graph.targets)?;

    let mut faults: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            Some(format!(
                "{} {}: {}",
                package.name,
                package.version,
                fault(package, &policy.licenses.allow)?
            ))
        })
        .collect();
    let duplicates = duplicates(&packages);
    match policy.bans.multiple_versions {
        Level::Allow => {}
        Level::Warn => {
            for duplicate in &duplicates {
                println!("check: more than one version of {duplicate}");
            }
        }
        Level::Deny => faults.extend(
            duplicates
                .into_iter()
                .map(|it| format!("more than one version of {it}")),
        ),
    }
    if !faults.is_empty() {
        bail!("deny.toml does not allow:\n  {}", faults.join("\n  "));
    }
    println!(
        "check: {} packages have a licence that deny.toml allows",
        packages.len()
    );
    Ok(())
}

/// Every package that is built for one of these targets, with every feature of ours.
fn dependencies(targets: &[String]) -> anyhow::Result<Vec<Package>> {
    let mut command = cargo();
    command.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--all-features",
    ]);
    for target in targets {
        command.args(["--filter-platform", target]);
    }
    let metadata: Metadata = serde_json::from_str(&run_quietly(&mut command)?)
        .context("cannot read the output of cargo metadata")?;
    Ok(metadata.packages)
}

/// What is wrong with a package's licence, if anything.
fn fault(package: &Package, allowed: &[String]) -> Option<String> {
    let Some(licence) = &package.license else {
        return Some("names no SPDX licence".to_owned());
    };
    // Lax: old packages write `MIT/Apache-2.0`.
    let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{licence}: {}", error.reason)),
    };
    let allows = expression.evaluate(|wanted| allowed.contains(&wanted.to_string()));
    (!allows).then(|| licence.clone())
}

/// `name 1.0.0, 2.0.0` for each package that is there in several versions.
fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
        .into_iter()
        .map(|(name, versions)| format!("{name}: {}", versions.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, licence: Option<&str>) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            license: licence.map(Into::into),
        }
    }

    #[test]
    fn licences_are_evaluated_as_expressions() {
        let allowed = [
            "MIT".to_owned(),
            "Apache-2.0 WITH LLVM-exception".to_owned(),
        ];
        let fault = |licence| fault(&package("crate", "1.0.0", licence), &allowed);
        assert_eq!(fault(Some("MIT")), None);
        assert_eq!(
            fault(Some("GPL-3.0-only OR MIT")),
            None,
            "one of a choice is enough"
        );
        assert_eq!(
            fault(Some("MIT/Apache-2.0")),
            None,
            "the old form of a choice"
        );
        assert_eq!(fault(Some("Apache-2.0 WITH LLVM-exception")), None);
        assert!(
            fault(Some("MIT AND Apache-2.0")).is_some(),
            "all of a conjunction must be allowed"
        );
        assert!(
            fault(Some("Apache-2.0")).is_some(),
            "the exception is part of the licence"
        );
        assert!(fault(Some("my own")).is_some());
        assert!(fault(None).is_some());
    }

    #[test]
    fn duplicates_are_named_with_their_versions() {
        let packages = [
            package("a", "1.0.0", None),
            package("b", "1.0.0", None),
            package("a", "2.0.0", None),
        ];
        assert_eq!(duplicates(&packages), ["a: 1.0.0, 2.0.0"]);
    }
}
