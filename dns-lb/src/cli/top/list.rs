//! Which backends are shown, in which order, and which one is chosen.

use std::{cmp::Ordering, fmt};

use crate::{
    admin::Admin,
    api::status::{Backend, Service, Status},
    health::Health,
};

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) service: String,
    pub(super) backend: String,
}

/// As every verb takes it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.backend)
    }
}

/// What the backends of a service are put in order by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// As the configuration has them.
    #[default]
    Configured,
    /// By name.
    Name,
    /// The most queries a second first.
    Rate,
    /// The largest share first.
    Share,
    /// What is down first.
    Health,
    /// The slowest reply to a probe first, and before it no reply.
    RoundTrip,
}

impl Order {
    /// All, with the key and the word for it.
    pub(super) const ALL: [(Self, char, &'static str); 6] = [
        (Self::Configured, 'c', "configured"),
        (Self::Name, 'n', "name"),
        (Self::Rate, 'r', "q/s"),
        (Self::Share, 's', "share"),
        (Self::Health, 'h', "health"),
        (Self::RoundTrip, 't', "rtt"),
    ];

    fn compare(self, a: &Backend, b: &Backend) -> Ordering {
        let rate = |backend: &Backend| backend.packets_per_second.unwrap_or(-1.0);
        let concern = |backend: &Backend| match (backend.health, backend.admin) {
            (Health::Down, _) => 0,
            (Health::Unknown, _) => 1,
            (Health::Up, Admin::Disabled | Admin::Draining) => 2,
            (Health::Up, Admin::Enabled) => 3,
        };
        let round_trip = |backend: &Backend| match &backend.last_probe {
            None => 0,
            Some(probe) => probe.rtt_us.unwrap_or(u64::MAX),
        };
        match self {
            Self::Configured => Ordering::Equal,
            Self::Name => a.name.cmp(&b.name),
            Self::Rate => rate(b).total_cmp(&rate(a)),
            Self::Share => b.share.total_cmp(&a.share),
            Self::Health => concern(a).cmp(&concern(b)),
            Self::RoundTrip => round_trip(b).cmp(&round_trip(a)),
        }
    }
}

/// A line of the list, by places in the status document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Service(usize),
    Backend(usize, usize),
}

/// The choice.
#[derive(Default)]
pub(super) struct List {
    pub(super) order: Order,
    pub(super) is_reversed: bool,
    /// Words that a backend's line must have, all of them.
    pub(super) filter: String,
    /// The backend that keys are about, as long as one is shown.
    pub(super) chosen: Option<Name>,
    /// Its place among the backends that are shown.
    place: usize,
    /// The first row that is on the screen.
    pub(super) offset: usize,
    /// Rows that the screen has room for.
    height: usize,
}

impl List {
    /// What is shown.
    pub(super) fn rows(&self, status: &Status) -> Vec<Row> {
        let filter = self.filter.to_lowercase();
        let words: Vec<&str> = filter.split_whitespace().collect();
        let mut rows = Vec::new();
        for (place, service) in status.services.iter().enumerate() {
            let mut shown: Vec<usize> = (0..service.backends.len())
                .filter(|&backend| is_match(service, &service.backends[backend], &words))
                .collect();
            shown.sort_by(|&a, &b| {
                self.order
                    .compare(&service.backends[a], &service.backends[b])
            });
            if self.is_reversed {
                shown.reverse();
            }
            if !shown.is_empty() {
                rows.push(Row::Service(place));
                rows.extend(
                    shown
                        .into_iter()
                        .map(|backend| Row::Backend(place, backend)),
                );
            }
        }
        rows
    }

    /// Finds the chosen backend again after whatever has changed, or the one that has come to its
    /// place, and brings it on a screen with room for so many rows.
    pub(super) fn settle(&mut self, status: &Status, height: usize) {
        self.height = height;
        let rows = self.rows(status);
        let backends = backends(&rows);
        let found = self.chosen.as_ref().and_then(|chosen| {
            let mut backends = backends.iter();
            backends.position(|&(_, service, backend)| {
                let service = &status.services[service];
                chosen.service == service.name && chosen.backend == service.backends[backend].name
            })
        });
        self.place = found.unwrap_or(self.place);
        self.choose(status, &backends);
        let Some(&(row, ..)) = backends.get(self.place) else {
            self.offset = 0;
            return;
        };
        // With the line of its service, if that is just above.
        let first = match row.checked_sub(1).map(|above| rows[above]) {
            Some(Row::Service(_)) => row - 1,
            _ => row,
        };
        let lowest = (row + 1).saturating_sub(height);
        let last = rows.len().saturating_sub(height);
        self.offset = self.offset.min(first).min(last).max(lowest);
    }

    /// Chooses another backend, so many further down.
    pub(super) fn go(&mut self, status: &Status, by: isize) {
        let rows = self.rows(status);
        self.place = self.place.saturating_add_signed(by);
        self.choose(status, &backends(&rows));
    }

    /// Chooses the backend at `place`, or the last.
    fn choose(&mut self, status: &Status, backends: &[(usize, usize, usize)]) {
        self.place = self.place.min(backends.len().saturating_sub(1));
        self.chosen = backends.get(self.place).map(|&(_, service, backend)| {
            let service = &status.services[service];
            Name {
                service: service.name.clone(),
                backend: service.backends[backend].name.clone(),
            }
        });
    }

    /// Rows from one page to the next.
    pub(super) fn page(&self) -> isize {
        isize::try_from(self.height).unwrap_or(isize::MAX).max(2) - 1
    }

    /// Puts in this order; in the opposite one if that is the order already.
    pub(super) fn sort(&mut self, order: Order) {
        self.is_reversed = order == self.order && !self.is_reversed;
        self.order = order;
    }
}

/// The rows that are backends: row, service, backend.
fn backends(rows: &[Row]) -> Vec<(usize, usize, usize)> {
    let rows = rows.iter().enumerate();
    rows.filter_map(|(row, kind)| match *kind {
        Row::Backend(service, backend) => Some((row, service, backend)),
        Row::Service(_) => None,
    })
    .collect()
}

fn is_match(service: &Service, backend: &Backend, words: &[&str]) -> bool {
    if words.is_empty() {
        return true;
    }
    let line = format!(
        "{}/{} {} {} {}",
        service.name, backend.name, backend.address, backend.admin, backend.health
    )
    .to_lowercase();
    words.iter().all(|word| line.contains(word))
}

#[cfg(test)]
pub(super) mod tests;
