//! What the demo showed: the figures, and whether each step really happened.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dns_lb_tests::{Relay, Report, relay::Delivery};
use serde::Serialize;

use super::{
    figures::{thousands, time},
    stage::Relays,
};

/// How long after a server's death its share of the queries may still be lost.
const LOSS_LIMIT: Duration = Duration::from_millis(800);

/// How long before the death a query may have been sent that was still on its way then.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// How far a backend's share may be from an even one, relative to it.
const SPREAD_TOLERANCE: f64 = 0.1;

/// What a mail relay of the size that the demo has in mind must send.
const NEEDED_MAILS_PER_HOUR: f64 = 1_000.0;

/// When things happened.
pub(super) struct Moments {
    /// The load was running.
    pub(super) begun: Instant,
    /// A server was killed.
    pub(super) killed: Instant,
    /// The agent said so.
    pub(super) reported_down: Instant,
    /// The server was started again.
    pub(super) restarted: Instant,
    /// The agent said so.
    pub(super) reported_up: Instant,
    /// The end.
    pub(super) ended: Instant,
}

/// The result.
#[derive(Serialize)]
pub(super) struct Summary {
    queries: Queries,
    share: Shares,
    detection: Detection,
    latency_us: Latency,
    /// Measured while the server was dead; the silent host was so from the start.
    mail: Mail,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Queries {
    sent: usize,
    answered: usize,
    lost: usize,
    /// Of these, not within 0.8 s of the server's death.
    lost_otherwise: usize,
    /// When the lost ones were sent.
    loss: Vec<Loss>,
}

/// A time in which queries were lost; counted from SIGKILL.
#[derive(Serialize)]
struct Loss {
    first_ms: i128,
    last_ms: i128,
    lost: usize,
}

/// Part of the answers by server, 0 to 1.
#[derive(Serialize)]
struct Shares {
    before: BTreeMap<String, f64>,
    dead: BTreeMap<String, f64>,
    after: BTreeMap<String, f64>,
}

/// Counted from SIGKILL.
#[derive(Serialize)]
struct Detection {
    /// Until the agent reported the server down.
    reported_down_ms: u128,
    /// Until the last query was sent that was lost; none if none was.
    last_lost_query_ms: Option<u128>,
}

#[derive(Serialize)]
struct Latency {
    median: Option<u128>,
    p99: Option<u128>,
}

#[derive(Serialize)]
struct Mail {
    dns_lb: Relayed,
    first_nameserver_refuses: Relayed,
    first_nameserver_silent: Relayed,
}

#[derive(Serialize)]
struct Relayed {
    mails: usize,
    deferred: usize,
    seconds: f64,
    mails_per_hour: f64,
    longest_lookup_ms: u128,
}

#[derive(Serialize)]
struct Check {
    what: &'static str,
    ok: bool,
}

impl Summary {
    pub(super) fn new(report: &Report, relays: &Relays, servers: usize, moments: &Moments) -> Self {
        let Moments {
            begun,
            killed,
            reported_down,
            restarted,
            reported_up,
            ended,
        } = *moments;
        let between = |from, to| report.between(from..to);
        let (before, dead) = (between(begun, killed), between(reported_down, restarted));
        let after = between(reported_up, ended);
        let last_lost = report.between(killed..restarted).losses().last();
        let lost_otherwise = report.lost_outside(killed - ON_ITS_WAY..killed + LOSS_LIMIT);
        let relayed = |relay: &Relay, from| Relayed::new(relay.delivery(from..restarted));
        let mail = Mail {
            dns_lb: relayed(&relays.vip, killed),
            first_nameserver_refuses: relayed(&relays.refused, killed),
            first_nameserver_silent: relayed(&relays.silent, relays.begun),
        };
        let (vip, refused) = (&mail.dns_lb, &mail.first_nameserver_refuses);
        let check = |what, ok| Check { what, ok };
        let checks = vec![
            check(
                "all servers answered evenly before the death",
                is_even(&before, servers),
            ),
            check(
                "the dead server's queries went to the others, evenly",
                is_even(&dead, servers - 1),
            ),
            check(
                "all servers answered evenly after its return",
                is_even(&after, servers),
            ),
            check("queries were lost at the death", last_lost.is_some()),
            check(
                "no query was lost but within 0.8 s of the death",
                lost_otherwise == 0,
            ),
            check(
                "the relay that asks dns-lb sent over 1,000 mails an hour",
                vip.mails_per_hour > NEEDED_MAILS_PER_HOUR,
            ),
            check(
                "the relay with a silent first nameserver sent mail, but under 1,000 an hour",
                (1.0..NEEDED_MAILS_PER_HOUR).contains(&mail.first_nameserver_silent.mails_per_hour),
            ),
            check(
                "the relay with a refusing first nameserver sent mail, but less than by dns-lb",
                (1.0..vip.mails_per_hour).contains(&refused.mails_per_hour),
            ),
        ];
        let micros = |part| report.latency(part).map(|latency| latency.as_micros());
        Self {
            queries: Queries {
                sent: report.sent(),
                answered: report.answered(),
                lost: report.lost(),
                lost_otherwise,
                loss: losses(report, killed),
            },
            share: Shares {
                before: shares(&before),
                dead: shares(&dead),
                after: shares(&after),
            },
            detection: Detection {
                reported_down_ms: (reported_down - killed).as_millis(),
                last_lost_query_ms: last_lost.map(|sent| (sent - killed).as_millis()),
            },
            latency_us: Latency {
                median: micros(0.5),
                p99: micros(0.99),
            },
            mail,
            checks,
        }
    }

