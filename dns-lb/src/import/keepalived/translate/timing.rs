//! When keepalived checks, and what that is in our terms.

use std::time::Duration;

use crate::import::{
    keepalived::{
        Options,
        ast::{At, Check, RealServer, Timing as Stated, VirtualServer},
    },
    model::Timing,
    remark::{Kind, Remarks},
};

/// When one check runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    interval: Duration,
    /// Between an attempt that fails and the next.
    delay_before_retry: Duration,
    retry: u32,
    /// For an answer to one packet.
    time: Duration,
    /// Packets of one attempt.
    tries: u32,
}

/// What differs between the kinds of checks.
pub(super) struct Defaults {
    pub(super) retry: u32,
    /// `None`: `delay_loop`.
    pub(super) delay_before_retry: Option<Duration>,
    /// For an answer to one packet; `None`: `connect_timeout`.
    pub(super) time: Option<Duration>,
    pub(super) tries: u32,
    /// When an attempt is broken off; `Some(0)`: after `delay_loop`.
    pub(super) limit: Option<Duration>,
}

const SECOND: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3_600);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const MOST_FAILURES: u32 = 100;

impl Schedule {
    /// The schedule of a check: what it says itself, or the real server, or the virtual server.
    pub(super) fn of(
        server: &VirtualServer,
        real: &RealServer,
        check: &Check,
        defaults: &Defaults,
    ) -> Self {
        let levels = [
            &check.settings.timing,
            &real.settings.timing,
            &server.settings.timing,
        ];
        fn stated<T: Copy>(
            levels: [&Stated; 3],
            value: impl Fn(&Stated) -> Option<&At<T>>,
        ) -> Option<T> {
            levels
                .into_iter()
                .find_map(|level| value(level).map(|at| at.value))
        }
        let interval = stated(levels, |level| level.delay_loop.as_ref()).unwrap_or(60 * SECOND);
        let connect_timeout = stated(levels, |level| level.connect_timeout.as_ref());
        let mut time = defaults.time.or(connect_timeout).unwrap_or(5 * SECOND);
        let mut tries = defaults.tries;
        if let Some(limit) = defaults.limit {
            // What is not over by then is a failure.
            let limit = if limit.is_zero() {
                server_loop(server)
            } else {
                limit
            };
            time = time.min(limit);
            let fitting = limit.as_micros() / time.as_micros().max(1);
            tries = tries.min(u32::try_from(fitting).unwrap_or(u32::MAX)).max(1);
        }
        Self {
            interval,
            delay_before_retry: stated(levels, |level| level.delay_before_retry.as_ref())
                .or(defaults.delay_before_retry)
                .unwrap_or(interval),
            retry: stated(levels, |level| level.retry.as_ref()).unwrap_or(defaults.retry),
            time,
            tries,
        }
    }

    /// Of two that hold at once, the slower.
    pub(super) fn or_slower(self, other: &Self) -> Self {
        Self {
            interval: self.interval.max(other.interval),
            delay_before_retry: self.delay_before_retry.max(other.delay_before_retry),
            retry: self.retry.max(other.retry),
            time: self.time.max(other.time),
            tries: self.tries.max(other.tries),
        }
    }

    /// How long a server may have been silent before it is out.
    fn worst(&self) -> Duration {
        let attempt = self.time.saturating_mul(self.tries);
        let attempts = attempt.saturating_mul(self.retry.saturating_add(1));
        let pauses = self.delay_before_retry.saturating_mul(self.retry);
        self.interval
            .saturating_add(attempts)
            .saturating_add(pauses)
    }
}

fn server_loop(server: &VirtualServer) -> Duration {
    let stated = server.settings.timing.delay_loop.as_ref();
    stated.map_or(60 * SECOND, |stated| stated.value)
}

/// Says what becomes of a schedule, and gives our timing if it is to be kept.
pub(super) fn translate(
    server: &VirtualServer,
    schedule: &Schedule,
    differ: bool,
    options: Options,
    remarks: &mut Remarks,
) -> Option<Timing> {
    let Schedule {
        interval,
        delay_before_retry,
        retry,
        time,
        tries,
    } = *schedule;
    let stated = &server.settings.timing.delay_loop;
    let place = stated
        .as_ref()
        .map_or(&server.place, |stated| &stated.place);
    let default = if stated.is_none() {
        ", the default"
    } else {
        ""
    };
    let mut about = format!("a check every {}{default}", Seconds(interval));
    if tries > 1 {
        about += &format!(" of up to {tries} packets");
    }
    about += &format!(", {} for an answer", Seconds(time));
    if retry > 0 {
        about += &format!(
            ", {retry} more before it counts, each after {}",
            Seconds(delay_before_retry)
        );
    }
    if differ {
        about += "; checks differ in this, and these are the slowest";
    }
    let worst = Seconds(schedule.worst());
    if !options.keep_timing {
        let why = format!(
            "A silent server was out after {worst} at the latest. dns-lb's own timing holds, with {} at the \
             latest; `--keep-timing` translates keepalived's.",
            Seconds(crate::config::defaults::detection())
        );
        remarks.add(Kind::Dropped, place, about, why);
        return None;
    }
    let fall = tries.saturating_mul(retry.saturating_add(1));
    let pause = match (retry, tries) {
        (0, _) => SHORTEST_INTERVAL,
        (_, 1) => delay_before_retry,
        // Packets of one attempt follow each other without a pause.
        _ => delay_before_retry.min(time),
    };
    let timing = Timing {
        interval: interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
        fast_interval: pause.clamp(
            SHORTEST_INTERVAL,
            interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
        ),
        timeout: time.clamp(Duration::from_millis(1), LONGEST_TIMEOUT),
        fall: fall.clamp(1, MOST_FAILURES),
    };
    let exact = !differ
        && retry.min(tries - 1) == 0
        && timing.interval == interval
        && timing.fast_interval == pause
        && timing.timeout == time
        && timing.fall == fall;
    let kind = if exact {
        Kind::Translated
    } else {
        Kind::Approximated
    };
    let why = format!(
        "interval is the time between checks, timeout that for an answer, fall the packets in a row without \
         one, fast_interval the pause between them; one pass brings a server back. A silent server was out \
         after {worst} at the latest."
    );
    remarks.add(kind, place, about, why);
    Some(timing)
}

/// A duration in seconds, as people write it.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
