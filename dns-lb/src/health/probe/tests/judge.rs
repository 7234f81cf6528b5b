use hickory_proto::{
    op::Edns,
    rr::{
        Name,
        rdata::{AAAA, CNAME, MX, TXT},
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::config::Question;

/// The question of a check, what is expected in reply, and the query.
fn asked(settings: &str) -> (Question, Expected, Vec<u8>) {
    let question = check_with(settings).questions.remove(0);
    let expected = Expected::new(&question);
    let query = expected.query(&question, false).unwrap();
    (question, expected, query)
}

fn shortfall(reply: Reply) -> Option<Shortfall> {
    match reply {
        Reply::Answer(answer) => answer.shortfall,
        Reply::Malformed => panic!("malformed"),
    }
}

/// What the check lacks in a good reply that is changed so.
fn judged(settings: &str, change: impl FnOnce(&mut Message)) -> Option<Shortfall> {
    let (question, expected, query) = asked(settings);
    let mut reply = good_reply(&query);
    change(&mut reply);
    let octets = reply.to_vec().unwrap();
    shortfall(judge(&octets, &expected, &question, false).unwrap())
}

#[test]
fn answers_are_counted() {
    let two_wanted = Some(Shortfall::TooFewAnswers {
        answers: 1,
        wanted: 2,
    });
    assert_eq!(judged("min_answers = 1", |_| {}), None);
    assert_eq!(judged("min_answers = 2", |_| {}), two_wanted);
    assert_eq!(judged("", |reply| reply.answers.clear()), None);
}

#[test]
fn authority_is_asked_for() {
    let lacks = Some(Shortfall::NotAuthoritative);
    assert_eq!(judged("require_aa = true", |_| {}), lacks);
    let give = |reply: &mut Message| reply.metadata.authoritative = true;
    assert_eq!(judged("require_aa = true", give), None);
    assert_eq!(judged("", |_| {}), None);
}

#[test]
fn the_expected_value_must_be_among_the_answers_of_the_type() {
    let rows: [(&str, &str, RData, bool); 8] = [
        ("A", "127.0.0.1", RData::A(A::new(127, 0, 0, 1)), true),
        ("A", "127.0.0.2", RData::A(A::new(127, 0, 0, 1)), false),
        (
            "AAAA",
            "2001:DB8:0:0::1",
            RData::AAAA(AAAA("2001:db8::1".parse().unwrap())),
            true,
        ),
        (
            "MX",
            "10 Mail.example.net",
            RData::MX(MX::new(10, "mail.example.net.".parse().unwrap())),
            true,
        ),
        (
            "TXT",
            "ok and well",
            RData::TXT(TXT::from_bytes(vec![b"ok and", b" well"])),
            true,
        ),
        (
            "TXT",
            "ok",
            RData::TXT(TXT::from_bytes(vec![b"ok", b"not"])),
            false,
        ),
        // Of another type than is asked for.
        (
            "A",
            "b.test",
            RData::CNAME(CNAME("b.test.".parse().unwrap())),
            false,
        ),
        (
            "CNAME",
            "b.test",
            RData::CNAME(CNAME("b.test.".parse().unwrap())),
            true,
        ),
    ];
    for (record_type, expect, data, passes) in rows {
        let settings = format!("query = \"a.test. {record_type}\"\nexpect = \"{expect}\"");
        let shown = data.to_string();
        let lacks = judged(&settings, |reply| {
            let name = Name::root();
            reply.answers = vec![
                Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 9))),
                Record::from_rdata(name, 60, data),
            ];
        });
        let wanted = (!passes).then_some(Shortfall::ValueMissing);
        assert_eq!(lacks, wanted, "{record_type} {expect}: {shown}");
    }
}

#[test]
fn the_code_has_the_bits_of_the_opt_record() {
    let bad_version = |reply: &mut Message| {
        reply.metadata.response_code = ResponseCode::BADVERS;
        reply.set_edns(Edns::new());
    };
    // Its low bits are those of NOERROR.
    assert_eq!(judged("", bad_version), Some(Shortfall::Code));
}

#[test]
fn a_reply_cut_at_any_octet_fails() {
    let (question, expected, query) = asked("");
    let whole = good_octets(&query);
    // The header, and the question: the name's 20 octets, its type and its class.
    let question_ends = 12 + 20 + 4;
    for length in 0..whole.len() {
        let judged = judge(&whole[..length], &expected, &question, false);
        if length < question_ends {
            assert_eq!(judged, Err(Ignored::Garbage), "cut at {length}");
        } else {
            assert_eq!(judged, Ok(Reply::Malformed), "cut at {length}");
        }
    }
    let reply = judge(&whole, &expected, &question, false).unwrap();
    assert_eq!(shortfall(reply), None);
}

