//! Queries a second of each backend in the last minute: the agent's own history, and what has been
//! heard since.

use std::collections::{BTreeMap, VecDeque};

use crate::api::{history::History, status::Status};

/// Rates that are kept of a backend, one a second.
const KEPT: usize = 60;

/// By service, then by backend; the oldest first.
#[derive(Default)]
pub(super) struct Rates(BTreeMap<String, BTreeMap<String, VecDeque<f64>>>);

impl Rates {
    /// Begins anew with what the agent knows.
    pub(super) fn seed(&mut self, history: History) {
        let newest = |rates: Vec<f64>| {
            let surplus = rates.len().saturating_sub(KEPT);
            rates.into_iter().skip(surplus).collect()
        };
        let services = history.services.into_iter().map(|service| {
            let backends = service.backends.into_iter();
            let backends =
                backends.map(|backend| (backend.name, newest(backend.packets_per_second)));
            (service.name, backends.collect())
        });
        self.0 = services.collect();
    }

    /// Takes up one rate a backend, and forgets those that are no more.
    pub(super) fn take_up(&mut self, status: &Status) {
        let mut former = std::mem::take(&mut self.0);
        for service in &status.services {
            let mut known = former.remove(&service.name).unwrap_or_default();
            let backends = service.backends.iter().map(|backend| {
                let mut rates = known.remove(&backend.name).unwrap_or_default();
                rates.extend(backend.packets_per_second);
                while rates.len() > KEPT {
                    rates.pop_front();
                }
                (backend.name.clone(), rates)
            });
            let backends = backends.collect();
            self.0.insert(service.name.clone(), backends);
        }
    }

    /// Those of a backend, the newest first.
    pub(super) fn newest_first(
        &self,
        service: &str,
        backend: &str,
    ) -> impl Iterator<Item = f64> + use<'_> {
        let rates = self
            .0
            .get(service)
            .and_then(|backends| backends.get(backend));
        rates
            .into_iter()
            .flat_map(|rates| rates.iter().rev().copied())
    }

    /// The highest of a service's backends: what their lines are drawn against.
    pub(super) fn highest(&self, service: &str) -> f64 {
        let rates = self.0.get(service).into_iter().flat_map(BTreeMap::values);
        rates.flatten().copied().fold(0.0, f64::max)
    }
}

/// Rates as a line of blocks, the newest to the right, against the highest that there is. Nothing at
/// all is the lowest block; what is not known is a space.
pub(super) fn line(newest_first: impl Iterator<Item = f64>, highest: f64, width: usize) -> String {
    const BLOCKS: [char; 7] = ['▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let block = |rate: f64| {
        if rate <= 0.0 || highest <= 0.0 {
            return '▁';
        }
        // A part of the highest, so a place in the array; what is not saturates.
        let place = (rate / highest * BLOCKS.len() as f64).ceil() as usize;
        BLOCKS[place.clamp(1, BLOCKS.len()) - 1]
    };
    let mut blocks: Vec<char> = newest_first.take(width).map(block).collect();
    blocks.resize(width, ' ');
    blocks.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_drawn_against_the_highest() {
        assert_eq!(
            line([100.0, 1.0, 0.0, 50.0].into_iter(), 100.0, 6),
            "  ▅▁▂█"
        );
        assert_eq!(line([5.0, 6.0].into_iter(), 6.0, 1), "▇");
        assert_eq!(line([0.0].into_iter(), 0.0, 1), "▁");
        assert_eq!(line([f64::MAX, f64::INFINITY].into_iter(), 1.0, 2), "██");
        assert_eq!(line([1.0].into_iter(), 1.0, 0), "");
    }

    #[test]
    fn the_history_is_gone_on_with() {
        let mut rates = Rates::default();
        rates.seed(History::sample());
        assert_eq!(rates.highest("resolvers"), 2_000.5);
        let status = Status::sample();
        for _ in 0..70 {
            rates.take_up(&status);
        }
        assert_eq!(rates.newest_first("resolvers", "dns1").count(), KEPT);
        // Its rate is not known.
        let second: Vec<f64> = rates.newest_first("resolvers", "dns2").collect();
        assert_eq!(second, [0.0, 900.0]);
        let mut less = status;
        less.services[0].backends.pop();
        rates.take_up(&less);
        assert_eq!(rates.newest_first("resolvers", "dns2").count(), 0);
        assert_eq!(rates.highest("zones"), 0.0);
    }
}
