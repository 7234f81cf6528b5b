//! Schedulers and persistence: which server gets a packet.

use crate::{
    config::Policy,
    import::{
        keepalived::{
            ast::{Protocol, VirtualServer},
            scalar::quoted,
        },
        problem::{Place, Problems},
        remark::{Kind, Remarks},
    },
};

/// How a server is chosen.
pub(super) struct Choice {
    pub(super) policy: Policy,
    /// Whether keepalived's scheduler knows weights; to those that do not, only 0 differs.
    pub(super) weighted: bool,
    /// What the file has of it.
    pub(super) about: String,
    pub(super) place: Place,
}

const NO_COUNT: &str = "dns-lb counts no connections, which for UDP is a guess anyway. policy = \"hash\": by \
    the client's address and port, evenly by weight; a flow stays on its server.";
const ONE_SERVER: &str =
    "chooses by the destination, and that is the VIP: one server would get everything";

/// The policy of a virtual server.
pub(super) fn choose(
    server: &VirtualServer,
    protocol: Protocol,
    remarks: &mut Remarks,
    problems: &mut Problems,
) -> Option<Choice> {
    let has_flag = |names: &[&str]| {
        server
            .flags
            .iter()
            .any(|f| names.contains(&f.value.as_str()))
    };
    let (scheduler, place) = match &server.scheduler {
        Some(scheduler) => (scheduler.value.as_str(), &scheduler.place),
        // IPVS_DEF_SCHED
        None => ("wlc", &server.place),
    };
    let about = match server.scheduler {
        Some(_) => format!("lvs_sched {scheduler}"),
        None => "no lvs_sched, which is wlc".to_owned(),
    };
    let by_port = has_flag(&["flag-2", "sh-port", "mh-port"]);
    let (policy, weighted, kind, why) = match scheduler {
        "rr" | "wrr" if protocol == Protocol::Udp && has_flag(&["ops"]) => (
            Policy::RoundRobin,
            scheduler == "wrr",
            Kind::Translated,
            "policy = \"round-robin\": each query by itself, as with ops.",
        ),
        "rr" | "wrr" => (
            Policy::RoundRobin,
            scheduler == "wrr",
            Kind::Translated,
            "policy = \"round-robin\": each query over UDP goes to the next server, as with ops; without it \
             IPVS keeps an address and port on its server for 5 minutes, which \"hash\" does without a \
             table. TCP connections stay.",
        ),
        "sh" | "mh" if by_port => (
            Policy::Hash,
            true,
            Kind::Translated,
            "policy = \"hash\": by the client's address and port.",
        ),
        "sh" | "mh" => (
            Policy::Source,
            true,
            Kind::Translated,
            "policy = \"source\": by the client's address. A server that is down is passed over, as by \
             the fallback flag.",
        ),
        "wlc" | "sed" | "nq" | "twos" => (Policy::Hash, true, Kind::Approximated, NO_COUNT),
        "lc" => (Policy::Hash, false, Kind::Approximated, NO_COUNT),
        "dh" | "lblc" | "lblcr" => {
            let what = format!("lvs_sched {scheduler} {ONE_SERVER}");
            problems.add(place, what, "write rr, wrr, sh or mh");
            return None;
        }
        "fo" | "ovf" => {
            let what = format!(
                "lvs_sched {scheduler} gives everything to the heaviest server, and dns-lb has no standby"
            );
            let remedy = "write wrr; a server with weight 0 takes nothing until `dns-lb weight` gives it some";
            problems.add(place, what, remedy);
            return None;
        }
        other => {
            let what = format!("lvs_sched {} is not known", quoted(other));
            problems.add(place, what, "write rr, wrr, sh or mh");
            return None;
        }
    };
    let mut choice = Choice {
        policy,
        weighted,
        about: about.clone(),
        place: place.clone(),
    };
    match &server.persistence {
        None => remarks.add(kind, place, about, why),
        Some(persistence) => {
            choice.policy = Policy::Source;
            let about = format!("{about}, persistence_timeout {}", persistence.value);
            let why = "policy = \"source\": a client's address stays on its server for as long as that \
                       is there, not only for this time.";
            remarks.add(Kind::Approximated, &persistence.place, about, why);
        }
    }
    if let Some(granularity) = &server.granularity {
        let about = format!("persistence_granularity {}", granularity.value);
        let is_whole = matches!(granularity.value.as_str(), "255.255.255.255" | "128");
        match is_whole {
            true => remarks.add(
                Kind::Translated,
                &granularity.place,
                about,
                "The whole address counts anyway.",
            ),
            false => remarks.add(
                Kind::Approximated,
                &granularity.place,
                about,
                "The whole address of a client counts: clients of one network go to several servers.",
            ),
        }
        choice.policy = Policy::Source;
    }
    flags(server, scheduler, remarks);
    Some(choice)
}

fn flags(server: &VirtualServer, scheduler: &str, remarks: &mut Remarks) {
    for flag in &server.flags {
        let hashes = matches!(scheduler, "sh" | "mh");
        let (kind, why) = match flag.value.as_str() {
            "ops" => (
                Kind::Translated,
                "Nothing is remembered of UDP: each packet is steered by itself.",
            ),
            "flag-2" | "sh-port" | "mh-port" if hashes => (
                Kind::Translated,
                "policy = \"hash\" takes the port with it.",
            ),
            "flag-1" | "sh-fallback" | "mh-fallback" if hashes => (
                Kind::Translated,
                "A server that is down is passed over anyway.",
            ),
            "hashed" => (Kind::Dropped, "It says how the kernel stores the service."),
            _ => (
                Kind::Dropped,
                "It says nothing with this scheduler, or is a flag without a name.",
            ),
        };
        remarks.add(kind, &flag.place, flag.value.clone(), why);
    }
}
