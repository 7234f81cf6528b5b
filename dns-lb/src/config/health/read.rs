//! Reading the table.

use std::{collections::BTreeSet, time::Duration};

use hickory_proto::rr::RecordType;

use super::{
    super::{
        defaults,
        reader::{Table, Value},
        scalar::{self, Seen},
    },
    HealthCheck, NameTemplate, ProbePath, Question, Transport, comparable,
};

/// Most queries of a check.
pub(crate) const MAX_QUESTIONS: usize = 8;
const INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3_600);
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(60);
const LONGEST_FLAP_WINDOW: Duration = Duration::from_secs(3_600);
/// What every server has to take (RFC 6891, 6.2.3), and more than any is asked for here.
const EDNS_SIZES: std::ops::RangeInclusive<u16> = 512..=4_096;
/// Most through the VIP: a reply that is longer may come in fragments, which a probe does not put
/// together there. Up to this, which the DNS flag day of 2020 recommends, hardly any link makes some.
const MAX_EDNS_SIZE_THROUGH_VIP: u16 = 1_232;

/// Reads the table. `only_tcp`: the service takes nothing else.
pub(in crate::config) fn read(mut table: Table<'_, '_>, only_tcp: bool) -> Option<HealthCheck> {
    let path = table.optional("path", defaults::PATH, Value::choice);
    let (questions, questions_to_pass) = questions(&mut table, path).unzip();
    let default_transport = match only_tcp {
        true => Transport::Tcp,
        false => Transport::Udp,
    };
    let transport = table.optional("transport", default_transport, Value::choice);
    let identity = table.optional("identity", None, Value::choice);
    let check_return = table.optional("check_return", defaults::CHECK_RETURN, Value::boolean);
    let interval = table.optional("interval", defaults::INTERVAL, |value| {
        scalar::duration(value, INTERVAL)
    });
    let longest_fast = interval.unwrap_or(*INTERVAL.end());
    let default_fast = defaults::FAST_INTERVAL.min(longest_fast);
    let fast_interval = table.optional("fast_interval", default_fast, |value| {
        scalar::duration(value, *INTERVAL.start()..=longest_fast)
    });
    let default_down = interval.unwrap_or(defaults::INTERVAL);
    let down_interval = table.optional("down_interval", default_down, |value| {
        scalar::duration(value, INTERVAL)
    });
    let timeout = table.optional("timeout", defaults::TIMEOUT, |value| {
        scalar::duration(value, TIMEOUT)
    });
    let fall = table.optional("fall", defaults::FALL, |value| value.integer(1..=100));
    let rise = table.optional("rise", defaults::RISE, |value| value.integer(1..=100));
    let flap_window = table.optional("flap_window", defaults::FLAP_WINDOW, |value| {
        scalar::duration(value, Duration::ZERO..=LONGEST_FLAP_WINDOW)
    });
    table.finish();

    Some(HealthCheck {
        questions: questions?,
        questions_to_pass: questions_to_pass?,
        transport: transport?,
        path: path?,
        identity: identity?,
        check_return: check_return?,
        interval: interval?,
        fast_interval: fast_interval?,
        down_interval: down_interval?,
        timeout: timeout?,
        fall: fall?,
        rise: rise?,
        flap_window: flap_window?,
    })
}

/// The questions, and how many must be answered: `query` with its rules, or `[[…queries]]`, for
/// which the rules beside it hold where they say nothing themselves. `path`: where they are sent, if
/// that is known.
fn questions(table: &mut Table<'_, '_>, path: Option<ProbePath>) -> Option<(Vec<Question>, usize)> {
    let query = table.optional("query", None, |value| scalar::query(value).map(Some));
    let rules = Rules::read(table, &Rules::default(), path);
    let several = table.optional("queries", None, |value| {
        let (sink, place) = (value.sink, value.place.clone());
        let questions = value.each("tables [[service.health.queries]]", |value| {
            let mut table = value.table()?;
            let query = table.required("query", "query = \"example.net. SOA\"", scalar::query);
            let otherwise = rules.clone().unwrap_or_default();
            let own = Rules::read(&mut table, &otherwise, path);
            let question = own.zip(query).and_then(|(own, query)| {
                let inherits = own.max_serial_lag == otherwise.max_serial_lag;
                own.question(query, (!inherits).then_some(&table))
            });
            table.finish();
            question
        })?;
        if questions.len() > MAX_QUESTIONS {
            let allowed = format!("at most {MAX_QUESTIONS} queries");
            sink.report(&place, "too many", allowed);
            return None;
        }
        Some(Some(questions))
    });
    let count = several
        .as_ref()
        .and_then(|several| several.as_ref())
        .map_or(1, Vec::len);
    let to_pass = table.optional("queries_to_pass", count, |value| value.integer(1..=count));

    let questions = match (query?, several?) {
        (Some(_), Some(_)) => {
            let problem = "there are [[service.health.queries]] already";
            table.report("query", problem, "one of the two");
            return None;
        }
        (None, Some(questions)) => questions,
        (query, None) => {
            let default = || scalar::parse_query(defaults::QUERY).expect("a test parses it");
            vec![rules?.question(query.unwrap_or_else(default), Some(table))?]
        }
    };
    Some((questions, to_pass?))
}

