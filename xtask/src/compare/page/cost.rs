//! What forwarding costs.

use dns_lb_tests::comparison::Forwarder;

use super::{
    NOT_MEASURED,
    table::{Table, cell},
};
use crate::compare::{figures::lab_above_nothing, record::Records, statistics::Spread};

pub(super) fn section(records: &Records) -> String {
    let mut text = "## What a packet costs\n\n\
        *A packet* is the time that one core takes for it from the driver to the driver, above that of the same packet made\n\
        and dropped. *Lab CPU* is the processor time of all that takes part in a query, clients and servers too, above that of\n\
        the same query without a balancer. What a forwarder does not do is not in it: nftables' rules know no health and\n\
        no weights, dnsdist has no packet of its own to send on.\n"
        .to_owned();
    let mut is_measured = false;
    for (place, records) in records.places() {
        let Some(part) = &records.cost else { continue };
        is_measured = true;
        let native = part
            .rows
            .iter()
            .find(|row| row.forwarder == Forwarder::DnsLbNative);
        let unit = match place {
            "emulated" => "instructions",
            _ => "ns",
        };
        let mut table = Table::new(&[
            place,
            &format!("{unit} a packet"),
            "× dns-lb, native XDP",
            "packets a second, one core",
            "queries a second, end to end",
            &format!("lab CPU a query, {unit} above no balancer"),
        ]);
        for row in &part.rows {
            let times = native.and_then(|native| Spread::of_paired(&row.path_ns, &native.path_ns));
            let of = |samples: &[f64]| cell(Spread::of(samples.iter().copied()));
            table.row(&[
                row.forwarder.to_string(),
                of(&row.path_ns),
                cell(times),
                of(&row.path_packets_per_second),
                of(&row.queries_per_second),
                cell(lab_above_nothing(row, &part.rows)),
            ]);
        }
        text += &format!("\n{}", table.or(NOT_MEASURED));
    }
    if !is_measured {
        text += &format!("\n{NOT_MEASURED}\n");
    }
    text
}
