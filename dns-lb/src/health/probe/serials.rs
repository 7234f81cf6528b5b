//! The SOA serials that the backends of a service have shown.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use super::super::BackendKey;
use crate::config::NameTemplate;

/// The last serial of each zone that each backend has shown, as long as it counts. As many as there
/// are zones in checks and backends, at most.
#[derive(Debug, Default)]
pub(super) struct Serials {
    services: Mutex<HashMap<Arc<str>, Vec<Zone>>>,
}

#[derive(Debug)]
struct Zone {
    name: NameTemplate,
    serials: HashMap<Arc<str>, Shown>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    serial: u32,
    /// A backend that has not been heard since says nothing any more of what is the newest.
    counts_until: Instant,
}

impl Serials {
    /// Notes what a backend has shown now, and until when that counts for others; gives the highest
    /// of theirs that counts.
    pub(super) fn note(
        &self,
        backend: &BackendKey,
        zone: &NameTemplate,
        serial: u32,
        now: Instant,
        counts_until: Instant,
    ) -> Option<u32> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let zones = services.entry(Arc::clone(&backend.service)).or_default();
        let place = zones.iter().position(|known| known.name == *zone);
        let place = place.unwrap_or_else(|| {
            zones.push(Zone {
                name: zone.clone(),
                serials: HashMap::new(),
            });
            zones.len() - 1
        });
        let serials = &mut zones[place].serials;
        let shown = Shown {
            serial,
            counts_until,
        };
        serials.insert(Arc::clone(&backend.backend), shown);
        let others = serials
            .iter()
            .filter(|(other, shown)| **other != backend.backend && now < shown.counts_until)
            .map(|(_, shown)| shown.serial);
        others.reduce(|highest, serial| match lag(highest, serial) {
            0 => highest,
            _ => serial,
        })
    }

    /// From now on, a backend's serials do not count for others.
    pub(super) fn forget(&self, backend: &BackendKey) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(zones) = services.get_mut(&backend.service) else {
            return;
        };
        for zone in &mut *zones {
            zone.serials.remove(&backend.backend);
        }
        zones.retain(|zone| !zone.serials.is_empty());
        if zones.is_empty() {
            services.remove(&backend.service);
        }
    }
}

/// How far a serial is behind another; 0 where it is not (RFC 1982, 3.2: numbers that wrap around;
/// two that are 2^31 apart do not compare).
pub(super) fn lag(serial: u32, highest: u32) -> u32 {
    match highest.wrapping_sub(serial) {
        ahead if ahead < 1 << 31 => ahead,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Notes what counts for a minute.
    fn note(serials: &Serials, backend: &BackendKey, name: &str, serial: u32) -> Option<u32> {
        let now = Instant::now();
        let counts_until = now + Duration::from_secs(60);
        serials.note(backend, &zone(name), serial, now, counts_until)
    }

    fn backend(name: &str) -> BackendKey {
        BackendKey {
            service: "authoritative".into(),
            backend: name.into(),
        }
    }

    fn zone(name: &str) -> NameTemplate {
        NameTemplate::Fixed(name.parse().unwrap())
    }

    #[test]
    fn serials_wrap_around() {
        for (serial, highest, behind) in [
            (12, 15, 3),
            (15, 12, 0),
            (7, 7, 0),
            (u32::MAX, 1, 2),
            (1, u32::MAX, 0),
            (0, (1 << 31) - 1, (1 << 31) - 1),
            (0, 1 << 31, 0),
        ] {
            assert_eq!(lag(serial, highest), behind, "{serial} {highest}");
        }
    }

    #[test]
    fn a_backend_is_compared_with_the_others_of_its_service_and_zone() {
        let serials = Serials::default();
        let (one, two, three) = (backend("one"), backend("two"), backend("three"));
        assert_eq!(note(&serials, &one, "a.", 10), None);
        assert_eq!(note(&serials, &one, "a.", 11), None);
        assert_eq!(note(&serials, &two, "b.", 99), None);
        assert_eq!(note(&serials, &two, "a.", 9), Some(11));
        assert_eq!(note(&serials, &three, "a.", 1), Some(11));
        assert_eq!(note(&serials, &one, "a.", 11), Some(9));

        let elsewhere = BackendKey {
            service: "other".into(),
            backend: "four".into(),
        };
        assert_eq!(note(&serials, &elsewhere, "a.", 1), None);
    }

    #[test]
    fn one_that_is_forgotten_counts_no_more() {
        let serials = Serials::default();
        let (one, two) = (backend("one"), backend("two"));
        note(&serials, &one, "a.", 20);
        assert_eq!(note(&serials, &two, "a.", 10), Some(20));
        serials.forget(&one);
        assert_eq!(note(&serials, &two, "a.", 10), None);
        serials.forget(&two);
        assert!(serials.services.lock().unwrap().is_empty());
    }

    #[test]
    fn one_that_has_not_been_shown_for_long_counts_no_more() {
        let serials = Serials::default();
        let (one, two) = (backend("one"), backend("two"));
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let note_at =
            |backend, serial, now| serials.note(backend, &zone("a."), serial, now, now + second);
        note_at(&one, 20, begin);
        assert_eq!(note_at(&two, 10, begin + second / 2), Some(20));
        assert_eq!(note_at(&two, 10, begin + second), None);
        assert_eq!(note_at(&one, 20, begin + second), Some(10));
    }
}
