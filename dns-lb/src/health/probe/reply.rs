//! What comes back: whether it is the reply, and whether the check accepts what it says.

use std::{fmt, fmt::Write};

use hickory_proto::{
    op::{Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{
        RData, Record,
        rdata::opt::{EdnsCode, EdnsOption},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::{outcome::Shortfall, question::Expected};
use crate::config::{Question, comparable};

/// Most characters of an identity that are kept: as many as a TXT string holds (RFC 1035, 3.3).
const IDENTITY_CHARACTERS: usize = 255;

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A whole message, or one that the server marked as cut short (TC).
    Answer(Answer),
    /// Does not parse after the question.
    Malformed,
}

/// What a reply that parses says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its response code, with the bits of an OPT record (RFC 6891, 6.1.3).
    pub code: ResponseCode,
    /// What it lacks to be accepted; `None`: it is.
    pub shortfall: Option<Shortfall>,
    /// The serial in it, if that is to be compared and it is accepted otherwise.
    pub serial: Option<u32>,
    /// The server's name for itself, by NSID; made safe to show.
    pub identity: Option<Box<str>>,
}

/// Why a message is not the reply to our query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Too short for a header, or the question does not parse.
    Garbage,
    /// Another id.
    WrongId,
    /// A query, or another kind of message (QR, OPCODE).
    NotAReply,
    /// No question, several, or another one than ours.
    WrongQuestion,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Garbage => "garbage",
            Self::WrongId => "a reply with another id",
            Self::NotAReply => "a message that is no reply to a query",
            Self::WrongQuestion => "a reply to another question",
        })
    }
}

/// Whether a message is the reply to our query, and what it says.
///
/// Octets up to the question decide whether it counts at all: QR set, OPCODE query, our id, our
/// question and no other. Where they agree the server itself is speaking, and what follows is its
/// own affair: a rest that does not parse is malformed, unless the server says that it is cut short
/// (TC). Then its answers are not all there, and rules about them are not met; with
/// `answers_by_tcp` they are left to the same question by TCP. Takes any octets.
///
/// # Errors
/// Why the message is to be ignored.
pub fn judge(
    octets: &[u8],
    expected: &Expected,
    question: &Question,
    answers_by_tcp: bool,
) -> Result<Reply, Ignored> {
    let header = match_reply(octets, expected)?;
    let message = Message::from_vec(octets).ok();
    if message.is_none() && !header.truncation {
        return Ok(Reply::Malformed);
    }
    let metadata = message.as_ref().map_or(header, |message| message.metadata);
    let (shortfall, serial) = if !question.accepts(metadata.response_code) {
        (Some(Shortfall::Code), None)
    } else if question.require_aa && !metadata.authoritative {
        (Some(Shortfall::NotAuthoritative), None)
    } else {
        let whole = message.as_ref().filter(|_| !header.truncation);
        match whole {
            Some(message) => judge_answers(&message.answers, question),
            None if answers_by_tcp || !asks_for_answers(question) => (None, None),
            None => (Some(Shortfall::Truncated), None),
        }
    };
    Ok(Reply::Answer(Answer {
        code: metadata.response_code,
        shortfall,
        serial,
        identity: message.as_ref().and_then(nsid),
    }))
}

/// What a server calls itself in its reply to `id.server. CH TXT`, made safe to show; `None`: it
/// does not say.
pub(super) fn judge_identity(
    octets: &[u8],
    expected: &Expected,
) -> Result<Option<Box<str>>, Ignored> {
    match_reply(octets, expected)?;
    let Ok(message) = Message::from_vec(octets) else {
        return Ok(None);
    };
    let texts = message.answers.iter().filter_map(|record| {
        let RData::TXT(text) = &record.data else {
            return None;
        };
        Some(text.txt_data.concat())
    });
    Ok(texts
        .into_iter()
        .find(|text| !text.is_empty())
        .map(|text| escaped(&text)))
}

/// The header of a message that is the reply to our query.
fn match_reply(octets: &[u8], expected: &Expected) -> Result<Metadata, Ignored> {
    let mut decoder = BinDecoder::new(octets);
    let Header {
        metadata, counts, ..
    } = Header::read(&mut decoder).map_err(|_| Ignored::Garbage)?;
    if metadata.id != expected.id {
        return Err(Ignored::WrongId);
    }
    if metadata.message_type != MessageType::Response || metadata.op_code != OpCode::Query {
        return Err(Ignored::NotAReply);
    }
    if counts.queries != 1 {
        return Err(Ignored::WrongQuestion);
    }
    let question = Query::read(&mut decoder).map_err(|_| Ignored::Garbage)?;
    if !expected.asks(&question) {
        return Err(Ignored::WrongQuestion);
    }
    Ok(metadata)
}

/// Whether a question has rules that only answers can meet.
fn asks_for_answers(question: &Question) -> bool {
    question.min_answers > 0 || question.expect.is_some() || question.max_serial_lag.is_some()
}

fn judge_answers(answers: &[Record], question: &Question) -> (Option<Shortfall>, Option<u32>) {
    let wanted = question.min_answers;
    if answers.len() < usize::from(wanted) {
        let shortfall = Shortfall::TooFewAnswers {
            // Less than `wanted`.
            answers: answers.len() as u16,
            wanted,
        };
        return (Some(shortfall), None);
    }
    let is_expected = |record: &Record, expected: &str| {
        record.record_type() == question.record_type
            && comparable(&record.data.to_string()) == expected
    };
    if let Some(expected) = &question.expect
        && !answers.iter().any(|record| is_expected(record, expected))
    {
        return (Some(Shortfall::ValueMissing), None);
    }
    if question.max_serial_lag.is_none() {
        return (None, None);
    }
    let serial = answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    match serial {
        Some(_) => (None, serial),
        None => (Some(Shortfall::SerialMissing), None),
    }
}

/// NSID as text where it is, else in hexadecimal digits (RFC 5001, 3.1 leaves it open).
fn nsid(message: &Message) -> Option<Box<str>> {
    let option = message.edns.as_ref()?.option(EdnsCode::NSID)?;
    let EdnsOption::NSID(payload) = option else {
        return None;
    };
    let octets = payload.as_ref();
    if octets.is_empty() {
        return None;
    }
    if octets.iter().all(|octet| is_printable(*octet)) {
        return Some(escaped(octets));
    }
    let mut text = String::new();
    for octet in octets.iter().take(IDENTITY_CHARACTERS / 2) {
        write!(text, "{octet:02x}").expect("a string takes all");
    }
    Some(text.into())
}

/// Octets as a zone file has them: those that are not printable ASCII as `\DDD` (RFC 1035, 5.1).
fn escaped(octets: &[u8]) -> Box<str> {
    let mut text = String::new();
    for &octet in octets {
        let width = if is_printable(octet) { 1 } else { 4 };
        if text.len() + width > IDENTITY_CHARACTERS {
            break;
        }
        match width {
            1 => text.push(char::from(octet)),
            _ => write!(text, "\\{octet:03}").expect("a string takes all"),
        }
    }
    text.into()
}

fn is_printable(octet: u8) -> bool {
    octet.is_ascii_graphic() || octet == b' '
}
