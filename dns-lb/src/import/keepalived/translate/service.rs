//! From a virtual server to services: one a port, before those that belong together are merged.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{check, policy, shortened};
use crate::{
    config::{self, MAX_BACKENDS, MAX_SERVICES, MAX_VIPS},
    import::{
        keepalived::{
            Options,
            ast::{At, Group, Method, Protocol, RealServer, Target, VirtualServer},
            group,
        },
        model::{Backend, Service},
        problem::{Place, Problems},
        remark::{Kind, Remarks},
    },
};

/// A service that may yet be merged with another.
pub(super) struct Draft {
    pub(super) place: Place,
    /// What it would be called.
    pub(super) label: String,
    /// Without a name; its backends have the names that the file gives them, mostly none.
    pub(super) service: Service,
    /// Whether its queries are ours, because the file asks for none.
    pub(super) is_bare: bool,
    /// What the file has of its scheduler, and where.
    pub(super) scheduler: At<String>,
    /// What has become of that.
    pub(super) policy_remarks: Remarks,
}

/// What may still be translated: a file can name the same group again and again.
pub(super) struct Budget {
    /// Two may become one.
    services: usize,
    backends: usize,
    vips: usize,
    is_exceeded: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            services: 2 * MAX_SERVICES,
            backends: 2 * MAX_BACKENDS,
            vips: MAX_VIPS,
            is_exceeded: false,
        }
    }
}

impl Budget {
    /// Takes from it; `false`, and said once, if there is not so much left.
    fn take(
        &mut self,
        vips: usize,
        backends: usize,
        place: &Place,
        problems: &mut Problems,
    ) -> bool {
        let left = self
            .services
            .checked_sub(1)
            .zip(self.backends.checked_sub(backends))
            .zip(self.vips.checked_sub(vips));
        let Some(((services, backends), vips)) = left.filter(|_| !self.is_exceeded) else {
            if !self.is_exceeded {
                let what = "more than one configuration holds";
                let remedy = format!(
                    "split it: at most {MAX_SERVICES} services, {MAX_BACKENDS} backends, and {MAX_VIPS} \
                     combinations of VIP, port and protocol"
                );
                problems.add(place, what, remedy);
            }
            self.is_exceeded = true;
            return false;
        };
        (self.services, self.backends, self.vips) = (services, backends, vips);
        true
    }
}

/// The services that a virtual server becomes.
pub(super) fn drafts(
    server: &VirtualServer,
    groups: &HashMap<&str, &Group>,
    budget: &mut Budget,
    options: Options,
    problems: &mut Problems,
) -> Vec<Draft> {
    let mut remarks = Remarks::default();
    demand_direct_routing(server, problems);
    let protocol = match &server.protocol {
        Some(protocol) => protocol.value,
        None => {
            let why =
                "protocols = [\"udp\"]: what keepalived takes then. Add \"tcp\": DNS needs both.";
            remarks.add(Kind::Assumed, &server.place, "no protocol", why);
            Protocol::Udp
        }
    };
    let mut policy_remarks = Remarks::default();
    let choice = policy::choose(server, protocol, &mut policy_remarks, problems);
    let endpoints = endpoints(server, groups, budget, problems);
    let weighted = choice.as_ref().is_none_or(|choice| choice.weighted);
    let backends = backends(server, weighted, &mut remarks, problems);
    sorry_server(server, &mut remarks);
    asides(server, &mut remarks);

    let mut drafts = Vec::new();
    for (port, vips) in endpoints {
        if !budget.take(vips.len(), backends.len(), &server.place, problems) {
            break;
        }
        for real in &server.real_servers {
            if let Some(own) = real.port.filter(|own| *own != port) {
                let what = format!("real_server {} has port {own}, not {port}", real.address);
                let remedy = "let the server listen on the virtual server's port: Direct Routing leaves \
                              packets as they are, ports too";
                problems.add(&real.place, what, remedy);
            }
            if vips.contains(&real.address) {
                let what = format!("real_server {} is the VIP itself", real.address);
                let remedy = "write the server's own address; for a server on the balancer's host add \
                              local = true afterwards";
                problems.add(&real.place, what, remedy);
            }
        }
        let health = check::health(server, &vips, port, options, problems);
        let (Some(choice), Some((health, is_bare))) = (&choice, health) else {
            continue;
        };
        drafts.push(Draft {
            place: server.place.clone(),
            label: label(server),
            service: Service {
                name: String::new(),
                vips,
                port,
                protocols: vec![match protocol {
                    Protocol::Udp => config::Protocol::Udp,
                    Protocol::Tcp => config::Protocol::Tcp,
                }],
                policy: choice.policy,
                remarks: remarks.clone(),
                health,
                backends: backends.clone(),
            },
            is_bare,
            scheduler: At {
                place: choice.place.clone(),
                value: choice.about.clone(),
            },
            policy_remarks: policy_remarks.clone(),
        });
    }
    drafts
}

