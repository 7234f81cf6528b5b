//! Points in time as the status document writes them.

use std::{fmt, str::FromStr, time::SystemTime};

use serde::{Deserialize, Serialize};

/// A point in time, to the millisecond. Written as RFC 3339, 5.6 has it, in UTC:
/// `2026-01-31T12:00:00.250Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String", extend("format" = "date-time")))]
pub struct Timestamp {
    milliseconds: jiff::Timestamp,
}

impl Timestamp {
    /// The present, by the clock of the system.
    #[must_use]
    pub fn now() -> Self {
        jiff::Timestamp::now().into()
    }

    /// Time from `self` to `later`; zero if the clock has been set back in between.
    #[must_use]
    pub fn until(self, later: Self) -> std::time::Duration {
        let duration = self.milliseconds.duration_until(later.milliseconds);
        duration.try_into().unwrap_or_default()
    }

    /// Seconds since the epoch, negative before it.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.milliseconds.as_millisecond() as f64 / 1e3
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        let truncated = jiff::Timestamp::from_millisecond(time.as_millisecond());
        Self {
            milliseconds: truncated.unwrap_or(time),
        }
    }
}

impl From<SystemTime> for Timestamp {
    /// Times after the year 9999 become its end.
    fn from(time: SystemTime) -> Self {
        jiff::Timestamp::try_from(time)
            .unwrap_or(jiff::Timestamp::MAX)
            .into()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.milliseconds)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn is_written_with_three_digits_in_utc() {
        let epoch = Timestamp::from(SystemTime::UNIX_EPOCH);
        assert_eq!(epoch.to_string(), "1970-01-01T00:00:00.000Z");
        let later = SystemTime::UNIX_EPOCH + Duration::new(951_782_400, 250_999_999);
        let later = Timestamp::from(later);
        assert_eq!(later.to_string(), "2000-02-29T00:00:00.250Z");
        assert_eq!(later.to_string().parse::<Timestamp>().unwrap(), later);
        assert_eq!(later.seconds(), 951_782_400.25);
        assert_eq!(epoch.until(later), Duration::from_millis(951_782_400_250));
        assert_eq!(later.until(epoch), Duration::ZERO);
    }
}
