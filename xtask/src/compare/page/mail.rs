//! The textbook's mail relay.

use dns_lb_tests::comparison::MAILS_NEEDED_PER_HOUR;

use super::{
    NOT_MEASURED,
    table::{Table, cell, counts},
};
use crate::compare::{
    figures::{longest_lookup, mails_an_hour, put_off},
    record::Records,
};

pub(super) fn section(records: &Records) -> String {
    let mut text = "## The textbook scenario\n\n\
        A mail relay does what a mail server does, an MX and an A look-up a mail by glibc's resolver, one mail after\n\
        the other. One of two servers dies: *killed*, its port refuses; *blackholed*, its firewall drops every query. It is\n\
        the first one of several `nameserver` lines, and has VRRP's address; behind a balancer, it is one of two. Later it\n\
        comes back. The textbook's relay has to send 1,000 mails an hour.\n\n"
        .to_owned();
    let mut table = Table::new(&[
        "",
        "where",
        "server",
        "mails an hour before",
        "dead",
        "back",
        "1,000 while dead",
        "put off while dead",
        "longest look-up, s",
    ]);
    for (place, records) in records.places() {
        for row in records.mail.iter().flat_map(|part| &part.rows) {
            let dead = mails_an_hour(row, |run| &run.during);
            table.row(&[
                row.arrangement.to_string(),
                place.to_owned(),
                row.death.clone(),
                cell(mails_an_hour(row, |run| &run.before)),
                cell(dead),
                cell(mails_an_hour(row, |run| &run.after)),
                cell(dead.map(|dead| {
                    if dead.median.value >= MAILS_NEEDED_PER_HOUR {
                        "met"
                    } else {
                        "**missed**"
                    }
                })),
                cell(put_off(row, |run| &run.during)),
                cell(longest_lookup(row, |run| &run.during)),
            ]);
        }
    }
    text += &table.or(NOT_MEASURED);
    let runs = counts(records.places().into_iter().map(|(place, records)| {
        let rows = records.mail.iter().flat_map(|part| &part.rows);
        (place, rows.map(|row| row.runs.len()).collect())
    }));
    if !runs.is_empty() {
        text += &format!(
            "\nRuns of each: {runs}.\n\n\
             This relay asks without a pause, so hardly a death passes without a look-up in vain, and by the resolver's\n\
             defaults each such costs 5 s before it asks again. Behind a balancer that is one look-up or a few at the death;\n\
             by `nameserver` lines it is every look-up for as long as the first server is silent, and most while it refuses.\n"
        );
    }
    text
}
