//! A server that dies under load.

use dns_lb_tests::comparison::{Arrangement, FailoverRow};

use super::{
    NOT_MEASURED,
    table::{Table, cell, counts},
};
use crate::compare::{
    figures::{deaths, lost, ports, seconds},
    record::Records,
};

pub(super) fn section(records: &Records) -> String {
    let mut text = "## A server dies\n\n\
        Two servers, of which one dies under load: *killed*, its port refuses; *hung*, it is stopped and its port open;\n\
        *blackholed*, its firewall drops every query. Time is from the death to the last query that was sent and lost.\n\
        `DNS_CHECK` and dns-lb's tuned probes are alike: every 50 ms, answered within 50 ms, and one failure is enough.\n\
        dnsdist checks once a second at the most.\n"
        .to_owned();
    let places = records.places();
    let parts = places
        .iter()
        .filter_map(|(_, place)| place.failover.as_ref());
    let rows: Vec<&FailoverRow> = parts.flat_map(|part| &part.rows).collect();
    if rows.is_empty() {
        return format!("{text}\n{NOT_MEASURED}\n");
    }
    let deaths = deaths(rows.iter().map(|row| row.death.as_str()));
    for fixed in [false, true] {
        text += &format!(
            "\n### Clients with {}\n\n{}",
            ports(fixed),
            table(records, fixed, &deaths)
        );
    }
    text += &before(&rows);
    let runs = counts(records.places().into_iter().map(|(place, records)| {
        let rows = records.failover.iter().flat_map(|part| &part.rows);
        (place, rows.map(|row| row.runs.len()).collect())
    }));
    text += &format!("Runs of each: {runs}.\n");
    if rows
        .iter()
        .any(|row| row.arrangement == Arrangement::Dnsdist)
    {
        text += "\n\
            dnsdist is a proxy: it sees every answer, and its default policy asks the server that owes the fewest. A server\n\
            that has stopped answering so gets few queries before any check has found it out. By Direct Routing, answers do\n\
            not come by the balancer: dns-lb and IPVS know of a death what their probes tell. What a proxy costs instead is in\n\
            [the next section](#what-a-packet-costs).\n";
    }
    if rows
        .iter()
        .any(|row| row.arrangement == Arrangement::IpvsTuned)
    {
        text += "\n\
            A client with one port loses all of its queries to one server by dns-lb's `hash`, and half of them by IPVS's `rr`\n\
            with `ops`, which sends every packet to the next server, as dns-lb does with `policy = \"round-robin\"`.\n";
    }
    text
}

fn table(records: &Records, fixed: bool, deaths: &[&str]) -> String {
    let mut header = vec!["".to_owned(), "where".to_owned()];
    for death in deaths {
        header.push(format!("{death}: lost"));
        header.push("s".to_owned());
    }
    let mut table = Table::new(&header);
    for (place, records) in records.places() {
        let rows = records.failover.iter().flat_map(|part| &part.rows);
        let rows: Vec<_> = rows.filter(|row| row.fixed_port == fixed).collect();
        let mut arrangements: Vec<_> = rows.iter().map(|row| row.arrangement).collect();
        arrangements.sort();
        arrangements.dedup();
        for arrangement in arrangements {
            let mut cells = vec![arrangement.to_string(), place.to_owned()];
            for death in deaths {
                let row = rows
                    .iter()
                    .find(|row| row.arrangement == arrangement && row.death == *death);
                cells.push(cell(row.and_then(|row| lost(row))));
                cells.push(cell(row.and_then(|row| seconds(row))));
            }
            table.row(&cells);
        }
    }
    table.or(NOT_MEASURED)
}

/// How much of the load there was, and what no death accounts for.
fn before(rows: &[&FailoverRow]) -> String {
    let mut rates: Vec<u32> = rows.iter().map(|row| row.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let rates: Vec<String> = rates.iter().map(u32::to_string).collect();
    let runs = rows.iter().flat_map(|row| &row.runs);
    let lost: usize = runs.clone().map(|run| run.lost_before).sum();
    format!(
        "\n{} queries a second; {} deaths. Before a death, when nothing is to be lost, {} queries were.\n",
        rates.join(" or "),
        runs.count(),
        lost
    )
}
