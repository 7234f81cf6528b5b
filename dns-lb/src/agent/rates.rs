//! How many packets a second there have been lately: the counters, read once a second.

use std::{
    collections::{BTreeMap, VecDeque},
    iter,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{Running, knowledge::Knowledge, status::packets};
use crate::{
    api::history::{BackendHistory, BackendRates, History, ServiceRates},
    config::Config,
    datapath::{Counters, DatapathError},
    health::BackendKey,
    steer::Assignment,
};

/// From one reading to the next.
const STEP: Duration = Duration::from_secs(1);
/// Rates that are kept of each.
const KEPT: usize = 60;

/// The rates of every service and backend.
#[derive(Debug)]
pub(super) struct Rates {
    ticks: Interval,
    read_at: Instant,
    services: BTreeMap<Arc<str>, Series>,
    backends: BTreeMap<BackendKey, Series>,
}

/// The rates of one counter.
#[derive(Clone, Debug, Default)]
struct Series {
    /// Whose counter it was, and what it said.
    last: Option<(u16, u64)>,
    /// The oldest first.
    rates: VecDeque<f64>,
}

impl Rates {
    pub(super) fn new() -> Self {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            read_at: Instant::now(),
            services: BTreeMap::new(),
            backends: BTreeMap::new(),
        }
    }

    /// Waits until the counters are to be read again.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Reads the counters. Who is no longer configured is forgotten.
    ///
    /// # Errors
    ///
    /// If they cannot be read. Then nothing is known of any rate.
    pub(super) fn read(
        &mut self,
        config: &Config,
        assignment: &Assignment,
        knowledge: &Knowledge,
        counters: &Counters,
    ) -> Result<(), DatapathError> {
        let now = Instant::now();
        let elapsed = now.duration_since(self.read_at);
        self.read_at = now;
        let mut services = std::mem::take(&mut self.services);
        let mut backends = std::mem::take(&mut self.backends);
        for (index, service) in config.services.iter().enumerate() {
            let id = assignment.services[index];
            let name: Arc<str> = service.name.as_str().into();
            let mut series = services.remove(&name).unwrap_or_default();
            series.add(id, packets(&counters.service(id)?), elapsed);
            self.services.insert(name, series);
            for (place, &id) in assignment.backends[index].iter().enumerate() {
                let key = &knowledge.state(index, place).key;
                let mut series = backends.remove(key).unwrap_or_default();
                series.add(id, counters.backend(id)?.packets, elapsed);
                self.backends.insert(key.clone(), series);
            }
        }
        Ok(())
    }

    /// Packets a second for a service over the last second; `None` before that is known.
    pub(super) fn service(&self, name: &str) -> Option<f64> {
        self.services.get(name)?.newest()
    }

    /// Packets a second to a backend over the last second; `None` before that is known.
    pub(super) fn backend(&self, key: &BackendKey) -> Option<f64> {
        self.backends.get(key)?.newest()
    }
}

impl Series {
    /// Takes in what the counter of this id says now. One that has gone back, or is another's than
    /// before, gives no rate.
    fn add(&mut self, id: u16, count: u64, elapsed: Duration) {
        let before = self.last.replace((id, count));
        let grown = before
            .filter(|&(before, _)| before == id)
            .and_then(|(_, before)| count.checked_sub(before));
        match grown {
            Some(grown) if !elapsed.is_zero() => {
                // To a tenth: more is noise, and makes the documents long.
                let rate = (10.0 * grown as f64 / elapsed.as_secs_f64()).round() / 10.0;
                // An agent that was held up has the mean of the seconds that it has missed, for each.
                let seconds = elapsed.as_secs_f64().round().clamp(1.0, KEPT as f64);
                self.rates.extend(iter::repeat_n(rate, seconds as usize));
                let surplus = self.rates.len().saturating_sub(KEPT);
                self.rates.drain(..surplus);
            }
            _ => self.rates.clear(),
        }
    }

    fn newest(&self) -> Option<f64> {
        self.rates.back().copied()
    }

    fn all(&self) -> Vec<f64> {
        self.rates.iter().copied().collect()
    }
}

/// The rates of everything that is configured.
pub(super) fn history(agent: &Running) -> History {
    let rates = &agent.rates;
    let services = agent.config.services.iter().zip(agent.knowledge.services());
    History {
        step_s: STEP.as_secs() as u32,
        services: services
            .map(|(service, states)| ServiceRates {
                name: service.name.clone(),
                packets_per_second: rates
                    .services
                    .get(service.name.as_str())
                    .map_or_else(Vec::new, Series::all),
                backends: states
                    .iter()
                    .map(|state| BackendRates {
                        name: state.key.backend.to_string(),
                        packets_per_second: of_backend(rates, &state.key),
                    })
                    .collect(),
            })
            .collect(),
    }
}

/// Rates and probes of one backend; `None` if there is none of that name.
pub(super) fn backend_history(
    agent: &Running,
    service: &str,
    backend: &str,
) -> Option<BackendHistory> {
    let state = agent.knowledge.of(service, backend)?;
    Some(BackendHistory {
        service: service.to_owned(),
        backend: backend.to_owned(),
        packets_per_second: of_backend(&agent.rates, &state.key),
        probes: state.recent_probes().collect(),
    })
}

fn of_backend(rates: &Rates, key: &BackendKey) -> Vec<f64> {
    rates.backends.get(key).map_or_else(Vec::new, Series::all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_growth_of_one_counter_over_the_time_between() {
        let mut series = Series::default();
        series.add(7, 1_000, STEP);
        assert_eq!(series.newest(), None, "nothing to compare with yet");
        series.add(7, 1_500, STEP);
        series.add(7, 1_750, 2 * STEP);
        assert_eq!(series.all(), [500.0, 125.0, 125.0], "each of a second");

        series.add(8, 2_000, STEP);
        assert_eq!(series.newest(), None, "another's counter");
        series.add(8, 2_010, STEP);
        assert_eq!(series.newest(), Some(10.0));
        series.add(8, 5, STEP);
        assert_eq!(series.newest(), None, "the counter went back");
        series.add(8, 6, Duration::ZERO);
        assert_eq!(series.newest(), None, "no time has passed");
    }

    #[test]
    fn a_minute_is_kept() {
        let mut series = Series::default();
        for second in 0..=u64::try_from(KEPT).unwrap() + 5 {
            series.add(1, second * second, STEP);
        }
        assert_eq!(series.rates.len(), KEPT);
        assert_eq!(series.newest(), Some(129.0));
        series.add(1, 1_000_000, 3_600 * STEP);
        assert_eq!(series.rates.len(), KEPT);
    }
}