/// What counts as an answer, and how it is asked for: a [`Question`] without its name and type.
#[derive(Clone)]
struct Rules {
    recursion_desired: bool,
    edns_size: u16,
    accept_rcodes: BTreeSet<u16>,
    min_answers: u16,
    expect: Option<String>,
    require_aa: bool,
    max_serial_lag: Option<u32>,
}

impl Default for Rules {
    fn default() -> Self {
        let codes = defaults::ACCEPT_RCODES.into_iter();
        Self {
            recursion_desired: defaults::RECURSION_DESIRED,
            edns_size: defaults::EDNS_SIZE,
            accept_rcodes: codes.filter_map(scalar::rcode_number).collect(),
            min_answers: defaults::MIN_ANSWERS,
            expect: None,
            require_aa: defaults::REQUIRE_AA,
            max_serial_lag: None,
        }
    }
}

impl Rules {
    /// Reads what a table says; `otherwise` holds where it says nothing.
    fn read(table: &mut Table<'_, '_>, otherwise: &Self, path: Option<ProbePath>) -> Option<Self> {
        let recursion_desired = table.optional(
            "recursion_desired",
            otherwise.recursion_desired,
            Value::boolean,
        );
        let edns_size = table.optional("edns_size", otherwise.edns_size, |value| {
            edns_size(value, path)
        });
        let accept_rcodes =
            table.optional("accept_rcodes", otherwise.accept_rcodes.clone(), rcodes);
        let min_answers = table.optional("min_answers", otherwise.min_answers, |value| {
            value.integer(0..=100)
        });
        let expect = table.optional("expect", otherwise.expect.clone(), |value| {
            let allowed = "a record's data, as `dig +short` shows them";
            value.text(allowed, |text| match comparable(text) {
                data if data.is_empty() => Err("is empty"),
                data => Ok(Some(data)),
            })
        });
        let require_aa = table.optional("require_aa", otherwise.require_aa, Value::boolean);
        let max_serial_lag = table.optional("max_serial_lag", otherwise.max_serial_lag, |value| {
            value.integer(0..=1_000_000).map(Some)
        });
        Some(Self {
            recursion_desired: recursion_desired?,
            edns_size: edns_size?,
            accept_rcodes: accept_rcodes?,
            min_answers: min_answers?,
            expect: expect?,
            require_aa: require_aa?,
            max_serial_lag: max_serial_lag?,
        })
    }

    /// These rules for a query. How far a serial lags can only be told of an SOA record: a table that
    /// says so of another is at fault.
    fn question(
        self,
        (name, record_type): (NameTemplate, RecordType),
        table: Option<&Table<'_, '_>>,
    ) -> Option<Question> {
        let is_soa = record_type == RecordType::SOA;
        if let Some(table) = table
            && !is_soa
            && self.max_serial_lag.is_some()
        {
            let problem = "of no use with this type";
            table.report("max_serial_lag", problem, "with a query of type SOA alone");
            return None;
        }
        Some(Question {
            name,
            record_type,
            recursion_desired: self.recursion_desired,
            edns_size: (self.edns_size > 0).then_some(self.edns_size),
            accept_rcodes: self.accept_rcodes,
            min_answers: self.min_answers,
            expect: self.expect,
            require_aa: self.require_aa,
            max_serial_lag: self.max_serial_lag.filter(|_| is_soa),
        })
    }
}

fn edns_size(value: Value<'_, '_>, path: Option<ProbePath>) -> Option<u16> {
    let (sink, place) = (value.sink, value.place.clone());
    let size = value.integer(0..=*EDNS_SIZES.end())?;
    if size > 0 && !EDNS_SIZES.contains(&size) {
        let (smallest, largest) = EDNS_SIZES.into_inner();
        let allowed = format!("0 for no EDNS, or {smallest} to {largest}");
        sink.report(&place, format!("{size} is out of range"), allowed);
        return None;
    }
    let asks_vip = matches!(path, Some(ProbePath::Vip | ProbePath::Both));
    if asks_vip && size > MAX_EDNS_SIZE_THROUGH_VIP {
        let allowed = format!(
            "at most {MAX_EDNS_SIZE_THROUGH_VIP}, since longer replies may come in fragments, which \
             are not seen there, or path = \"real\""
        );
        sink.report(
            &place,
            format!("{size} is too much through the VIP"),
            allowed,
        );
        return None;
    }
    Some(size)
}

fn rcodes(value: Value<'_, '_>) -> Option<BTreeSet<u16>> {
    let mut seen = Seen::default();
    let codes = value.each("a list of response codes such as \"NOERROR\"", |value| {
        seen.read_new(value, scalar::rcode)
    });
    let names = codes?.into_iter();
    Some(names.filter_map(scalar::rcode_number).collect())
}
