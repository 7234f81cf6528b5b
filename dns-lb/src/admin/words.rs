//! Single values that an operator gives, checked where they come in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why an operator did something: 1 to 200 characters on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reason(String);

/// Why a text is no [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReason {
    /// It says nothing.
    #[error("a reason must not be empty: leave it out instead")]
    Empty,
    /// It has more characters than [`Reason::MAX_LENGTH`].
    #[error("a reason must not be longer than {} characters", Reason::MAX_LENGTH)]
    TooLong,
    /// It would break a line of the log or a terminal.
    #[error("a reason must not have control characters")]
    Control,
}

impl Reason {
    /// Most characters.
    pub const MAX_LENGTH: usize = 200;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reason {
    type Error = InvalidReason;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            Err(InvalidReason::Empty)
        } else if text.chars().count() > Self::MAX_LENGTH {
            Err(InvalidReason::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(InvalidReason::Control)
        } else {
            Ok(Self(text))
        }
    }
}

impl FromStr for Reason {
    type Err = InvalidReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A weight that the configuration could state too: 0 to 1000; 0 takes no new queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct Weight(u16);

/// Why a number is no [`Weight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a weight is a whole number from 0 to 1000")]
pub struct InvalidWeight;

impl Weight {
    const MAX: u16 = 1_000;

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = InvalidWeight;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        if number <= Self::MAX {
            Ok(Self(number))
        } else {
            Err(InvalidWeight)
        }
    }
}

impl FromStr for Weight {
    type Err = InvalidWeight;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: u16 = text.parse().map_err(|_| InvalidWeight)?;
        number.try_into()
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line_of_bounded_length() {
        let reason = |text: &str| text.parse::<Reason>();
        assert_eq!(reason("disk ä").unwrap().as_str(), "disk ä");
        assert!(reason(&"ä".repeat(200)).is_ok());
        assert_eq!(reason(&"x".repeat(201)), Err(InvalidReason::TooLong));
        for control in ["a\nb", "a\u{1b}[1m", "a\u{9b}", "\0a"] {
            assert_eq!(reason(control), Err(InvalidReason::Control), "{control:?}");
        }
        for empty in ["", "  "] {
            assert_eq!(reason(empty), Err(InvalidReason::Empty));
        }
        serde_json::from_str::<Reason>(r#""a\u0007""#).unwrap_err();
    }

    #[test]
    fn weights_are_those_of_the_configuration() {
        for good in ["0", "1", "1000"] {
            let weight: Weight = good.parse().unwrap();
            assert_eq!(weight.to_string(), good);
        }
        for bad in ["1001", "65536", "-1", "1.5", "", "configured"] {
            bad.parse::<Weight>().unwrap_err();
        }
        serde_json::from_str::<Weight>("1001").unwrap_err();
    }
}
