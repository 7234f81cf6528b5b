//! A probe: all questions by all transports on all ways, at once, and the outcome of them together.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::ResponseCode;
use tokio::time::Instant;

use super::{
    Extra, Prober, Reach, Target,
    exchange::{Asker, Finding, Manner, Way},
    outcome::{Ending, Outcome, OwnFault, Shortfall, Unasked, Unreachable},
    ways::ways,
};
use crate::{
    config::{HealthCheck, IdentityQuery, Protocol, Transport},
    ethtool,
};

/// How many times an answer may be missed before the serial that it would show counts no more.
const SERIAL_OUTLIVES: u32 = 4;

pub(super) async fn run(
    prober: &Prober,
    target: &Target,
    check: &HealthCheck,
    reach: &Reach,
    extra: Extra,
) -> Outcome {
    let asker = Asker {
        prober,
        target,
        reach,
        deadline: Instant::now() + check.timeout,
        serials_count_for: SERIAL_OUTLIVES * check.interval.max(check.timeout),
    };
    let outcome = match ways(target, check.path, reach, extra.trusts_stand_in) {
        Ok((ways, unasked)) => ask(asker, check, ways, unasked, extra).await,
        Err(ending) => ending.into(),
    };
    if !says_serial(&outcome) {
        prober.forget(&target.backend);
    }
    outcome
}

/// Whether what a backend has shown of its zones counts after this. One that fails does not serve
/// them: what it had must not take down those that do.
fn says_serial(outcome: &Outcome) -> bool {
    let is_behind = matches!(
        outcome.ending(),
        Ending::NotAccepted {
            shortfall: Shortfall::SerialBehind { .. },
            ..
        }
    );
    outcome.passed() || outcome.is_own_fault() || is_behind
}

async fn ask(
    asker: Asker<'_>,
    check: &HealthCheck,
    ways: Vec<Way<'_>>,
    unasked: Option<Unasked>,
    extra: Extra,
) -> Outcome {
    let round = Round {
        asker,
        check,
        ways,
        protocols: match check.transport {
            Transport::Udp => &[Protocol::Udp],
            Transport::Tcp => &[Protocol::Tcp],
            Transport::Both => &[Protocol::Udp, Protocol::Tcp],
        },
    };
    let errands = round.errands(extra);
    let mut tally = Tally::new(&round, &errands);
    if let [only] = errands[..] {
        tally.take(only, round.run(only).await);
    } else {
        let running = errands.into_iter().map(|errand| {
            let found = round.run(errand);
            async move { (errand, found.await) }
        });
        let mut running = running.collect::<FuturesUnordered<_>>();
        while let Some((errand, found)) = running.next().await {
            tally.take(errand, found);
            if tally.is_over() {
                break;
            }
        }
    }
    let mut outcome = tally.outcome();
    if !matches!(
        outcome.ending(),
        Ending::OwnFault(OwnFault::NoSource { .. })
    ) {
        outcome.unasked = unasked;
    }
    outcome
}

struct Round<'a> {
    asker: Asker<'a>,
    check: &'a HealthCheck,
    ways: Vec<Way<'a>>,
    protocols: &'static [Protocol],
}

/// One query of a round. Numbers are places in its lists.
#[derive(Clone, Copy)]
enum Errand {
    Ask {
        way: usize,
        protocol: usize,
        question: usize,
    },
    /// The first question to the backend's own address.
    Diagnose,
    /// The first question from a foreign MAC address.
    CheckReturn { way: usize },
    /// Who the server is.
    AskIdentity,
}

enum Found {
    Ending(Finding),
    ReturnPath(Option<bool>),
    Identity(Option<Box<str>>),
}

