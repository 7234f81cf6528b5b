//! `keepalived.conf`: what it says of IPVS. VRRP stays with keepalived.
//!
//! `files` and `lexer` make statements of files, `parse` types of statements, `translate` our model
//! of types. The grammar and the defaults are those of keepalived 2.4: `keepalived.conf(5)`, and for
//! what it leaves open `lib/parser.c` and `keepalived/check/`.

mod asides;
mod ast;
mod command;
mod dig;
mod files;
mod group;
mod lexer;
mod parse;
mod parse_check;
mod scalar;
#[cfg(test)]
mod tests;
mod translate;
mod tree;

use std::path::Path;

pub use self::files::{Disk, Files};
use super::{Place, Problems, write};
use crate::config::Config;

/// What is wanted beside the translation itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Translate when checks run, too. Otherwise our own timing holds, which is faster by far.
    pub keep_timing: bool,
}

/// What a configuration has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Our configuration, with comments; valid.
    pub text: String,
    /// Services in it.
    pub services: usize,
    /// Backends in it.
    pub backends: usize,
    /// Remarks in it.
    pub remarks: usize,
}

/// Translates a `keepalived.conf` and what it includes.
///
/// # Errors
/// Everything in it that is not understood, or has no translation.
pub fn import(file: &Path, files: &dyn Files, options: Options) -> Result<Imported, Problems> {
    let mut problems = Problems::default();
    let input = lexer::read(file, files, &mut problems);
    let configuration = parse::parse(&input.statements, &mut problems);
    let whole = Place {
        file: file.into(),
        file_number: 0,
        line: 0,
    };
    let document = translate::translate(&configuration, &input, &whole, options, &mut problems);
    problems.into_result()?;

    let text = write::write(&document);
    match Config::parse(&text) {
        Ok(config) => Ok(Imported {
            services: config.services.len(),
            backends: config.services.iter().map(|s| s.backends.len()).sum(),
            remarks: document.remarks(),
            text,
        }),
        Err(faults) => {
            let mut problems = Problems::default();
            for fault in faults.as_slice() {
                let what = format!(
                    "its translation would be wrong: {}: {}",
                    fault.key, fault.problem
                );
                let remedy = format!("allowed is {}", fault.allowed);
                problems.add(&whole, what, remedy);
            }
            Err(problems)
        }
    }
}
