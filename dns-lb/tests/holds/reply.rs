//! A reply to a probe's query. The first octet chooses what the check wants, the rest is the message,
//! with an id of 0 for the right one.

use std::{net::IpAddr, sync::LazyLock};

use dns_lb::{
    config::{Config, Question},
    health::{Answer, Expected, Ignored, Reply, Shortfall, judge},
};

/// What checks want, as `[service.health]` says it.
const CHECKS: [&str; 8] = [
    "",
    "query = \"example.net. SOA\"\nmax_serial_lag = 3\naccept_rcodes = [\"NOERROR\"]",
    "query = \"example.net. TXT\"\nexpect = \"all well\"\nedns_size = 1232",
    "query = \"example.net. A\"\nmin_answers = 2",
    "query = \"www.example.net. AAAA\"\nrequire_aa = true\nexpect = \"2001:db8::80\"",
    "query = \"example.net. MX\"\nexpect = \"10 mail.example.net\"\nmin_answers = 1",
    "query = \". NS\"\nrequire_aa = true\naccept_rcodes = [\"REFUSED\", \"NOTZONE\"]",
    "query = \"example.net. SOA\"\nmin_answers = 1\nmax_serial_lag = 0\nrequire_aa = true",
];

/// Of the first octet: which check.
const CHECK: u8 = 0b0111;
/// Of the first octet: the question is asked by TCP, too.
const BY_TCP: u8 = 0b1000;

struct Asked {
    question: Question,
    expected: Expected,
    query: Vec<u8>,
}

static ASKED: LazyLock<[Asked; CHECKS.len()]> = LazyLock::new(|| {
    CHECKS.map(|check| {
        let text = format!(
            "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n\
             [service.health]\n{check}\n[[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n"
        );
        let mut config = Config::parse(&text).expect("a configuration");
        let question = config.services[0].health.questions.remove(0);
        let expected = Expected::new(&question);
        let query = expected.query(&question, false).expect("a query");
        Asked {
            question,
            expected,
            query,
        }
    })
});

/// Asserts what must hold; true: the check accepts the reply.
pub(crate) fn holds(octets: &[u8]) -> bool {
    let Some((&choices, reply)) = octets.split_first() else {
        return false;
    };
    let asked = &ASKED[usize::from(choices & CHECK)];
    let by_tcp = choices & BY_TCP != 0;
    let mut message = reply.to_vec();
    for (octet, id) in message.iter_mut().zip(&asked.query[..2]) {
        *octet ^= id;
    }
    let judged = |message: &[u8], by_tcp| judge(message, &asked.expected, &asked.question, by_tcp);

    let verdict = judged(&message, by_tcp);
    assert_eq!(verdict.is_ok(), is_reply(&message, &asked.query));
    let Ok(reply) = verdict else {
        return false;
    };
    let is_truncated = message[2] & 0x02 != 0;
    if !is_truncated {
        assert_eq!(judged(&message, !by_tcp), Ok(reply.clone()));
    }
    for (place, bit, why) in [
        (0, 0x01, Ignored::WrongId),
        (1, 0x80, Ignored::WrongId),
        (2, 0x80, Ignored::NotAReply),
        (2, 0x08, Ignored::NotAReply),
        (5, 0x02, Ignored::WrongQuestion),
    ] {
        let mut altered = message.clone();
        altered[place] ^= bit;
        assert_eq!(judged(&altered, by_tcp), Err(why));
    }
    match reply {
        Reply::Malformed => {
            assert!(!is_truncated, "what is cut short need not parse");
            false
        }
        Reply::Answer(answer) => accepts(&message, &asked.question, by_tcp, &answer),
    }
}

