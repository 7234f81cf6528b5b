//! The metrics: what of the status document is told to Prometheus, and under which names.
//!
//! Others build on these names as on those of the document. `docs/monitoring.md` has them all; a
//! test holds it against what is written here.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::families::{Families, UNLABELED, seconds};
use crate::{
    api::status::{Admin, Backend, Endings, Service, Status},
    health::Health,
};

const HEALTH: [(Health, &str); 3] = [
    (Health::Unknown, "unknown"),
    (Health::Up, "up"),
    (Health::Down, "down"),
];
const ADMIN: [(Admin, &str); 3] = [
    (Admin::Enabled, "enabled"),
    (Admin::Draining, "draining"),
    (Admin::Disabled, "disabled"),
];

/// A status document that is to be read as metrics.
#[derive(Debug)]
pub(super) struct Document(pub(super) Status);

impl Collector for Document {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families(encoder);
        agent(&mut families, &self.0)?;
        services(&mut families, &self.0)?;
        backends(&mut families, &self.0)?;
        probes(&mut families, &self.0)
    }
}

fn agent(families: &mut Families, status: &Status) -> fmt::Result {
    families.gauges(
        "build_info",
        "Always 1: the version of the agent.",
        [([("version", status.version.as_str())], 1)],
    )?;
    families.gauge(
        "start_time_seconds",
        "When the agent was started, since the epoch.",
        status.started_at.seconds(),
    )?;
    families.gauge(
        "generation",
        "How often the tables have been rewritten since the maps were made.",
        status.generation,
    )?;
    families.histogram(
        "table_build_seconds",
        "How long it took to build and write what had changed, until packets went by it.",
        &status.tables.builds,
    )?;
    families.gauges(
        "last_table_build_seconds",
        "How long that took the last time.",
        status
            .tables
            .last_us
            .map(|micros| (UNLABELED, seconds(micros))),
    )?;
    families.counter(
        "failed_table_builds",
        "How often that could not be done, so that packets were steered as before.",
        status.tables.failed,
    )?;
    families.gauges(
        "interface_info",
        "Always 1: an interface that the XDP program is attached to, and how.",
        status.dataplane.interfaces.iter().map(|interface| {
            let name = interface.name.as_str();
            ([("interface", name), ("mode", interface.mode.name())], 1)
        }),
    )?;
    families.counters(
        "unclaimed_packets",
        "Packets that no service claims, by the way they ended.",
        endings(&status.dataplane.counters.no_service)
            .map(|(ending, packets)| ([("ending", ending)], packets)),
    )
}

fn services(families: &mut Families, status: &Status) -> fmt::Result {
    let services = &status.services;
    families.counters(
        "service_packets",
        "Packets for a service, by the way they ended.",
        services.iter().flat_map(|service| {
            endings(&service.endings)
                .map(|(ending, packets)| ([of(service), ("ending", ending)], packets))
        }),
    )?;
    families.counters(
        "service_bytes",
        "Octets of the frames that were steered, Ethernet header included, without FCS.",
        services
            .iter()
            .map(|service| ([of(service)], service.bytes)),
    )?;
    families.counters(
        "service_tcp_segments",
        "TCP segments that were steered.",
        services
            .iter()
            .map(|service| ([of(service)], service.tcp.packets)),
    )?;
    families.counters(
        "service_tcp_connections",
        "TCP segments that open a connection, repetitions included.",
        services
            .iter()
            .map(|service| ([of(service)], service.tcp.connections)),
    )?;
    let counted = || {
        let queries = |service: &'_ Service| service.queries.is_some();
        services.iter().filter(move |service| queries(service))
    };
    families.counters(
        "service_queries",
        "Queries over UDP by the type that they ask for, where the service counts them.",
        counted().flat_map(|service| {
            let types = service.queries.iter().flat_map(|queries| &queries.types);
            types.map(|(name, &queries)| ([of(service), ("type", name.as_str())], queries))
        }),
    )?;
    families.counters(
        "service_edns_queries",
        "Queries over UDP that carry EDNS, where the service counts them.",
        counted().filter_map(|service| {
            let queries = service.queries.as_ref()?;
            Some(([of(service)], queries.edns))
        }),
    )?;
    families.gauges(
        "service_failed_open",
        "1 while too few backends are up, so that all that are enabled take queries; else 0.",
        services
            .iter()
            .map(|service| ([of(service)], flag(service.failed_open))),
    )
}

