//! Checks: what is asked, and what passes. Our check belongs to a service, so all its servers have to
//! be asked the same.

use std::{collections::BTreeSet, net::IpAddr, path::Path, time::Duration};

use super::{
    shortened,
    timing::{self, Defaults, Schedule},
};
use crate::{
    config::{self, MAX_QUESTIONS, Transport},
    import::{
        keepalived::{
            Options,
            ast::{At, Check, CheckKind, RealServer, VirtualServer},
            command::CommandLine,
            dig::{self, Dig},
        },
        model::{Health, Query},
        problem::{Place, Problems},
        remark::{Kind, Remarks},
    },
};

/// What is asked of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Empty: the file asks for nothing that is a query.
    queries: BTreeSet<Query>,
    udp: bool,
    tcp: bool,
}

/// The check of a service, and whether its query is ours, because the file has none. `None`: what is
/// wrong has been reported.
pub(super) fn health(
    server: &VirtualServer,
    vips: &[IpAddr],
    port: u16,
    options: Options,
    problems: &mut Problems,
) -> Option<(Health, bool)> {
    let mut reader = Reader {
        server,
        vips,
        port,
        remarks: Remarks::default(),
        problems,
        schedule: None,
        differ: false,
        is_wrong: false,
    };
    let mut first: Option<(&RealServer, Asked)> = None;
    for real in &server.real_servers {
        let Some(asked) = reader.asked(real) else {
            continue;
        };
        match &first {
            None => first = Some((real, asked)),
            Some((model, expected)) if asked != *expected => {
                let what = format!(
                    "real_server {} is checked otherwise than {} on {}",
                    real.address, model.address, model.place
                );
                let remedy = "dns-lb asks all servers of a service the same: write the same checks, or make \
                              a virtual_server of its own";
                reader.problems.add(&real.place, what, remedy);
                reader.is_wrong = true;
            }
            Some(_) => {}
        }
    }
    reader.unchecked(first.is_some());
    let Reader {
        mut remarks,
        schedule,
        differ,
        is_wrong,
        problems,
        ..
    } = reader;
    let asked = first.map(|(_, asked)| asked).unwrap_or_default();
    let is_bare = asked.queries.is_empty();
    let queries: Vec<Query> = match is_bare {
        true => vec![bare_query()],
        false => asked.queries.into_iter().collect(),
    };
    if queries.len() > MAX_QUESTIONS {
        let what = format!("more than {MAX_QUESTIONS} different queries for one server");
        problems.add(&server.place, what, "leave out some checks");
        return None;
    }
    if asked.udp && asked.tcp && queries.len() > 1 {
        let why = "transport = \"both\": every query is sent over UDP and over TCP, and all have to pass.";
        remarks.add(Kind::Tightened, None, "checks over UDP and over TCP", why);
    }
    let timing = schedule
        .and_then(|schedule| timing::translate(server, &schedule, differ, options, &mut remarks));
    let why = "keepalived asked the server's own address. dns-lb asks through the VIP, on the way that \
               clients' packets take, so a server without the VIP is out too; path = \"real\" asks as before.";
    remarks.add(Kind::Tightened, None, "path = \"vip\"", why);
    let health = Health {
        remarks,
        queries,
        transport: match (asked.udp, asked.tcp) {
            (true, true) => Some(Transport::Both),
            (true, false) => Some(Transport::Udp),
            (false, true) => Some(Transport::Tcp),
            (false, false) => None,
        },
        timing,
    };
    (!is_wrong).then_some((health, is_bare))
}

/// What is asked where the file has no query: any answer passes.
fn bare_query() -> Query {
    Query {
        query: config::defaults::QUERY.to_owned(),
        recursion_desired: true,
        edns_size: 0,
        accept_rcodes: Some(config::rcode_numbers().collect()),
    }
}

struct Reader<'r> {
    server: &'r VirtualServer,
    vips: &'r [IpAddr],
    port: u16,
    remarks: Remarks,
    problems: &'r mut Problems,
    /// The slowest of all.
    schedule: Option<Schedule>,
    /// Whether they are not all alike.
    differ: bool,
    is_wrong: bool,
}