/// Asserts that what an answer lacks is what it does lack; true: it lacks nothing.
fn accepts(message: &[u8], question: &Question, by_tcp: bool, answer: &Answer) -> bool {
    let is_authoritative = message[2] & 0x04 != 0;
    let is_truncated = message[2] & 0x02 != 0;
    let answers = u16::from_be_bytes([message[6], message[7]]);
    let wants_answers =
        question.min_answers > 0 || question.expect.is_some() || question.max_serial_lag.is_some();
    // The rest of the code is in an OPT record.
    assert_eq!(u16::from(answer.code) & 0xf, u16::from(message[3] & 0xf));
    let is_code_accepted = question.accept_rcodes.contains(&answer.code.into());
    assert_eq!(is_code_accepted, answer.shortfall != Some(Shortfall::Code));

    match answer.shortfall {
        None => {
            assert!(is_authoritative || !question.require_aa);
            if is_truncated {
                assert!(by_tcp || !wants_answers);
            } else {
                assert!(answers >= question.min_answers);
                assert!(answers > 0 || !wants_answers);
            }
            let is_compared = question.max_serial_lag.is_some() && !is_truncated;
            assert_eq!(answer.serial.is_some(), is_compared);
            if let Some(serial) = answer.serial {
                assert!(says(message, &serial.to_be_bytes()));
            }
            let expected = question.expect.as_ref().filter(|_| !is_truncated);
            if let Some(Ok(IpAddr::V6(address))) = expected.map(|text| text.parse()) {
                assert!(says(message, &address.octets()));
            }
        }
        Some(ref shortfall) => {
            assert_eq!(answer.serial, None);
            match *shortfall {
                Shortfall::Code => {}
                Shortfall::NotAuthoritative => {
                    assert!(question.require_aa && !is_authoritative);
                }
                Shortfall::Truncated => assert!(is_truncated && !by_tcp && wants_answers),
                Shortfall::TooFewAnswers {
                    answers: found,
                    wanted,
                } => {
                    assert!(!is_truncated && found < wanted && found <= answers);
                    assert_eq!(wanted, question.min_answers);
                }
                Shortfall::ValueMissing => assert!(!is_truncated && question.expect.is_some()),
                Shortfall::SerialMissing => {
                    assert!(!is_truncated && question.max_serial_lag.is_some());
                }
                Shortfall::SerialBehind { .. } => panic!("nothing is known of other backends"),
            }
        }
    }
    if let Some(identity) = &answer.identity {
        assert!((1..=255).contains(&identity.len()), "{identity:?}");
        let is_printable = |octet: u8| octet == b' ' || octet.is_ascii_graphic();
        assert!(identity.bytes().all(is_printable), "{identity:?}");
    }
    answer.shortfall.is_none()
}

fn says(message: &[u8], octets: &[u8]) -> bool {
    message.windows(octets.len()).any(|part| part == octets)
}

/// Whether a message is a reply to a query, told in another way than the agent does: QR, OPCODE
/// query, one question, and id and question of the query.
fn is_reply(message: &[u8], query: &[u8]) -> bool {
    message.len() >= 12
        && message[..2] == query[..2]
        && message[2] & 0xf8 == 0x80
        && message[4..6] == [0, 1]
        && question(message).is_some_and(|found| Some(found) == question(query))
}

/// The first question: name in lower case, type and class (RFC 1035, 4.1.2).
fn question(message: &[u8]) -> Option<(Vec<u8>, [u8; 4])> {
    let mut name = Vec::new();
    let mut place = 12;
    // Where the name began, or where the last pointer led: the next must lead before it.
    let mut start = place;
    let mut end = None;
    loop {
        let length = *message.get(place)?;
        match length {
            0 => {
                let after = end.unwrap_or(place + 1);
                let rest = message.get(after..)?.first_chunk().copied()?;
                return (name.len() < 255).then_some((name, rest));
            }
            1..=63 => {
                let label = message.get(place..place + 1 + usize::from(length))?;
                name.extend(label.to_ascii_lowercase());
                place += label.len();
            }
            192.. => {
                let low = *message.get(place + 1)?;
                end.get_or_insert(place + 2);
                place = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                if place >= start {
                    return None;
                }
                start = place;
            }
            _ => return None,
        }
    }
}
