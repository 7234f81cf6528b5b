//! What figures were measured on, and how they are put together.

use std::fs;

/// Processor and kernel, as they name themselves, a line each.
#[must_use]
pub fn describe() -> Vec<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let name = names.clone().next().unwrap_or(": unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        format!(
            "{} × {}",
            names.count(),
            name.trim_start_matches([' ', '\t', ':'])
        ),
        format!("Linux {}", kernel.trim()),
    ]
}

/// What a report says of a figure that is to be reached.
#[must_use]
pub fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "MISSED" }
}