impl Round<'_> {
    fn errands(&self, extra: Extra) -> Vec<Errand> {
        let questions = self.check.questions.len();
        let asked = self.ways.len() * self.protocols.len() * questions;
        let mut errands = Vec::with_capacity(asked);
        for way in 0..self.ways.len() {
            for protocol in 0..self.protocols.len() {
                errands.extend((0..questions).map(|question| Errand::Ask {
                    way,
                    protocol,
                    question,
                }));
            }
        }
        let mut ways = self.ways.iter();
        let link_way = ways.position(|way| matches!(way, Way::Link { .. }));
        let asks_real = ways_ask_real(&self.ways);
        if let Some(way) = link_way {
            if extra.diagnose && !asks_real {
                errands.push(Errand::Diagnose);
            }
            if extra.check_return {
                errands.push(Errand::CheckReturn { way });
            }
        }
        if extra.ask_identity && self.check.identity == Some(IdentityQuery::Chaos) {
            errands.push(Errand::AskIdentity);
        }
        errands
    }

    async fn run(&self, errand: Errand) -> Found {
        let first = &self.check.questions[0];
        match errand {
            Errand::Ask {
                way,
                protocol,
                question,
            } => {
                let manner = self.manner(protocol);
                let question = &self.check.questions[question];
                Found::Ending(self.asker.ask(&self.ways[way], manner, question).await)
            }
            Errand::Diagnose => {
                let address = self.asker.target.address;
                let (way, manner) = (Way::Real { address }, self.manner(0));
                Found::Ending(self.asker.ask(&way, manner, first).await)
            }
            Errand::CheckReturn { way } => {
                Found::ReturnPath(self.asker.check_return(&self.ways[way], first).await)
            }
            Errand::AskIdentity => {
                let asked = self.asker.ask_identity(&self.ways[0], self.protocols[0]);
                Found::Identity(asked.await)
            }
        }
    }

    fn manner(&self, protocol: usize) -> Manner {
        let protocol = self.protocols[protocol];
        Manner {
            protocol,
            answers_by_tcp: protocol == Protocol::Udp && self.protocols.contains(&Protocol::Tcp),
            nsid: self.check.identity == Some(IdentityQuery::Nsid),
        }
    }

    /// Which query of the round this is, by what is not the same for all of them.
    fn describe(&self, way: usize, protocol: usize, question: usize) -> Option<Box<str>> {
        let mut words = Vec::new();
        if self.ways.len() > 1 {
            words.push(self.ways[way].address().to_string());
        }
        if self.protocols.len() > 1 {
            let name = match self.protocols[protocol] {
                Protocol::Udp => "UDP",
                Protocol::Tcp => "TCP",
            };
            words.push(name.to_owned());
        }
        if self.check.questions.len() > 1 {
            let question = &self.check.questions[question];
            words.push(format!("{} {}", question.name, question.record_type));
        }
        (!words.is_empty()).then(|| words.join(", ").into())
    }
}

fn ways_ask_real(ways: &[Way<'_>]) -> bool {
    ways.iter().any(Way::is_real)
}

/// What is known of a round so far.
struct Tally<'a> {
    round: &'a Round<'a>,
    /// One for each way and transport.
    groups: Vec<Group>,
    slowest: Option<(ResponseCode, Duration)>,
    /// The group that failed first.
    failed: Option<usize>,
    /// Whether the backend's own address has answered as it should.
    real_passed: bool,
    /// Queries beside the purpose that a pass still waits for.
    awaited: usize,
    return_path: Option<bool>,
    identity: Option<Box<str>>,
}

/// The questions on one way by one transport.
#[derive(Default)]
struct Group {
    passed: usize,
    failed: usize,
    /// The first failure, and its question.
    failure: Option<(Ending, usize)>,
    /// The first fault on this side, and its question.
    own_fault: Option<(Ending, usize)>,
}

impl<'a> Tally<'a> {
    fn new(round: &'a Round<'a>, errands: &[Errand]) -> Self {
        let is_awaited =
            |errand: &&Errand| matches!(errand, Errand::CheckReturn { .. } | Errand::AskIdentity);
        let groups = round.ways.len() * round.protocols.len();
        Self {
            round,
            groups: (0..groups).map(|_| Group::default()).collect(),
            slowest: None,
            failed: None,
            real_passed: false,
            awaited: errands.iter().filter(is_awaited).count(),
            return_path: None,
            identity: None,
        }
    }

