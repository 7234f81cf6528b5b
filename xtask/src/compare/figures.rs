//! The figures of the records' rows, and dns-lb's beside each of the others'.

use std::fmt;

use dns_lb_tests::comparison::{
    Arrangement, CostRow, FailoverRow, FailoverRun, Forwarder, MailPhase, MailRow, MailRun,
};

use super::{
    record::{Place, Records},
    statistics::{Bound, Sample, Spread},
};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    MailsAnHour,
    LongestLookup,
    MailsPutOff,
    QueriesLost,
    SecondsOfLoss,
    PathTime,
    QueriesASecond,
    LabTime,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MailsAnHour => "mails an hour while a server is dead",
            Self::LongestLookup => "longest look-up while a server is dead",
            Self::MailsPutOff => "mails put off while a server is dead",
            Self::QueriesLost => "queries lost",
            Self::SecondsOfLoss => "seconds until the last loss",
            Self::PathTime => "time a packet, driver to driver",
            Self::QueriesASecond => "queries a second, end to end",
            Self::LabTime => "CPU time a query, of the whole lab",
        })
    }
}

/// dns-lb beside something older, in one figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    /// Where both were measured.
    pub(super) place: &'static str,
    pub(super) figure: Figure,
    /// Under what circumstances; may be empty.
    pub(super) case: String,
    pub(super) theirs: String,
    pub(super) ours: String,
    /// Whether both are tuned or neither is.
    pub(super) is_like: bool,
    /// How many times better dns-lb is: above 1 it wins, below 1 it loses.
    pub(super) times: Spread,
}

/// Every comparison that the records have: those of one figure and the same two together.
pub(super) fn compare(records: &Records) -> Vec<Comparison> {
    let mut all = Vec::new();
    for (name, place) in records.places() {
        all.extend(compare_mail(name, place));
        all.extend(compare_failover(name, place));
        all.extend(compare_cost(name, place));
    }
    let mut order: Vec<(Figure, &str, String, String)> = Vec::new();
    all.sort_by_cached_key(|it: &Comparison| {
        let names = (it.figure, it.place, it.theirs.clone(), it.ours.clone());
        let found = order.iter().position(|other| *other == names);
        found.unwrap_or_else(|| {
            order.push(names);
            order.len() - 1
        })
    });
    all
}

/// Whether an arrangement is dns-lb.
pub(super) fn is_ours(arrangement: Arrangement) -> bool {
    matches!(arrangement, Arrangement::DnsLb | Arrangement::DnsLbTuned)
}

/// Which dns-lb an arrangement is compared with where there is room for one: like with like.
pub(super) fn counterpart(arrangement: Arrangement) -> Arrangement {
    match arrangement {
        Arrangement::NameserverLinesTuned | Arrangement::IpvsTuned | Arrangement::DnsdistTuned => {
            Arrangement::DnsLbTuned
        }
        _ => Arrangement::DnsLb,
    }
}

/// The deaths of some rows: those that are known in their order, and then any other.
pub(super) fn deaths<'a>(deaths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = deaths.collect();
    let order = |death: &str| {
        let known = ["killed", "hung", "blackholed"];
        known
            .iter()
            .position(|it| *it == death)
            .unwrap_or(known.len())
    };
    found.sort_by(|a, b| order(a).cmp(&order(b)).then(a.cmp(b)));
    found.dedup();
    found
}

/// What is said of clients' ports.
pub(super) fn ports(fixed: bool) -> &'static str {
    if fixed { "one port" } else { "a port a query" }
}

/// Mails an hour at the rate of a phase.
pub(super) fn mails_an_hour(
    row: &MailRow,
    phase: impl Fn(&MailRun) -> &MailPhase,
) -> Option<Spread> {
    let phases = row.runs.iter().map(phase);
    let lasting = phases.filter(|phase| phase.seconds > 0.0);
    Spread::of(lasting.map(MailPhase::mails_per_hour))
}

/// The longest look-up of a phase, in seconds.
pub(super) fn longest_lookup(
    row: &MailRow,
    phase: impl Fn(&MailRun) -> &MailPhase,
) -> Option<Spread> {
    let phases = row.runs.iter().map(phase);
    Spread::of(phases.map(|phase| phase.longest_lookup_ms / 1e3))
}

/// Mails of a phase of which a look-up failed.
pub(super) fn put_off(row: &MailRow, phase: impl Fn(&MailRun) -> &MailPhase) -> Option<Spread> {
    let phases = row.runs.iter().map(phase);
    Spread::of(phases.map(|phase| phase.deferred as f64))
}

/// Queries lost of those sent from the death on.
pub(super) fn lost(row: &FailoverRow) -> Option<Spread> {
    Spread::of(row.runs.iter().map(|run| Sample {
        value: run.lost as f64,
        bound: bound(run),
    }))
}