impl Reader<'_> {
    /// What is asked of a server. `None`: nothing, or what is wrong has been reported.
    fn asked(&mut self, real: &RealServer) -> Option<Asked> {
        if real.has_bad_check {
            self.is_wrong = true;
            return None;
        }
        if real.checks.is_empty() {
            return None;
        }
        let mut asked = Asked::default();
        let mut understood = true;
        for check in &real.checks {
            understood &= self.check(real, check, &mut asked).is_some();
        }
        self.is_wrong |= !understood;
        understood.then_some(asked)
    }

    fn check(&mut self, real: &RealServer, check: &Check, asked: &mut Asked) -> Option<()> {
        self.destination(real, check)?;
        match &check.kind {
            CheckKind::Misc { command, timeout } => {
                let dig = self.dig(real, command)?;
                match dig.tcp {
                    true => asked.tcp = true,
                    false => asked.udp = true,
                }
                let limit = timeout.as_ref().map_or(0, |timeout| timeout.value);
                self.scheduled(
                    real,
                    check,
                    &Defaults {
                        retry: 0,
                        delay_before_retry: Some(Duration::from_secs(1)),
                        time: Some(dig.time),
                        tries: dig.tries,
                        limit: Some(Duration::from_secs(limit.into())),
                    },
                );
                asked.queries.insert(Query {
                    query: dig.query,
                    recursion_desired: dig.recursion_desired,
                    edns_size: dig.edns_size,
                    accept_rcodes: Some(config::rcode_numbers().collect()),
                });
            }
            CheckKind::Dns { name, record_type } => {
                let query = dig::question(name, *record_type);
                let about = format!("DNS_CHECK {}", shortened(&query));
                let why = "The same query and the same rule: NOERROR passes, no other code.";
                self.remarks.add(Kind::Translated, &check.place, about, why);
                self.scheduled(
                    real,
                    check,
                    &Defaults {
                        retry: 3,
                        delay_before_retry: None,
                        time: None,
                        tries: 1,
                        limit: None,
                    },
                );
                asked.udp = true;
                asked.queries.insert(Query {
                    query,
                    recursion_desired: true,
                    edns_size: 0,
                    accept_rcodes: Some(BTreeSet::from([0])),
                });
            }
            CheckKind::Tcp => {
                let why = "A connection alone is no answer: over TCP a query is sent, and any answer passes \
                           that the other checks do not judge.";
                self.remarks
                    .add(Kind::Tightened, &check.place, "TCP_CHECK", why);
                self.scheduled(real, check, &CONNECTION);
                asked.tcp = true;
            }
            CheckKind::Alive(keyword) => {
                let why = "It told that the host lives. A DNS query tells more, and any answer to it passes.";
                self.remarks
                    .add(Kind::Tightened, &check.place, *keyword, why);
                self.scheduled(real, check, &CONNECTION);
            }
        }
        Some(())
    }

    /// Probes go to the server itself, at the service's port.
    fn destination(&mut self, real: &RealServer, check: &Check) -> Option<()> {
        let mut good = true;
        if let Some(address) = &check.connect_ip
            && address.value != real.address
        {
            if self.vips.contains(&address.value) {
                let why = "Probes go to the VIP, at the server's MAC address.";
                let about = format!("connect_ip {}", address.value);
                self.remarks
                    .add(Kind::Translated, &address.place, about, why);
            } else {
                let what = format!(
                    "connect_ip {} is another host than {}",
                    address.value, real.address
                );
                let remedy = "remove it: dns-lb asks the server itself";
                self.problems.add(&address.place, what, remedy);
                good = false;
            }
        }
        if let Some(port) = &check.connect_port
            && port.value != self.port
        {
            let what = format!(
                "connect_port {} is not the service's, {}",
                port.value, self.port
            );
            let remedy = "remove it: dns-lb asks where clients ask";
            self.problems.add(&port.place, what, remedy);
            good = false;
        }
        good.then_some(())
    }

    fn dig(&mut self, real: &RealServer, command: &At<CommandLine>) -> Option<Dig> {
        let place = &command.place;
        let words = &command.value.words;
        let program = Path::new(&words[0]).file_name().unwrap_or_default();
        if program != "dig" {
            let what = format!(
                "misc_path runs {}, which cannot be translated",
                shortened(&words[0])
            );
            let remedy = "write in its place what it asks: DNS_CHECK { type, name }, or dig with @ADDRESS, \
                          name and type; afterwards expect, min_answers or accept_rcodes judge the answer";
            self.problems.add(place, what, remedy);
            return None;
        }
        let dig = match dig::parse(&words[1..]) {
            Ok(dig) => dig,
            Err(refusal) => {
                self.problems.add(place, refusal.what, refusal.remedy);
                return None;
            }
        };
        match dig.server {
            Some(server) if server == real.address => {}
            Some(server) if self.vips.contains(&server) => {
                let what = format!("dig asks the VIP {server}, so any server answers it");
                let remedy = format!(
                    "write @{}: dns-lb asks it on the VIP by itself",
                    real.address
                );
                self.problems.add(place, what, remedy);
                return None;
            }
            other => {
                let whom = match other {
                    Some(server) => server.to_string(),
                    None => "the servers of /etc/resolv.conf".to_owned(),
                };
                let what = format!("dig asks {whom}, not real_server {}", real.address);
                self.problems
                    .add(place, what, format!("write @{}", real.address));
                return None;
            }
        }
        if dig.port != self.port {
            let what = format!(
                "dig asks port {}, not the service's, {}",
                dig.port, self.port
            );
            self.problems.add(
                place,
                what,
                "dns-lb asks where clients ask: write the same port",
            );
            return None;
        }
        if let Err(wrong) = config::parse_query(&dig.query) {
            let what = format!("{:?} {wrong}", dig.query);
            self.problems
                .add(place, what, "ask for a name and a type such as SOA");
            return None;
        }
        if dig.edns_size != 0 && !(512..=4_096).contains(&dig.edns_size) {
            let what = format!("dig's +bufsize={} is out of range", dig.edns_size);
            self.problems
                .add(place, what, "write 512 to 4096, or +noedns");
            return None;
        }
        self.about_dig(place, &dig, command.value.unquoted);
        Some(dig)
    }

    fn about_dig(&mut self, place: &Place, dig: &Dig, unquoted: bool) {
        let about = format!("dig {}", shortened(&dig.query));
        let why = "The same query and the same rule: dig exits 0 on any answer, SERVFAIL and REFUSED too, so \
                   every code passes. Better say what a healthy server answers, by accept_rcodes; without that \
                   line it is NOERROR and NXDOMAIN. edns_size is what dig offers.";
        self.remarks.add(Kind::Translated, place, about, why);
        if unquoted {
            let why = "Of a command without quotes keepalived runs the first word alone, so it asked nobody in \
                       particular. This is what it was meant to ask.";
            self.remarks.add(Kind::Assumed, place, "misc_path", why);
        }
        if !dig.unsaid.is_empty() {
            let about = shortened(&dig.unsaid.join(" "));
            let why = "dns-lb's queries cannot have it. To a check that any answer passes it matters little.";
            self.remarks.add(Kind::Dropped, place, about, why);
        }
    }

    fn scheduled(&mut self, real: &RealServer, check: &Check, defaults: &Defaults) {
        let schedule = Schedule::of(self.server, real, check, defaults);
        self.schedule = Some(match self.schedule.take() {
            None => schedule,
            Some(before) => {
                self.differ |= before != schedule;
                before.or_slower(&schedule)
            }
        });
    }

    /// Says what becomes of servers without a check.
    fn unchecked(&mut self, others_are_checked: bool) {
        let why = match others_are_checked {
            true => "keepalived took it for up at all times. It is asked what the others are.",
            false => {
                "keepalived took it for up at all times. dns-lb asks a DNS query, and any answer passes."
            }
        };
        for real in &self.server.real_servers {
            if real.checks.is_empty() && !real.has_bad_check {
                self.remarks.add(
                    Kind::Tightened,
                    &real.place,
                    "real_server without a check",
                    why,
                );
            }
        }
        let timing = &self.server.settings.timing;
        if self.schedule.is_none()
            && let Some(stated) = &timing.delay_loop
        {
            let why = "There was no check that it could time. dns-lb's own timing holds.";
            self.remarks
                .add(Kind::Dropped, &stated.place, "delay_loop", why);
        }
    }
}

const CONNECTION: Defaults = Defaults {
    retry: 1,
    delay_before_retry: Some(Duration::from_secs(1)),
    time: None,
    tries: 1,
    limit: None,
};
