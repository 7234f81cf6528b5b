//! What dns-lb costs with few and many servers: the benchmarks `packet` and `agent` measure it.

use anyhow::Context as _;
use serde::{Deserialize, de::DeserializeOwned};

use super::record::{AgentRow, PacketRow, Scale};
use crate::bench::{self, Suite};

/// What is read of the document of `agent`.
#[derive(Deserialize)]
struct Agent {
    rows: Vec<AgentRow>,
}

/// What is read of the document of `packet`.
#[derive(Deserialize)]
struct Packet {
    machine: Vec<String>,
    rows: Vec<Row>,
    farms: Vec<Farm>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    samples_ns: Vec<f64>,
}

#[derive(Deserialize)]
struct Farm {
    servers: u32,
    services: u32,
    backends: u32,
    one_flow: Samples,
    many_flows: Samples,
}

#[derive(Deserialize)]
struct Samples {
    samples_ns: Vec<f64>,
}

pub(super) fn measure(quick: bool) -> anyhow::Result<Scale> {
    let packet: Packet = record(Suite::Packet, quick)?;
    let agent: Agent = record(Suite::Agent, quick)?;
    anyhow::ensure!(
        !agent.rows.is_empty() && !packet.farms.is_empty(),
        "the benchmarks have measured nothing"
    );
    Ok(put_together(packet, agent, quick))
}

fn record<T: DeserializeOwned>(suite: Suite, quick: bool) -> anyhow::Result<T> {
    serde_json::from_value(bench::record(suite, quick)?)
        .context("the benchmark's document lacks what is to be recorded")
}

fn put_together(packet: Packet, agent: Agent, quick: bool) -> Scale {
    let floor = packet.rows.into_iter().find(|row| row.name == "floor");
    let packets = packet.farms.into_iter().map(|farm| PacketRow {
        servers: farm.servers,
        services: farm.services,
        backends: farm.backends,
        one_flow_ns: farm.one_flow.samples_ns,
        many_flows_ns: farm.many_flows.samples_ns,
    });
    Scale {
        machine: packet.machine,
        quick,
        skipped: Vec::new(),
        agent: agent.rows,
        packets: packets.collect(),
        floor_ns: floor.map_or_else(Vec::new, |row| row.samples_ns),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_documents_of_the_benchmarks_are_read() {
        let packet = json!({
            "machine": ["1 × test", "Linux 0"],
            "rounds": 2,
            "rows": [{"name": "floor", "samples_ns": [1.0, 2.0], "target": null}],
            "farms": [{
                "servers": 10, "services": 100, "backends": 100, "table_ms": [1.0],
                "one_flow": {"samples_ns": [2.0, 4.0], "above_floor_ns": 1.0},
                "many_flows": {"flows": 4, "services": 64, "samples_ns": [3.0, 5.0]},
            }],
        });
        let agent = json!({
            "rows": [{
                "servers": 10, "services": 100, "backends": 100, "probes_per_second": 200.0, "late": 0,
                "cpu_percent": 1.0, "resident_mb": 1.0, "most_resident_mb": 2.0, "latest_probe_ms": 3.0,
                "table_ms": [4.0],
            }],
        });
        let packet = serde_json::from_value(packet).expect("a document");
        let agent = serde_json::from_value(agent).expect("a document");
        let scale = put_together(packet, agent, true);
        assert_eq!(scale.floor_ns, [1.0, 2.0]);
        assert_eq!(scale.packets[0].many_flows_ns, [3.0, 5.0]);
        assert_eq!(scale.agent[0].table_ms, [4.0]);
    }
}
