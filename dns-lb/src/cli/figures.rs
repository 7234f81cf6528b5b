//! Figures and words in few characters, as a person reads them.

use std::time::Duration;

use crate::{
    api::status::{Backend, LastProbe},
    health::Health,
};

/// At most so many characters, none of which moves a terminal's cursor or turns the direction of
/// reading.
pub(super) fn fit(text: &str, width: usize) -> String {
    let mut printable: Vec<char> = text.chars().filter(|&c| is_printable(c)).collect();
    if printable.len() > width {
        printable.truncate(width.saturating_sub(1));
        if width > 0 {
            printable.push('…');
        }
    }
    printable.into_iter().collect()
}

fn is_printable(c: char) -> bool {
    // Unicode 16, 23.2: characters that have no width, or embed or override a direction.
    let is_formatting = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !c.is_control() && !is_formatting
}

/// A count in at most six characters: exact below a million, then to a tenth of a million, of a
/// thousand millions, and so on.
pub(super) fn short(count: u64) -> String {
    let units = [
        ("E", 1_000_000_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("T", 1_000_000_000_000),
        ("G", 1_000_000_000),
        ("M", 1_000_000),
    ];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{}.{}{unit}", count / size, count % size / (size / 10)),
        None => count.to_string(),
    }
}

/// A rate in at most six characters; one that is not known is `-`.
pub(super) fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        // Rare queries are not none.
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        // Saturates, as it should.
        Some(rate) => short(rate.round() as u64),
    }
}

/// A share, 0 to 1, in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

pub(super) fn round_trip(micros: u64) -> String {
    if micros < 1_000 {
        format!("{micros} us")
    } else {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    }
}

/// How long ago, in at most six characters: the two largest units.
pub(super) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        (1..100, _, _) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// What the probes say, so that nobody overlooks what is wrong.
pub(super) fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "DOWN",
    }
}

/// The newest probe of a backend.
pub(super) fn last_probe(backend: &Backend) -> String {
    match &backend.last_probe {
        None => "none yet".to_owned(),
        Some(probe) => outcome(probe),
    }
}

/// How a probe ended, and how long the reply took.
pub(super) fn outcome(probe: &LastProbe) -> String {
    match probe.rtt_us {
        None => probe.outcome.clone(),
        Some(rtt_us) => format!("{}, {}", probe.outcome, round_trip(rtt_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        for (count, expected) in [
            (0, "0"),
            (999_999, "999999"),
            (1_000_000, "1.0M"),
            (999_999_999, "999.9M"),
            (1_000_000_000, "1.0G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(count), expected);
        }
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3_599, "59m59s"),
            (86_399, "23h59m"),
            (99 * 86_400 + 86_399, "99d23h"),
            (20_000 * 86_400, "20000d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(round_trip(999), "999 us");
        assert_eq!(round_trip(12_345), "12.3 ms");
        for (per_second, expected) in [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(0.25), "0.2"),
            (Some(9.94), "9.9"),
            (Some(9.96), "10"),
            (Some(2_000.5), "2001"),
            (Some(999_999.4), "999999"),
            (Some(1e30), "18.4E"),
            (Some(-1.0), "0"),
        ] {
            assert_eq!(rate(per_second), expected);
        }
    }

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_left_out() {
        assert_eq!(
            fit("\u{1b}[31ma\r\nb\u{202e}c\u{9b}d\u{200b}", 20),
            "[31mabcd"
        );
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("abcd", 4), "abcd");
        assert_eq!(fit("abcd", 0), "");
    }
}
