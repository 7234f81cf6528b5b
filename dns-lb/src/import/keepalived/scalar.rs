//! Single values, and what is wrong with them.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use super::{ast::At, tree::Statement};
use crate::{config, import::problem::Problems};

/// The one argument of a statement.
pub(super) fn one<'s>(
    statement: &'s Statement,
    what: &str,
    problems: &mut Problems,
) -> Option<&'s str> {
    match statement.arguments() {
        [argument] if !argument.is_empty() => Some(argument),
        [] | [_] => {
            let keyword = statement.keyword();
            problems.add(
                &statement.place,
                format!("{keyword} says nothing"),
                format!("write {what} after it"),
            );
            None
        }
        [_, more @ ..] => {
            let what = format!(
                "{} is not understood after {}",
                quoted(&more[0]),
                statement.keyword()
            );
            problems.add(
                &statement.place,
                what,
                "remove it, or put it on a line of its own",
            );
            None
        }
    }
}

/// A statement without arguments, or with `on`, `off`, `true`, `false`, `yes` or `no`.
pub(super) fn flag(statement: &Statement, problems: &mut Problems) -> Option<bool> {
    if statement.arguments().is_empty() {
        return Some(true);
    }
    match one(statement, "on or off", problems)? {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        other => {
            let what = format!(
                "{} {} is neither on nor off",
                statement.keyword(),
                quoted(other)
            );
            problems.add(&statement.place, what, "write on or off");
            None
        }
    }
}

/// A whole number within a range.
pub(super) fn number(
    statement: &Statement,
    range: RangeInclusive<u32>,
    problems: &mut Problems,
) -> Option<u32> {
    let text = one(statement, "a number", problems)?;
    let number = text.parse().ok().filter(|number| range.contains(number));
    if number.is_none() {
        let what = format!("{} {} is out of range", statement.keyword(), quoted(text));
        let remedy = format!("write a number from {} to {}", range.start(), range.end());
        problems.add(&statement.place, what, remedy);
    }
    number
}

/// Longest time that is understood; keepalived's own limit is about an hour.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A time in seconds, which may have a fraction, from `shortest` on.
pub(super) fn timer(
    statement: &Statement,
    shortest: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    let text = one(statement, "a number of seconds", problems)?;
    let duration = seconds(text).filter(|duration| (shortest..=LONGEST).contains(duration));
    if duration.is_none() {
        let what = format!("{} {} is no time", statement.keyword(), quoted(text));
        problems.add(
            &statement.place,
            what,
            "write seconds such as 5 or 0.5, at most 86400",
        );
    }
    duration
}

/// Seconds with up to six digits after the point, to the microsecond.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let seconds: u64 = match whole {
        "" => 0,
        whole => whole.parse().ok()?,
    };
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Duration::from_secs(seconds).checked_add(Duration::from_micros(micros))
}

/// A host's address, by our configuration's rules.
pub(super) fn address(
    statement: &Statement,
    text: &str,
    problems: &mut Problems,
) -> Option<IpAddr> {
    match config::host_address(text) {
        Ok(address) => Some(address),
        Err(wrong) => {
            let what = format!("{} {wrong}", quoted(text));
            problems.add(&statement.place, what, "write a unicast address of a host");
            None
        }
    }
}

/// A port.
pub(super) fn port(statement: &Statement, text: &str, problems: &mut Problems) -> Option<u16> {
    let port = text.parse().ok().filter(|&port| port > 0);
    if port.is_none() {
        let what = format!("{} is no port", quoted(text));
        problems.add(
            &statement.place,
            what,
            "write a port from 1 to 65535, such as 53",
        );
    }
    port
}

/// Notes a value that a block may state once: keepalived takes the last, mostly, but who wrote two
/// meant one.
pub(super) fn set<T>(
    slot: &mut Option<At<T>>,
    statement: &Statement,
    value: Option<T>,
    problems: &mut Problems,
) {
    if let Some(before) = slot {
        let what = format!("{} is on {} already", statement.keyword(), before.place);
        problems.add(&statement.place, what, "leave one of the two");
    }
    if let Some(value) = value {
        *slot = Some(At {
            place: statement.place.clone(),
            value,
        });
    }
}

/// Something from the file, in quotes, and not at any length.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction() {
        for (text, micros) in [
            ("5", 5_000_000),
            ("0.25", 250_000),
            (".5", 500_000),
            ("1.", 1_000_000),
            ("2.7182818", 2_718_281),
        ] {
            assert_eq!(seconds(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", ".", "-1", "5s", "1.2.3", "99999999999999999999"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
