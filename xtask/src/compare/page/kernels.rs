//! The test suites on several kernels.

use super::{NOT_MEASURED, table::Table};
use crate::compare::record::{Kernel, LeftOut, Records};

pub(super) fn section(records: &Records) -> String {
    let mut text = "## Kernels\n\n".to_owned();
    let places = records.places();
    let kernels: Vec<&Kernel> = places
        .iter()
        .filter_map(|(_, place)| place.kernel.as_ref())
        .collect();
    if kernels.is_empty() {
        return format!("{text}{NOT_MEASURED}\n");
    }
    text += "The packet and lab tests, on the host's kernel and on Debian's in the emulated machine. That one is slow:\n\
             there dns-lb is optimised, tests that send a load send a tenth of it, and those named below are left out.\n\n";
    let mut header = vec!["suite"];
    let mut suites: Vec<&str> = Vec::new();
    for kernel in &kernels {
        header.push(&kernel.kernel);
        suites.extend(kernel.suites.iter().map(|suite| suite.name.as_str()));
    }
    let mut seen = std::collections::BTreeSet::new();
    suites.retain(|name| seen.insert(*name));
    let mut table = Table::new(&header);
    for name in suites {
        let mut cells = vec![name.to_owned()];
        for kernel in &kernels {
            let suite = kernel.suites.iter().find(|suite| suite.name == name);
            cells.push(suite.map_or("not run".to_owned(), |suite| {
                let mut cell = format!("{} passed", suite.passed);
                if suite.failed > 0 {
                    cell += &format!(", **{} failed**", suite.failed);
                }
                if !suite.left_out.is_empty() {
                    cell += &format!(", {} left out", suite.left_out.len());
                }
                cell
            }));
        }
        table.row(&cells);
    }
    text += &table.or(NOT_MEASURED);
    let mut lines = String::new();
    for kernel in &kernels {
        for suite in &kernel.suites {
            let of = format!("{}, {}", kernel.kernel, suite.name);
            for test in &suite.failures {
                lines += &format!("- {of}: **failed**: `{test}`\n");
            }
            for LeftOut { test, why } in &suite.left_out {
                lines += &format!("- {of}: left out: `{test}`: {why}\n");
            }
        }
    }
    if !lines.is_empty() {
        text += &format!("\n{lines}");
    }
    if kernels.iter().any(|kernel| kernel.quick) {
        text += "\n**Quick**: only the packet tests.\n";
    }
    text
}
