//! The status document, made from what the loop knows and what the program has counted.

use dns_lb_common::{Ending, NO_SERVICE, ServiceCounters};

use super::Running;
use crate::{
    api::status::{
        Backend, Counters, Dataplane, Interface, Service, SetBy, Status, Tables, Tcp, endings,
        micros, queries,
    },
    config,
    datapath::DatapathError,
    steer::Applied,
};

/// How things are now.
///
/// # Errors
///
/// If the counters cannot be read.
pub(super) fn status(agent: &Running) -> Result<Status, DatapathError> {
    let unclaimed = agent.counters.service(NO_SERVICE)?;
    let mut total = unclaimed;
    let mut services = Vec::with_capacity(agent.config.services.len());
    for (index, service) in agent.config.services.iter().enumerate() {
        let counters = agent.counters.service(agent.assignment.services[index])?;
        for &ending in Ending::ALL {
            *total.endings.get_mut(ending) += counters.endings.get(ending);
        }
        let backends = (0..service.backends.len()).map(|place| backend(agent, index, place));
        services.push(service_status(
            service,
            &counters,
            agent.rates.service(&service.name),
            agent.usable(index),
            agent.failed_open[index],
            backends.collect::<Result<_, _>>()?,
        ));
    }
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: agent.started_at,
        generation: agent.applied.generation,
        dataplane: Dataplane {
            interfaces: agent
                .attachments
                .iter()
                .map(|attachment| Interface {
                    name: attachment.interface.clone(),
                    mode: attachment.mode,
                    attached: !agent.detached.contains(&attachment.ifindex),
                    program_id: agent.program_id,
                    link_id: attachment.link_id,
                })
                .collect(),
            counters: Counters {
                total: endings(&total.endings),
                no_service: endings(&unclaimed.endings),
            },
        },
        tables: agent.tables.clone(),
        services,
        announced: agent.announcing.told(),
        recent_transitions: agent.knowledge.recent_transitions().cloned().collect(),
    })
}

impl Tables {
    /// Counts what became of a plan. One like the last builds nothing.
    pub(super) fn count(&mut self, applied: &Applied) {
        if let Some(took) = applied.took {
            self.builds.count(took);
            self.last_us = Some(micros(took));
        }
    }
}

fn service_status(
    service: &config::Service,
    counters: &ServiceCounters,
    packets_per_second: Option<f64>,
    usable: u32,
    failed_open: bool,
    backends: Vec<Backend>,
) -> Service {
    Service {
        name: service.name.clone(),
        vips: service.vips.clone(),
        port: service.port,
        protocols: service.protocols.clone(),
        policy: service.policy,
        packets: packets(counters),
        packets_per_second,
        bytes: counters.bytes,
        failed_open,
        usable,
        quorum: service.quorum,
        endings: endings(&counters.endings),
        tcp: Tcp {
            packets: counters.tcp_packets,
            connections: counters.tcp_connections,
        },
        queries: service.count_queries.then(|| queries(&counters.queries)),
        backends,
    }
}

fn backend(agent: &Running, service: usize, place: usize) -> Result<Backend, DatapathError> {
    let id = agent.assignment.backends[service][place];
    let state = agent.knowledge.state(service, place);
    let service = &agent.config.services[service];
    let config = &service.backends[place];
    let counters = agent.counters.backend(id)?;
    let (ledger, names) = (&agent.ledger, (&service.name, &config.name));
    let location = state.location;
    Ok(Backend {
        name: config.name.clone(),
        address: config.address,
        local: config.local,
        mac: location.map(|location| location.mac),
        interface: location.and_then(|location| agent.interface_name(location.ifindex)),
        unresolved: state.unresolved.as_ref().map(ToString::to_string),
        admin: ledger.admin(names.0, names.1),
        health: state.health,
        set_by: ledger.get(names.0, names.1).map(|entry| SetBy {
            by: entry.by.clone(),
            at: entry.at,
            reason: entry.reason.as_ref().map(ToString::to_string),
        }),
        weight: ledger.weight(names.0, names.1, config.weight),
        configured_weight: config.weight,
        share: agent.applied.shares.get(&id).copied().unwrap_or(0.0),
        packets: counters.packets,
        packets_per_second: agent.rates.backend(&state.key),
        bytes: counters.bytes,
        last_probe: state.recent_probes().next(),
        since: state.since.into(),
        reason: state.reason.clone(),
        transitions: state.transitions,
        frozen: state.frozen(),
        passes_to_rise: state.passes_to_rise,
        identity: state.identity.clone(),
        probes: state.probes(),
    })
}

/// All packets for a service, however they ended.
pub(super) fn packets(counters: &ServiceCounters) -> u64 {
    let endings = Ending::ALL.iter();
    endings.map(|&ending| counters.endings.get(ending)).sum()
}
