//! What is made of samples: a median between the smallest and the largest, and ratios of two.

use std::fmt;

/// A sample, or what is known of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) value: f64,
    pub(super) bound: Bound,
}

/// How a sample's value is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bound {
    /// It would have been less.
    AtMost,
    Exact,
    /// It would have been more.
    AtLeast,
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self {
            value,
            bound: Bound::Exact,
        }
    }
}

/// Smallest, median and largest of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) smallest: Sample,
    pub(super) median: Sample,
    pub(super) largest: Sample,
}

impl Spread {
    /// `None` without samples.
    pub(super) fn of<S: Into<Sample>>(samples: impl IntoIterator<Item = S>) -> Option<Self> {
        let mut sorted: Vec<Sample> = samples.into_iter().map(Into::into).collect();
        sorted.sort_by(|a, b| a.value.total_cmp(&b.value).then(a.bound.cmp(&b.bound)));
        let (&smallest, &largest) = (sorted.first()?, sorted.last()?);
        let lower = sorted[(sorted.len() - 1) / 2];
        let upper = sorted[sorted.len() / 2];
        let median = Sample {
            value: f64::midpoint(lower.value, upper.value),
            bound: upper.bound.max(lower.bound),
        };
        Some(Self {
            smallest,
            median,
            largest,
        })
    }

    /// How many times the other this is, where the samples of both belong together one by one.
    ///
    /// A sample that is a difference may be below 0 on a machine that is not quiet. What it is divided by
    /// is no ratio then, and leaving it out would favour the others: samples are not paired in that case.
    ///
    /// `None` if no two belong together, or as [`Spread::over`].
    pub(super) fn of_paired(these: &[f64], others: &[f64]) -> Option<Self> {
        let pairs = these.iter().zip(others);
        if pairs.clone().any(|(_, other)| *other <= 0.0) {
            let others = Self::of(others.iter().copied())?;
            return Self::of(these.iter().copied())?.over(&others);
        }
        Self::of(pairs.map(|(this, other)| this / other))
    }

    /// How many times the other this is, where nothing pairs the samples: the ratio of the medians, between
    /// the least and the most that any two samples would make.
    ///
    /// `None` where there is no ratio: both are bounds, both medians are 0, or one is below it.
    pub(super) fn over(&self, other: &Self) -> Option<Self> {
        let ratio = |this: Sample, other: Sample| {
            let bound = match (this.bound, other.bound) {
                (bound, Bound::Exact) => bound,
                (Bound::Exact, Bound::AtLeast) => Bound::AtMost,
                (Bound::Exact, Bound::AtMost) => Bound::AtLeast,
                _ => return None,
            };
            let value = this.value / other.value;
            let is_ratio = this.value >= 0.0 && other.value >= 0.0 && !value.is_nan();
            is_ratio.then_some(Sample { value, bound })
        };
        let median = ratio(self.median, other.median)?;
        Some(Self {
            smallest: ratio(self.smallest, other.largest).unwrap_or(0.0.into()),
            median,
            largest: ratio(self.largest, other.smallest).unwrap_or(f64::INFINITY.into()),
        })
    }

    /// Whether all of it is on one side of `value`.
    pub(super) fn is_clear_of(&self, value: f64) -> bool {
        self.largest.value < value || self.smallest.value > value
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.bound {
            Bound::AtMost => "< ",
            Bound::Exact => "",
            Bound::AtLeast => "> ",
        })?;
        f.write_str(&figure(self.value))
    }
}

/// `median [smallest–largest]`, or the one figure that all of them are.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [smallest, median, largest] =
            [self.smallest, self.median, self.largest].map(|sample| sample.to_string());
        if smallest == largest {
            return f.write_str(&median);
        }
        write!(f, "{median} [{smallest}–{largest}]")
    }
}

/// Three significant digits, and all of those before the point, in groups; whole numbers as such.
pub(super) fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_infinite() {
        return "∞".to_owned();
    }
    if magnitude >= 99.95 || value.fract() == 0.0 {
        return whole(value);
    }
    let decimals = match magnitude {
        9.995.. => 1,
        0.995.. => 2,
        0.0995.. => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// A whole number, its digits in groups.
pub(super) fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    if value < 0.0 {
        grouped.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(samples: &[f64]) -> Spread {
        Spread::of(samples.iter().copied()).expect("samples")
    }

    #[test]
    fn a_median_is_between_the_middle_two() {
        assert_eq!(spread(&[9.0, 1.0, 2.0]).to_string(), "2 [1–9]");
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).median.value, 2.5);
        assert_eq!(spread(&[7.0, 7.0]).to_string(), "7");
        assert_eq!(Spread::of(Vec::<f64>::new()), None);
    }

    #[test]
    fn bounds_are_shown_where_they_count() {
        let bound = |value| Sample {
            value,
            bound: Bound::AtLeast,
        };
        let one = Spread::of([1.0.into(), 2.0.into(), bound(30.0)]).expect("samples");
        assert_eq!(one.to_string(), "2 [1–> 30]");
        let all = Spread::of([bound(30.0), bound(31.0), bound(29.0)]).expect("samples");
        assert_eq!(all.to_string(), "> 30 [> 29–> 31]");
        let ratio = all.over(&spread(&[0.5])).expect("a ratio");
        assert_eq!(ratio.to_string(), "> 60 [> 58–> 62]");
        let reverse = spread(&[0.6]).over(&all).expect("a ratio");
        assert_eq!(reverse.to_string(), "< 0.0200 [< 0.0194–< 0.0207]");
        assert_eq!(all.over(&all), None, "nothing is known of it");
    }

    #[test]
    fn ratios_of_unpaired_samples_span_all_that_they_could_be() {
        let ratio = spread(&[2.0, 4.0, 6.0]).over(&spread(&[1.0, 2.0, 4.0]));
        assert_eq!(ratio.expect("a ratio").to_string(), "2 [0.500–6]");
        let none = spread(&[0.0]);
        assert_eq!(none.over(&none), None);
        assert_eq!(none.over(&spread(&[2.0])).expect("0").to_string(), "0");
        assert_eq!(spread(&[2.0]).over(&none).expect("∞").to_string(), "∞");
    }

    #[test]
    fn paired_samples_are_divided_round_by_round() {
        let ratio = Spread::of_paired(&[10.0, 30.0, 8.0], &[5.0, 10.0, 4.0]).expect("pairs");
        assert_eq!(ratio.to_string(), "2 [2–3]");
        assert_eq!(Spread::of_paired(&[1.0], &[]), None);
        let noisy = Spread::of_paired(&[4.0, 6.0, 8.0], &[2.0, -1.0, 4.0]).expect("a ratio");
        assert_eq!(noisy.to_string(), "3 [1–∞]");
        assert_eq!(Spread::of_paired(&[4.0], &[-1.0]), None);
        assert!(ratio.is_clear_of(1.0));
        assert!(!ratio.is_clear_of(2.5));
    }

    #[test]
    fn figures_have_three_digits() {
        let shown = [
            0.0, 0.0123, 0.184, 1.234, 12.34, 99.96, 123.4, 175_265.0, -41.0, -1234.0,
        ];
        let shown = shown.map(figure);
        let expected = [
            "0", "0.0123", "0.184", "1.23", "12.3", "100", "123", "175,265", "-41", "-1,234",
        ];
        assert_eq!(shown, expected);
    }
}
