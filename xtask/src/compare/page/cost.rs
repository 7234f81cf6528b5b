//! What forwarding costs.

use dns_lb_tests::comparison::Forwarder;

use super::{
    NOT_MEASURED,
    table::{Table, cell, counts},
};
use crate::compare::{figures::lab_above_nothing, record::Records, statistics::Spread};

pub(super) fn section(records: &Records) -> String {
    let mut text = "## What a packet costs\n\n\
        *A packet* is the time that one core takes for it from the driver to the driver, above that of the same packet made\n\
        and dropped. *The least there* is what a program costs that only sends every packet back from the same place: from\n\
        the driver, or from where the kernel has made an `sk_buff` of it. *Lab CPU* is the processor time of all that takes\n\
        part in a query, clients and servers too, above that of the same query without a balancer. What a forwarder does not\n\
        do is not in it: nftables' rules know no health and no weights. dnsdist asks the servers itself, and sends no\n\
        client's packet on; it has no cache, as by default. Before Linux 6.4 an `sk_buff` that is made here costs a page\n\
        too, which a network card's driver would keep: what is above *the least there* is without it.\n"
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
            "the least there",
            "× dns-lb, native XDP",
            "packets a second, one core",
            "queries a second, end to end",
            &format!("lab CPU a query, {unit} above no balancer"),
        ]);
        for row in &part.rows {
            let times = match native {
                Some(native) if native.forwarder != row.forwarder => {
                    Spread::of_paired(&row.path_ns, &native.path_ns)
                }
                _ => None,
            };
            let of = |samples: &[f64]| cell(Spread::of(samples.iter().copied()));
            table.row(&[
                row.forwarder.to_string(),
                of(&row.path_ns),
                of(&row.path_floor_ns),
                cell(times),
                of(&row.path_packets_per_second),
                of(&row.queries_per_second),
                cell(lab_above_nothing(row, &part.rows)),
            ]);
        }
        text += &format!("\n{}", table.or(NOT_MEASURED));
    }
    let rounds = counts(records.places().into_iter().map(|(place, records)| {
        let rows = records.cost.iter().flat_map(|part| &part.rows);
        let rounds = rows.flat_map(|row| [row.path_ns.len(), row.queries_per_second.len()]);
        (place, rounds.filter(|rounds| *rounds > 0).collect())
    }));
    if !rounds.is_empty() {
        text += &format!("\nRounds: {rounds}.\n");
    }
    if is_measured {
        text += "\n\
            End to end, every link of the lab is a veth pair. Native XDP on one makes an XDP frame of each `sk_buff` and an\n\
            `sk_buff` of each frame, which no network card's driver does: these two columns show it dearer than it is. A packet\n\
            from driver to driver is without that.\n";
    } else {
        text += &format!("\n{NOT_MEASURED}\n");
    }
    text
}
