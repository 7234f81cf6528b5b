//! Families of samples: a name, what it means, and a value for each set of labels.
//!
//! All names are given whole, without the prefix that the registry adds; counters without their
//! `_total`, which the encoder adds.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
};

use crate::api::status::Durations;

/// A sample has no exemplar.
const NONE: Option<&Exemplar<NoLabelSet, f64>> = None;
/// Of what there is only one.
pub(super) const UNLABELED: [(&str, &str); 0] = [];

/// Prometheus counts time in seconds.
pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Writes one family after the other.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    /// What goes up and down.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let encoder = &mut self.0;
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// The same with one value and no labels.
    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.gauges(name, help, [(UNLABELED, value)])
    }

    /// What only grows.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let encoder = &mut self.0;
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            family
                .encode_family(&labels)?
                .encode_counter(&value, NONE)?;
        }
        Ok(())
    }

    /// The same with one value and no labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [(UNLABELED, value)])
    }

    /// Durations by how long they were, in seconds.
    pub(super) fn histograms<'d, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, &'d Durations)>,
    ) -> fmt::Result {
        let encoder = &mut self.0;
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let mut buckets = Vec::new();
        for (labels, durations) in samples {
            buckets.clear();
            buckets.extend(
                durations
                    .all_buckets()
                    .map(|(bound, count)| (seconds(bound), count)),
            );
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    seconds(durations.sum_us),
                    durations.count,
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }

    /// The same with one histogram and no labels.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        durations: &Durations,
    ) -> fmt::Result {
        self.histograms(name, help, [(UNLABELED, durations)])
    }
}