    /// What did not happen as it should.
    pub(super) fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.checks
            .iter()
            .filter(|check| !check.ok)
            .map(|check| check.what)
    }

    /// The figures for people.
    pub(super) fn table(&self) -> String {
        let Queries {
            sent,
            answered,
            lost,
            ..
        } = self.queries;
        let mut lines = vec![
            String::new(),
            format!(
                "Queries    {} sent, {} answered, {} lost",
                thousands(sent),
                thousands(answered),
                thousands(lost)
            ),
            match self.detection.last_lost_query_ms {
                Some(last) => format!(
                    "Detection  reported down {} ms after SIGKILL; the last lost query was sent {last} ms after it",
                    self.detection.reported_down_ms
                ),
                None => "Detection  no query was lost".to_owned(),
            },
        ];
        for Loss {
            first_ms,
            last_ms,
            lost,
        } in &self.queries.loss
        {
            lines.push(format!(
                "Loss       {lost} of the queries sent {first_ms} to {last_ms} ms after SIGKILL"
            ));
        }
        if let (Some(median), Some(p99)) = (self.latency_us.median, self.latency_us.p99) {
            lines.push(format!(
                "Latency    median {median} µs, 99th percentile {p99} µs"
            ));
        }
        lines.push(String::new());
        lines.push("Share of the answers     before     dead    after".to_owned());
        for name in self.share.before.keys() {
            let column = |shares: &BTreeMap<String, f64>| {
                let share = shares.get(name).copied().unwrap_or_default();
                format!("{:>7.1} %", share * 100.0)
            };
            let Shares {
                before,
                dead,
                after,
            } = &self.share;
            lines.push(format!(
                "  {name:<20}{}{}{}",
                column(before),
                column(dead),
                column(after)
            ));
        }
        lines.push(String::new());
        lines.push(
            "Mail relay, two look-ups a mail     mails an hour  put off  longest look-up"
                .to_owned(),
        );
        let rows = [
            ("asks dns-lb, one server dead", &self.mail.dns_lb),
            (
                "first nameserver line refuses",
                &self.mail.first_nameserver_refuses,
            ),
            (
                "first nameserver line is silent",
                &self.mail.first_nameserver_silent,
            ),
        ];
        for (name, relayed) in rows {
            let longest = u64::try_from(relayed.longest_lookup_ms).unwrap_or(u64::MAX);
            lines.push(format!(
                "  {name:<34}{:>13}{:>9}{:>17}",
                thousands(relayed.mails_per_hour.round() as usize),
                thousands(relayed.deferred),
                time(Duration::from_millis(longest))
            ));
        }
        lines.join("\n")
    }
}

impl Relayed {
    fn new(delivery: Delivery) -> Self {
        Self {
            mails: delivery.mails,
            deferred: delivery.deferred,
            seconds: delivery.elapsed.as_secs_f64(),
            mails_per_hour: delivery.mails_per_hour(),
            longest_lookup_ms: delivery.longest_lookup.as_millis(),
        }
    }
}

fn shares(report: &Report) -> BTreeMap<String, f64> {
    let answered = report.answered() as f64;
    let counts = report.by_identity().into_iter();
    counts
        .map(|(name, answers)| (name, answers as f64 / answered))
        .collect()
}

/// The times in which queries were lost, by the time since the death, negative before it.
fn losses(report: &Report, death: Instant) -> Vec<Loss> {
    let since_death = |sent: Instant| {
        let time = |to: Instant, from| to.saturating_duration_since(from).as_millis().cast_signed();
        time(sent, death) - time(death, sent)
    };
    let windows = report.loss_windows().into_iter();
    windows
        .map(|window| Loss {
            first_ms: since_death(window.first),
            last_ms: since_death(window.last),
            lost: window.lost,
        })
        .collect()
}

/// Whether so many servers answered, and each about the same share.
fn is_even(report: &Report, servers: usize) -> bool {
    let shares = shares(report);
    let even = 1.0 / servers as f64;
    let near = |share: &f64| (share - even).abs() <= even * SPREAD_TOLERANCE;
    shares.len() == servers && shares.values().all(near)
}
