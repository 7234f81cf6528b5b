//! The status document, made from what the loop knows and what the program has counted.

use dns_lb_common::{Ending, NO_SERVICE, ServiceCounters};

use super::{Running, knowledge::BackendState};
use crate::{
    admin::Admin,
    api::status::{
        Backend, Counters, Dataplane, Interface, LastProbe, Service, Status, Tcp, endings, queries,
    },
    config,
    datapath::DatapathError,
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
                    program_id: agent.program_id,
                    link_id: attachment.link_id,
                })
                .collect(),
            counters: Counters {
                total: endings(&total.endings),
                no_service: endings(&unclaimed.endings),
            },
        },
        services,
    })
}

fn service_status(
    service: &config::Service,
    counters: &ServiceCounters,
    backends: Vec<Backend>,
) -> Service {
    Service {
        name: service.name.clone(),
        vips: service.vips.clone(),
        port: service.port,
        protocols: service.protocols.clone(),
        policy: service.policy,
        packets: Ending::ALL
            .iter()
            .map(|&ending| counters.endings.get(ending))
            .sum(),
        bytes: counters.bytes,
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
    let BackendState {
        location,
        unresolved,
        health,
        since,
        last_probe,
        ..
    } = agent.knowledge.state(service, place);
    let config = &agent.config.services[service].backends[place];
    let counters = agent.counters.backend(id)?;
    Ok(Backend {
        name: config.name.clone(),
        address: config.address,
        local: config.local,
        mac: location.map(|location| location.mac),
        interface: location.and_then(|location| agent.interface_name(location.ifindex)),
        unresolved: unresolved.as_ref().map(ToString::to_string),
        admin: Admin::Enabled,
        health: *health,
        weight: config.weight,
        share: agent.applied.shares.get(&id).copied().unwrap_or(0.0),
        packets: counters.packets,
        bytes: counters.bytes,
        last_probe: last_probe.as_ref().map(|probe| LastProbe {
            at: probe.at.into(),
            outcome: probe.outcome.to_string(),
            rtt_us: probe
                .outcome
                .rtt()
                .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        }),
        since: (*since).into(),
    })
}