#[test]
fn a_reply_that_says_it_is_cut_short_is_judged_by_its_code_alone() {
    for (settings, code, by_tcp, lacks) in [
        ("", ResponseCode::NoError, false, None),
        ("", ResponseCode::ServFail, false, Some(Shortfall::Code)),
        (
            "min_answers = 1",
            ResponseCode::NoError,
            false,
            Some(Shortfall::Truncated),
        ),
        (
            "expect = \"127.0.0.1\"",
            ResponseCode::NoError,
            false,
            Some(Shortfall::Truncated),
        ),
        ("min_answers = 1", ResponseCode::NoError, true, None),
        (
            "min_answers = 1",
            ResponseCode::ServFail,
            true,
            Some(Shortfall::Code),
        ),
    ] {
        let (question, expected, query) = asked(settings);
        let mut reply = good_reply(&query);
        reply.metadata.truncation = true;
        reply.metadata.response_code = code;
        let mut octets = reply.to_vec().unwrap();
        for _ in 0..2 {
            let reply = judge(&octets, &expected, &question, by_tcp).unwrap();
            assert_eq!(shortfall(reply), lacks, "{settings} {code}");
            octets.pop();
        }
    }
}

/// Every rule that a question may have.
const STRICT: &str = "accept_rcodes = [\"NOERROR\"]\nmin_answers = 1\nexpect = \"127.0.0.1\"\n\
                      require_aa = true\nedns_size = 1232";

proptest! {
    #[test]
    fn any_octets_are_judged(octets in vec(any::<u8>(), 0..600)) {
        let (question, expected, _) = asked("");
        // Random octets hold our id with a chance of 2^-16, and our question never.
        prop_assert!(judge(&octets, &expected, &question, false).is_err());
        prop_assert!(reply::judge_identity(&octets, &Expected::identity()).is_err());
    }

    /// Any octets behind a header and question that are right.
    #[test]
    fn any_rest_of_a_reply_is_judged(
        flags in any::<[u8; 2]>(),
        counts in any::<[u8; 3]>(),
        rest in vec(any::<u8>(), 0..300),
    ) {
        let (question, expected, mut octets) = asked(STRICT);
        octets.truncate(12 + 20 + 4);
        octets[2] = 0x80 | flags[0] & 0x07;
        octets[3] = flags[1];
        for (place, count) in [7, 9, 11].into_iter().zip(counts) {
            octets[place] = count % 4;
        }
        octets.extend(rest);
        let judged = judge(&octets, &expected, &question, false).unwrap();
        if let Reply::Answer(answer) = judged {
            let identity = answer.identity.unwrap_or_default();
            prop_assert!(identity.len() <= 255);
            prop_assert!(identity.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
            if answer.shortfall.is_none() {
                // What the address looks like on the wire.
                let address = [127, 0, 0, 1];
                prop_assert!(octets.windows(4).any(|window| window == address));
                prop_assert_eq!(octets[2] & 0x06, 0x04);
            }
        }
    }

    /// Octets changed, cut out and put in anywhere: what still counts as an answer still has our
    /// id, QR and question, and what still passes has all that the rules ask for.
    #[test]
    fn mutated_replies_are_judged(
        changes in vec((any::<Index>(), any::<u8>()), 0..8),
        cut in any::<Index>(),
        cuts in any::<bool>(),
        tail in vec(any::<u8>(), 0..40),
    ) {
        let (question, expected, query) = asked(STRICT);
        let mut reply = good_reply(&query);
        reply.metadata.authoritative = true;
        let mut octets = reply.to_vec().unwrap();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        if cuts {
            octets.truncate(cut.index(octets.len() + 1));
            octets.extend(tail);
        }
        if let Ok(judged) = judge(&octets, &expected, &question, false) {
            prop_assert_eq!(&octets[..2], &query[..2]);
            prop_assert_eq!(octets[2] & 0xf8, 0x80);
            prop_assert_eq!(&octets[4..6], &[0, 1]);
            let asked = octets[12..36].to_ascii_lowercase();
            prop_assert_eq!(asked, query[12..36].to_ascii_lowercase());
            if let Reply::Answer(Answer { shortfall: None, .. }) = judged {
                // AA, not TC, NOERROR, an answer, the address.
                prop_assert_eq!(octets[2] & 0x06, 0x04);
                prop_assert_eq!(octets[3] & 0x0f, 0);
                prop_assert!(octets[6..8] != [0, 0]);
                prop_assert!(octets.windows(4).any(|window| window == [127, 0, 0, 1]));
            }
        }
    }
}
