//! What figures were measured on, and how they are put together.

use std::{env, fs, time::Duration};

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

/// How long to wait before a program is asked again how things are. In an emulated machine waiting takes
/// no time of ours, and starting a program does.
pub(crate) fn pause() -> Duration {
    match env::var_os("DNS_LB_EMULATED") {
        Some(_) => Duration::from_millis(50),
        None => Duration::from_millis(10),
    }
}

/// Whether the kernel is of an older series than this. One that does not say so is none.
#[must_use]
pub fn kernel_is_before(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|number| number.trim().parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(this), Some(series)) => (this, series) < (major, minor),
        _ => false,
    }
}

/// What a report says of a figure that is to be reached.
#[must_use]
pub fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "MISSED" }
}

/// A median and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// A quarter of the samples are at most this.
    pub lower: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub upper: f64,
}

impl Quartiles {
    /// Those of at least one sample.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        Self {
            lower: at(1),
            median: at(2),
            upper: at(3),
        }
    }
}