/// Seconds from the death to when the last query was sent that was lost.
pub(super) fn seconds(row: &FailoverRow) -> Option<Spread> {
    Spread::of(row.runs.iter().map(|run| Sample {
        value: run.until_last_loss_ms / 1e3,
        bound: bound(run),
    }))
}

/// What a run's figures are that was ended before the loss.
pub(super) fn bound(run: &FailoverRun) -> Bound {
    if run.still_losing {
        Bound::AtLeast
    } else {
        Bound::Exact
    }
}

/// CPU time of the whole lab a query above that without a balancer in the same round, in nanoseconds.
pub(super) fn lab_above_nothing(row: &CostRow, rows: &[CostRow]) -> Option<Spread> {
    let nothing = rows.iter().find(|it| it.forwarder == Forwarder::Nothing)?;
    let pairs = row.lab_ns.iter().zip(&nothing.lab_ns);
    Spread::of(pairs.map(|(with, without)| with - without))
}

fn compare_mail(place_name: &'static str, place: &Place) -> Vec<Comparison> {
    let rows = place.mail.iter().flat_map(|part| &part.rows);
    let (ours, theirs): (Vec<_>, Vec<_>) = rows.partition(|row| is_ours(row.arrangement));
    let mut all = Vec::new();
    for theirs in theirs {
        for ours in ours.iter().filter(|ours| ours.death == theirs.death) {
            let mails = [ours, theirs].map(|row| mails_an_hour(row, |run| &run.during));
            let lookups = [theirs, ours].map(|row| longest_lookup(row, |run| &run.during));
            let put_offs = [theirs, ours].map(|row| put_off(row, |run| &run.during));
            let figures = [
                (Figure::MailsAnHour, mails),
                (Figure::LongestLookup, lookups),
                (Figure::MailsPutOff, put_offs),
            ];
            let arrangements = [theirs.arrangement, ours.arrangement];
            all.extend(of_two(place_name, &theirs.death, arrangements, figures));
        }
    }
    all
}

fn compare_failover(place_name: &'static str, place: &Place) -> Vec<Comparison> {
    let rows = place.failover.iter().flat_map(|part| &part.rows);
    let (ours, theirs): (Vec<_>, Vec<_>) = rows.partition(|row| is_ours(row.arrangement));
    let mut all = Vec::new();
    for theirs in theirs {
        let is_same = |ours: &&&FailoverRow| {
            ours.death == theirs.death
                && ours.fixed_port == theirs.fixed_port
                && ours.rate == theirs.rate
        };
        let case = format!("{}, {}", theirs.death, ports(theirs.fixed_port));
        for ours in ours.iter().filter(is_same) {
            let figures = [
                (Figure::QueriesLost, [theirs, ours].map(lost)),
                (Figure::SecondsOfLoss, [theirs, ours].map(seconds)),
            ];
            let arrangements = [theirs.arrangement, ours.arrangement];
            all.extend(of_two(place_name, &case, arrangements, figures));
        }
    }
    all
}

/// Theirs and ours in a case, by each figure that both have: the first spread over the second.
fn of_two(
    place: &'static str,
    case: &str,
    [theirs, ours]: [Arrangement; 2],
    figures: impl IntoIterator<Item = (Figure, [Option<Spread>; 2])>,
) -> impl Iterator<Item = Comparison> {
    figures
        .into_iter()
        .filter_map(move |(figure, [over, under])| {
            Some(Comparison {
                place,
                figure,
                case: case.to_owned(),
                theirs: theirs.to_string(),
                ours: ours.to_string(),
                is_like: counterpart(theirs) == ours,
                times: over?.over(&under?)?,
            })
        })
}

/// Forwarders were measured in turn within a round, so rounds are pairs.
fn compare_cost(place_name: &'static str, place: &Place) -> Vec<Comparison> {
    let rows = place.cost.iter().flat_map(|part| &part.rows);
    let (ours, theirs): (Vec<_>, Vec<_>) = rows.partition(|row| {
        matches!(
            row.forwarder,
            Forwarder::DnsLbNative | Forwarder::DnsLbGeneric
        )
    });
    let mut all = Vec::new();
    for theirs in theirs {
        for &ours in &ours {
            for (figure, over, under) in [
                (Figure::PathTime, &theirs.path_ns, &ours.path_ns),
                (
                    Figure::QueriesASecond,
                    &ours.queries_per_second,
                    &theirs.queries_per_second,
                ),
                (Figure::LabTime, &theirs.lab_ns, &ours.lab_ns),
            ] {
                let times = Spread::of_paired(over, under);
                all.extend(times.map(|times| Comparison {
                    place: place_name,
                    figure,
                    case: String::new(),
                    theirs: theirs.forwarder.to_string(),
                    ours: ours.forwarder.to_string(),
                    is_like: true,
                    times,
                }));
            }
        }
    }
    all
}
