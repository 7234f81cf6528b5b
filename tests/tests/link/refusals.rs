//! What a host's own stack has refused.

use std::{collections::BTreeMap, fs};

use dns_lb_tests::Node;

/// ICMP errors and resets that it has sent so far.
pub(crate) fn refusals(host: &Node) -> BTreeMap<String, u64> {
    let (snmp, snmp6) = host.run(|| {
        let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        (read("snmp"), read("snmp6"))
    });
    let mut counts = BTreeMap::new();
    let lines: Vec<Vec<_>> = snmp.lines().map(|line| line.split(' ').collect()).collect();
    for rows in lines.chunks(2) {
        let named = rows[0].iter().zip(&rows[1]).skip(1);
        counts.extend(named.map(|(name, count)| (format!("{}{name}", rows[0][0]), count.parse())));
    }
    counts.extend(snmp6.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        Some((columns.next()?.to_owned(), columns.next()?.parse()))
    }));
    let wanted = [
        "Icmp:OutDestUnreachs",
        "Tcp:OutRsts",
        "Icmp6OutDestUnreachs",
    ];
    wanted
        .map(|name| (name.to_owned(), counts[name].clone().unwrap()))
        .into()
}
