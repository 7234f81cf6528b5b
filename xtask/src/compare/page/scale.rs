//! What grows with servers and services.

use super::{
    NOT_MEASURED,
    table::{Table, cell},
};
use crate::compare::{
    record::Records,
    statistics::{Spread, figure, whole},
};

pub(super) fn section(records: &Records) -> String {
    let mut text = "## Scale\n\n".to_owned();
    let Some(scale) = &records.scale else {
        return format!("{text}{NOT_MEASURED}\n");
    };
    text += "By servers, and the services that share them out; a backend is a server of a service, and is probed for each.\n\
             One run of each size. Tables: from a change until packets go by the new ones, 21 changes.\n\n";
    let mut agent = Table::new(&[
        "servers",
        "services",
        "backends",
        "probes a second",
        "agent's CPU, % of a core",
        "resident at most, MB",
        "latest probe, ms late",
        "tables, ms",
    ]);
    for row in &scale.agent {
        let [servers, services, backends] =
            [row.servers, row.services, row.backends].map(|number| whole(number.into()));
        agent.row(&[
            servers,
            services,
            backends,
            figure(row.probes_per_second),
            figure(row.cpu_percent),
            figure(row.most_resident_mb),
            figure(row.latest_probe_ms),
            cell(Spread::of(row.table_ms.iter().copied())),
        ]);
    }
    text += &agent.or(NOT_MEASURED);
    text += "\nA packet, in ns; the floor is the least program that could steer.\n\n";
    let mut packets = Table::new(&[
        "servers",
        "services",
        "backends",
        "one flow",
        "× floor",
        "many flows",
    ]);
    for row in &scale.packets {
        let [servers, services, backends] =
            [row.servers, row.services, row.backends].map(|number| whole(number.into()));
        packets.row(&[
            servers,
            services,
            backends,
            cell(Spread::of(row.one_flow_ns.iter().copied())),
            cell(Spread::of_paired(&row.one_flow_ns, &scale.floor_ns)),
            cell(Spread::of(row.many_flows_ns.iter().copied())),
        ]);
    }
    text += &packets.or(NOT_MEASURED);
    text
}
