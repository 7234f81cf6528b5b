//! Words that our configuration has no place for, and why.

use std::time::Duration;

use super::{
    ast::{Aside, Timing},
    scalar,
    tree::Statement,
};
use crate::import::problem::Problems;

/// What may follow a word.
#[derive(Clone, Copy)]
enum Form {
    Flag,
    Number,
    Timer,
    /// One word or more.
    Text,
}

/// A word, what may follow it, and why it is dropped.
type Row = (&'static str, Form, &'static str);

const SCRIPT: &str = "dns-lb runs no scripts; watch its log or /status for transitions.";
const MAIL: &str = "dns-lb sends no mail; watch its log or /status for transitions.";
const START: &str = "After a cold start dns-lb lets every server take queries until probes say \
    otherwise, a matter of a second; a server that a reload adds has to pass first.";
const WARMUP: &str = "Probes are spread over the interval by themselves.";
const INHIBIT: &str = "dns-lb has no entries to keep: a server that is down gets nothing new, and \
    what was on its way to it is steered to another at once.";
const VIRTUAL_HOST: &str = "It is for checks over HTTP, of which there are none.";
const SOURCE: &str = "Probes choose their source themselves: the interface, and a port that nobody \
    can guess.";

const VIRTUAL_SERVER: &[Row] = &[
    ("alpha", Form::Flag, START),
    (
        "omega",
        Form::Flag,
        "When the agent stops, traffic goes on: there is nothing to notify.",
    ),
    (
        "ha_suspend",
        Form::Flag,
        "Every balancer probes at all times, so a standby knows who is up when it takes over.",
    ),
    (
        "quorum",
        Form::Number,
        "It only decided about scripts and the sorry_server. dns-lb steers to those that are up, however \
         few; look at max_ejected and on_no_backend.",
    ),
    (
        "hysteresis",
        Form::Number,
        "It goes with quorum. Against flapping there is flap_window.",
    ),
    ("quorum_up", Form::Text, SCRIPT),
    ("quorum_down", Form::Text, SCRIPT),
    (
        "sorry_server_inhibit",
        Form::Flag,
        "It goes with sorry_server.",
    ),
    (
        "sorry_server_lvs_method",
        Form::Text,
        "It goes with sorry_server.",
    ),
    ("smtp_alert", Form::Flag, MAIL),
    ("virtualhost", Form::Text, VIRTUAL_HOST),
    ("ip_family", Form::Text, "The addresses say it."),
    ("inhibit_on_failure", Form::Flag, INHIBIT),
    ("warmup", Form::Timer, WARMUP),
];

const REAL_SERVER: &[Row] = &[
    ("alpha", Form::Flag, START),
    ("notify_up", Form::Text, SCRIPT),
    ("notify_down", Form::Text, SCRIPT),
    (
        "uthreshold",
        Form::Number,
        "dns-lb counts no connections, so it cannot limit them; give the server a smaller weight.",
    ),
    ("lthreshold", Form::Number, "It goes with uthreshold."),
    ("smtp_alert", Form::Flag, MAIL),
    ("virtualhost", Form::Text, VIRTUAL_HOST),
    ("inhibit_on_failure", Form::Flag, INHIBIT),
    ("warmup", Form::Timer, WARMUP),
];

const CHECK: &[Row] = &[
    ("alpha", Form::Flag, START),
    ("warmup", Form::Timer, WARMUP),
    (
        "log_all_failures",
        Form::Flag,
        "The log has transitions with their reasons; dns-lb status has the newest probe of each server.",
    ),
];

/// Checks that open a connection.
const CONNECTION: &[Row] = &[
    ("bindto", Form::Text, SOURCE),
    ("bind_if", Form::Text, SOURCE),
    ("bind_port", Form::Number, SOURCE),
    (
        "fwmark",
        Form::Number,
        "Probes go through the VIP to the server's MAC address: no rule has to lead them.",
    ),
];

const PAYLOAD: &[Row] = &[
    ("payload", Form::Text, "A DNS query is sent in its place."),
    (
        "require_reply",
        Form::Flag,
        "A probe always wants an answer.",
    ),
    (
        "min_reply_length",
        Form::Number,
        "What a DNS message must be is known.",
    ),
    (
        "max_reply_length",
        Form::Number,
        "What a DNS message must be is known.",
    ),
];

const COMMAND: &[Row] = &[("user", Form::Text, "No program is run any more.")];

/// Where a word stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    VirtualServer,
    RealServer,
    MiscCheck,
    ConnectionCheck,
    UdpCheck,
}

/// Takes a statement that is dropped. `false`: it is none of those.
pub(super) fn take(
    block: Block,
    statement: &Statement,
    asides: &mut Vec<Aside>,
    problems: &mut Problems,
) -> bool {
    let tables: &[&[Row]] = match block {
        Block::VirtualServer => &[VIRTUAL_SERVER],
        Block::RealServer => &[REAL_SERVER],
        Block::MiscCheck => &[CHECK, COMMAND],
        Block::ConnectionCheck => &[CHECK, CONNECTION],
        Block::UdpCheck => &[CHECK, CONNECTION, PAYLOAD],
    };
    let mut rows = tables.iter().flat_map(|table| table.iter());
    let Some(&(_, form, why)) = rows.find(|(word, _, _)| *word == statement.keyword()) else {
        return false;
    };
    let good = match form {
        // The pattern that a reply has to fit may follow.
        Form::Flag if statement.keyword() == "require_reply" => true,
        Form::Flag => scalar::flag(statement, problems).is_some(),
        Form::Number => scalar::number(statement, 0..=u32::MAX, problems).is_some(),
        Form::Timer => scalar::timer(statement, Duration::ZERO, problems).is_some(),
        Form::Text if statement.arguments().is_empty() => {
            scalar::one(statement, "a value", problems).is_some()
        }
        Form::Text => true,
    };
    if good {
        asides.push(Aside {
            place: statement.place.clone(),
            words: statement.raw.clone(),
            why,
        });
    }
    true
}

/// Takes a statement that says when checks run. `false`: it is none.
pub(super) fn take_timing(
    statement: &Statement,
    timing: &mut Timing,
    problems: &mut Problems,
) -> bool {
    let slot = match statement.keyword() {
        "delay_loop" => &mut timing.delay_loop,
        "delay_before_retry" => &mut timing.delay_before_retry,
        "connect_timeout" => &mut timing.connect_timeout,
        "retry" => {
            let retry = scalar::number(statement, 0..=u32::MAX, problems);
            scalar::set(&mut timing.retry, statement, retry, problems);
            return true;
        }
        _ => return false,
    };
    let shortest = match statement.keyword() {
        "delay_before_retry" => Duration::ZERO,
        _ => Duration::from_micros(1),
    };
    let duration = scalar::timer(statement, shortest, problems);
    scalar::set(slot, statement, duration, problems);
    true
}