const NAT: &str =
    "rewrites addresses and takes answers back through the balancer, which dns-lb does not";
const TUNNEL: &str = "wraps packets for servers behind routers, which dns-lb does not";
const DIRECT_ROUTING: &str = "put the servers on the balancer's link, give each the VIP on its lo \
    (docs/migrating-from-keepalived.md), and write lvs_method DR";

/// Refuses what is not Direct Routing, with an explanation.
fn demand_direct_routing(server: &VirtualServer, problems: &mut Problems) {
    let mut refuse = |place: &Place, method: Method| {
        let what = match method {
            Method::DirectRouting => return,
            Method::Nat => format!("lvs_method NAT {NAT}"),
            Method::Tunnel => format!("lvs_method TUN {TUNNEL}"),
        };
        problems.add(place, what, DIRECT_ROUTING);
    };
    let own = |real: &RealServer| real.settings.method.clone();
    for method in server.real_servers.iter().filter_map(own) {
        refuse(&method.place, method.value);
    }
    match &server.settings.method {
        // The default of those that have none of their own.
        Some(method) if server.real_servers.iter().any(|real| own(real).is_none()) => {
            refuse(&method.place, method.value);
        }
        None if server.real_servers.iter().any(|real| own(real).is_none()) => {
            let what = format!("without lvs_method keepalived takes NAT, which {NAT}");
            problems.add(&server.place, what, DIRECT_ROUTING);
        }
        _ => {}
    }
}

/// The addresses of each port.
fn endpoints(
    server: &VirtualServer,
    groups: &HashMap<&str, &Group>,
    budget: &Budget,
    problems: &mut Problems,
) -> BTreeMap<u16, Vec<IpAddr>> {
    let mut endpoints: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
    match &server.target {
        Target::Address { address, port } => {
            endpoints.insert(*port, vec![*address]);
        }
        Target::Group(name) => {
            let Some(group) = groups.get(name.as_str()) else {
                let what = format!("there is no virtual_server_group {}", shortened(name));
                problems.add(&server.place, what, "add it, or mend the name");
                return endpoints;
            };
            if budget.is_exceeded {
                return endpoints;
            }
            // More than fit are noticed when they are taken.
            let mut left = MAX_VIPS + 1;
            for entry in &group.entries {
                let addresses = group::addresses(&entry.value, left);
                left = left.saturating_sub(addresses.len());
                let known = endpoints.entry(entry.value.port).or_default();
                for address in addresses {
                    match known.contains(&address) {
                        false => known.push(address),
                        true => {
                            let port = entry.value.port;
                            let what =
                                format!("{address} with port {port} is in the group already");
                            problems.add(&entry.place, what, "leave it once");
                        }
                    }
                }
                if left == 0 {
                    break;
                }
            }
        }
    }
    endpoints
}