    fn take(&mut self, errand: Errand, found: Found) {
        match found {
            Found::Ending(Finding { ending, identity }) => {
                self.identity = self.identity.take().or(identity);
                match errand {
                    Errand::Ask {
                        way,
                        protocol,
                        question,
                    } => self.note(way, protocol, question, ending),
                    _ => self.real_passed |= matches!(ending, Ending::Passed { .. }),
                }
            }
            Found::ReturnPath(way) => {
                self.return_path = way;
                self.awaited -= 1;
            }
            Found::Identity(identity) => {
                self.identity = identity;
                self.awaited -= 1;
            }
        }
    }

    fn note(&mut self, way: usize, protocol: usize, question: usize, ending: Ending) {
        let place = way * self.round.protocols.len() + protocol;
        let check = self.round.check;
        let ending = match self.round.ways[way] {
            Way::StandIn { vip, interface, .. }
                if !matches!(ending, Ending::Passed { .. } | Ending::OwnFault(_)) =>
            {
                let interface = interface.into();
                OwnFault::NoSource { vip, interface }.into()
            }
            _ => ending,
        };
        let group = &mut self.groups[place];
        match ending {
            Ending::Passed { code, rtt } => {
                group.passed += 1;
                self.real_passed |= self.round.ways[way].is_real();
                if self.slowest.is_none_or(|(_, slowest)| rtt > slowest) {
                    self.slowest = Some((code, rtt));
                }
            }
            Ending::OwnFault(_) => {
                group.own_fault.get_or_insert((ending, question));
            }
            ending => {
                group.failed += 1;
                group.failure.get_or_insert((ending, question));
                if check.questions.len() - group.failed < check.questions_to_pass {
                    self.failed.get_or_insert(place);
                }
            }
        }
    }

    fn has_passed(&self) -> bool {
        let wanted = self.round.check.questions_to_pass;
        self.groups.iter().all(|group| group.passed >= wanted)
    }

    /// Whether nothing that is still to come changes the outcome.
    fn is_over(&self) -> bool {
        self.failed.is_some() || (self.awaited == 0 && self.has_passed())
    }

    fn outcome(mut self) -> Outcome {
        let (ending, query) = self.ending();
        let mut outcome = Outcome::from(ending);
        outcome.query = query;
        outcome.identity = self.identity;
        outcome.return_path = self.return_path;
        outcome
    }

    fn ending(&mut self) -> (Ending, Option<Box<str>>) {
        let wanted = self.round.check.questions_to_pass;
        let lacking = self.groups.iter().position(|group| group.passed < wanted);
        let Some(place) = self.failed.or(lacking) else {
            let (code, rtt) = self.slowest.expect("a way is asked at least one question");
            let ending = match self.return_path {
                Some(false) => Ending::WrongMac { rtt },
                _ => Ending::Passed { code, rtt },
            };
            return (ending, None);
        };
        let group = &mut self.groups[place];
        let cause = match self.failed {
            Some(_) => group.failure.take(),
            // Too few have failed, and too few have passed: the rest could not be asked.
            None => group.own_fault.take(),
        };
        let (ending, question) = cause.expect("that is what the group is here for");
        let protocols = self.round.protocols.len();
        let (way, protocol) = (place / protocols, place % protocols);
        let query = match self.round.ways[way] {
            // The fault is not in the query.
            Way::StandIn { .. } => None,
            _ => self.round.describe(way, protocol, question),
        };
        (self.diagnose(ending), query)
    }

    /// What an ending comes to in the light of all that is known.
    fn diagnose(&self, ending: Ending) -> Ending {
        let is_silence = matches!(
            ending,
            Ending::TimedOut { .. }
                | Ending::Unreachable {
                    why: Unreachable::Kernel(_),
                    ..
                }
        );
        let asker = &self.round.asker;
        if is_silence
            && !asker.target.local
            && let Some(link) = &asker.reach.link
            && let Ok(false) = ethtool::has_carrier(&link.interface)
        {
            let interface = link.interface.as_str().into();
            return OwnFault::NoCarrier { interface }.into();
        }
        match ending {
            Ending::TimedOut { vip: Some(vip), .. } if self.real_passed && !asker.target.local => {
                Ending::VipMissing {
                    vip,
                    answers_on: Some(asker.target.address),
                }
            }
            ending => ending,
        }
    }
}

#[cfg(test)]
mod tests;