fn backends(families: &mut Families, status: &Status) -> fmt::Result {
    let all = || each(status);
    families.counters(
        "backend_packets",
        "Packets steered to a backend.",
        all().map(|(labels, backend)| (labels, backend.packets)),
    )?;
    families.counters(
        "backend_bytes",
        "Octets of those frames, Ethernet header included, without FCS.",
        all().map(|(labels, backend)| (labels, backend.bytes)),
    )?;
    families.gauges(
        "backend_share_ratio",
        "Part of the service's steering table, 0 to 1: the part of new queries that it gets.",
        all().map(|(labels, backend)| (labels, backend.share)),
    )?;
    families.gauges(
        "backend_weight",
        "The weight that holds.",
        all().map(|(labels, backend)| (labels, u32::from(backend.weight))),
    )?;
    families.gauges(
        "backend_configured_weight",
        "The weight that the configuration states.",
        all().map(|(labels, backend)| (labels, u32::from(backend.configured_weight))),
    )?;
    families.gauges(
        "backend_health",
        "What the probes say: 1 for the state that holds, 0 for the others.",
        all().flat_map(|(labels, backend)| {
            HEALTH.map(|(health, name)| {
                let [service, backend_label] = labels;
                let labels = [service, backend_label, ("state", name)];
                (labels, flag(backend.health == health))
            })
        }),
    )?;
    families.gauges(
        "backend_admin",
        "What the operator wants: 1 for the state that holds, 0 for the others.",
        all().flat_map(|(labels, backend)| {
            ADMIN.map(|(admin, name)| {
                let [service, backend_label] = labels;
                let labels = [service, backend_label, ("state", name)];
                (labels, flag(backend.admin == admin))
            })
        }),
    )?;
    families.gauges(
        "backend_health_since_seconds",
        "Since when the health is what it is, since the epoch.",
        all().map(|(labels, backend)| (labels, backend.since.seconds())),
    )?;
    families.counters(
        "backend_transitions",
        "Changes of health since the agent has had the backend, by what it became.",
        all().flat_map(|([service, name], backend)| {
            let Backend { transitions, .. } = backend;
            [("up", transitions.up), ("down", transitions.down)]
                .map(|(to, count)| ([service, name, ("to", to)], count))
        }),
    )?;
    families.gauges(
        "backend_frozen",
        "1 while nothing can be found out about it from this host, so that the health stays; else 0.",
        all().map(|(labels, backend)| (labels, flag(backend.frozen.is_some()))),
    )?;
    families.gauges(
        "backend_unresolved",
        "1 while it cannot be found on the link; else 0.",
        all().map(|(labels, backend)| (labels, flag(backend.unresolved.is_some()))),
    )
}

fn probes(families: &mut Families, status: &Status) -> fmt::Result {
    let all = || each(status);
    families.histograms(
        "probe_duration_seconds",
        "From query to the reply or refusal that decided, of the probes that had one.",
        all().map(|(labels, backend)| (labels, &backend.probes.rtt)),
    )?;
    families.counters(
        "probes",
        "Probes by how they ended; passed is always there, the others once they have happened.",
        all().flat_map(|([service, name], backend)| {
            let causes = &backend.probes.causes;
            let never = (!causes.contains_key("passed")).then_some(("passed", 0));
            let counted = causes.iter().map(|(cause, &count)| (cause.as_str(), count));
            never
                .into_iter()
                .chain(counted)
                .map(move |(cause, count)| ([service, name, ("cause", cause)], count))
        }),
    )?;
    families.counters(
        "late_probes",
        "Probes that began more than 20 ms after they were due.",
        all().map(|(labels, backend)| (labels, backend.probes.late)),
    )?;
    families.gauges(
        "latest_probe_seconds",
        "How much later than due the latest probe began.",
        all().map(|(labels, backend)| (labels, seconds(backend.probes.latest_us))),
    )
}

/// A label: its name and its value.
type Label<'a> = (&'static str, &'a str);

/// Every backend with the labels that it is known by.
fn each(status: &Status) -> impl Iterator<Item = ([Label<'_>; 2], &Backend)> {
    status.services.iter().flat_map(|service| {
        let backends = service.backends.iter();
        backends.map(move |backend| {
            let name = ("backend", backend.name.as_str());
            ([of(service), name], backend)
        })
    })
}

fn of(service: &Service) -> Label<'_> {
    ("service", &service.name)
}

fn endings(endings: &Endings) -> impl Iterator<Item = (&str, u64)> {
    endings
        .iter()
        .map(|(ending, &packets)| (ending.as_str(), packets))
}

fn flag(holds: bool) -> u32 {
    u32::from(holds)
}