fn backends(
    server: &VirtualServer,
    weighted: bool,
    remarks: &mut Remarks,
    problems: &mut Problems,
) -> Vec<Backend> {
    let default = server
        .settings
        .weight
        .as_ref()
        .map_or(1, |weight| weight.value);
    let weight = |real: &RealServer| match &real.settings.weight {
        Some(weight) => weight.value,
        None => default,
    };
    let heaviest_server = server.real_servers.iter().max_by_key(|real| weight(real));
    let heaviest = heaviest_server.map_or(1, weight);
    if heaviest > MAX_WEIGHT && weighted {
        let about = format!("weight {heaviest}");
        let why = format!(
            "Weights end at {MAX_WEIGHT} here: all of this service are divided alike, and none but 0 \
             becomes 0."
        );
        let place = heaviest_server.map_or(&server.place, |real| &real.place);
        remarks.add(Kind::Approximated, place, about, why);
    }
    let mut known: HashMap<IpAddr, &Place> = HashMap::new();
    let mut backends = Vec::new();
    for real in &server.real_servers {
        if let Some(before) = known.insert(real.address, &real.place) {
            let what = format!("real_server {} is on {before} already", real.address);
            problems.add(&real.place, what, "leave one of the two");
        }
        let mut own = Remarks::default();
        let stated = weight(real);
        let place = real.settings.weight.as_ref().map(|weight| &weight.place);
        let weight = match stated {
            0 => {
                let why = "As with keepalived it takes nothing new, and is probed all the same.";
                own.add(Kind::Translated, place, "weight 0", why);
                0
            }
            1 => 1,
            _ if !weighted => {
                let why = "weight = 1: the scheduler knew no weights, and the policy here does.";
                own.add(Kind::Translated, place, format!("weight {stated}"), why);
                1
            }
            _ if heaviest > MAX_WEIGHT => (stated * MAX_WEIGHT / heaviest).max(1),
            _ => stated,
        };
        backends.push(Backend {
            name: real
                .settings
                .snmp_name
                .as_ref()
                .map_or_else(String::new, |name| name.value.clone()),
            address: real.address,
            weight: u16::try_from(weight).unwrap_or(u16::MAX),
            remarks: own,
        });
    }
    backends
}

/// The largest weight of our configuration.
const MAX_WEIGHT: u32 = 1_000;

fn sorry_server(server: &VirtualServer, remarks: &mut Remarks) {
    match &server.sorry_server {
        Some(sorry) => {
            let is_real = |real: &RealServer| real.address.to_string() == sorry.value;
            let why = match server.real_servers.iter().any(is_real) {
                true => {
                    "dns-lb has no standby. This one is a backend already, and if probes call every server \
                     down, on_no_backend = \"fail-open\", the default, steers to all as if they were up."
                }
                false => {
                    "dns-lb has no standby that comes in when all others are down. Make it a backend with \
                     a small weight, or look at on_no_backend: \"fail-open\", the default, steers to all as \
                     if they were up."
                }
            };
            let about = format!("sorry_server {}", sorry.value);
            remarks.add(Kind::Dropped, &sorry.place, about, why);
        }
        None => {
            let why = "With every server down IPVS has none left and queries fail at once. dns-lb steers to \
                       all as if they were up; on_no_backend = \"drop\" does not.";
            remarks.add(Kind::Assumed, None, "on_no_backend = \"fail-open\"", why);
        }
    }
}

fn asides(server: &VirtualServer, remarks: &mut Remarks) {
    let own = std::iter::once(&server.settings);
    let inner = server.real_servers.iter().flat_map(|real| {
        let checks = real.checks.iter().map(|check| &check.settings);
        std::iter::once(&real.settings).chain(checks)
    });
    for settings in own.chain(inner) {
        for aside in &settings.asides {
            remarks.add(
                Kind::Dropped,
                &aside.place,
                shortened(&aside.words),
                aside.why,
            );
        }
    }
}

fn label(server: &VirtualServer) -> String {
    match (&server.settings.snmp_name, &server.target) {
        (Some(name), _) => name.value.clone(),
        (None, Target::Group(name)) => name.clone(),
        (None, Target::Address { address, .. }) => address.to_string(),
    }
}
