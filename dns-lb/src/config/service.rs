//! `[[service]]` and what is in it, and what services must not share.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    Backend, Policy, Protocol, Service, defaults, health,
    reader::{Place, Sink, Table, Value},
    scalar::{self, Seen},
};

/// Most services of a configuration.
pub const MAX_SERVICES: usize = 128;
/// Most backends of all services together.
pub const MAX_BACKENDS: usize = 4_096;
/// Most combinations of VIP, port and protocol.
pub const MAX_VIPS: usize = 1_024;

const LONGEST_SLOW_START: Duration = Duration::from_secs(3_600);

/// All services.
pub(super) fn services(root: &mut Table<'_, '_>) -> Option<Vec<Service>> {
    let mut census = Census::default();
    root.required("service", "a table [[service]]", |value| {
        let sink = value.sink;
        let services = value.each("tables [[service]]", |value| service(value, &mut census));
        census.refuse_vips_as_backends(sink);
        services
    })
}

fn service(value: Value<'_, '_>, census: &mut Census) -> Option<Service> {
    let sink = value.sink;
    census.services.count(sink, &value.place);
    let mut table = value.table()?;
    let name = table.required("name", "name = \"resolvers\"", |value| {
        census.names.read_new(value, scalar::name)
    });
    let vips = table.required("vips", "vips = [\"192.168.0.200\"]", |value| {
        value.each("a list of addresses", |value| {
            let place = value.place.clone();
            Some((place, scalar::address(value)?))
        })
    });
    let port = table.optional("port", defaults::PORT, |value| value.integer(1..=u16::MAX));
    let protocols = table.optional("protocols", defaults::PROTOCOLS.to_vec(), protocols);
    let policy = table.optional("policy", defaults::POLICY, Value::choice);
    let max_load = table.optional("max_load", None, |value| {
        let (sink, place) = (value.sink, value.place.clone());
        let percent = scalar::percentage(value, 105..=1_000)?;
        if policy.is_some_and(|policy| policy != Policy::Qname) {
            let problem = "of no use with this policy";
            sink.report(&place, problem, "max_load with policy = \"qname\" alone");
            return None;
        }
        Some(Some(percent))
    });
    let count_queries = table.optional("count_queries", defaults::COUNT_QUERIES, Value::boolean);
    let on_no_backend = table.optional("on_no_backend", defaults::ON_NO_BACKEND, Value::choice);
    let max_ejected = table.optional("max_ejected", defaults::MAX_EJECTED, |value| {
        scalar::percentage(value, 0..=100)
    });
    let slow_start = table.optional("slow_start", defaults::SLOW_START, |value| {
        scalar::duration(value, Duration::ZERO..=LONGEST_SLOW_START)
    });
    let quorum = table.optional("quorum", defaults::QUORUM, |value| {
        value.integer(1..=MAX_BACKENDS as u32)
    });
    let only_tcp = protocols.as_deref() == Some(&[Protocol::Tcp]);
    let health = table
        .table("health")
        .and_then(|table| health::read(table, only_tcp));
    let backends = table.required("backend", "a table [[service.backend]]", |value| {
        let mut names = Seen::default();
        let mut addresses = Seen::default();
        value.each("tables [[service.backend]]", |value| {
            backend(value, &mut names, &mut addresses, census)
        })
    });
    if let (Some(quorum), Some(backends)) = (quorum, &backends)
        && quorum as usize > backends.len()
    {
        table.report(
            "quorum",
            "more than there are backends",
            &format!("1 to {}", backends.len()),
        );
    }
    table.finish();

    if let (Some(vips), Some(port), Some(protocols)) = (&vips, port, &protocols) {
        for (place, address) in vips {
            census.claim_vip(sink, place, *address, port, protocols);
        }
    }
    Some(Service {
        name: name?,
        vips: vips?.into_iter().map(|(_, address)| address).collect(),
        port: port?,
        protocols: protocols?,
        policy: policy?,
        max_load: max_load?,
        count_queries: count_queries?,
        on_no_backend: on_no_backend?,
        max_ejected: max_ejected?,
        quorum: quorum?,
        slow_start: slow_start?,
        health: health?,
        backends: backends?,
    })
}

fn protocols(value: Value<'_, '_>) -> Option<Vec<Protocol>> {
    let mut seen = Seen::default();
    value.each("a list of protocols: \"udp\", \"tcp\"", |value| {
        seen.read_new(value, Value::choice)
    })
}

fn backend(
    value: Value<'_, '_>,
    names: &mut Seen<String>,
    addresses: &mut Seen<IpAddr>,
    census: &mut Census,
) -> Option<Backend> {
    census.backends.count(value.sink, &value.place);
    let mut table = value.table()?;
    let name = table.required("name", "name = \"dns1\"", |value| {
        names.read_new(value, scalar::name)
    });
    let address = table.required("address", "address = \"192.168.0.201\"", |value| {
        let place = value.place.clone();
        let address = addresses.read_new(value, scalar::address)?;
        census.backend_addresses.push((place, address));
        Some(address)
    });
    let weight = table.optional("weight", defaults::WEIGHT, |value| value.integer(0..=1_000));
    let local = table.optional("local", defaults::LOCAL, Value::boolean);
    let mac = table.optional("mac", None, |value| {
        let (sink, place) = (value.sink, value.place.clone());
        let mac = scalar::mac(value)?;
        if local == Some(true) {
            let problem = "of no use for a backend on this host";
            sink.report(&place, problem, "either mac or local = true");
            return None;
        }
        Some(Some(mac))
    });
    table.finish();
    Some(Backend {
        name: name?,
        address: address?,
        weight: weight?,
        mac: mac?,
        local: local?,
    })
}

/// What has been read of all services, for the rules that hold across them.
struct Census {
    services: Count,
    backends: Count,
    vips: Count,
    names: Seen<String>,
    vip_addresses: Seen<IpAddr>,
    endpoints: Seen<Endpoint>,
    backend_addresses: Vec<(Place, IpAddr)>,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            services: Count::up_to(MAX_SERVICES, "services"),
            backends: Count::up_to(MAX_BACKENDS, "backends of all services"),
            vips: Count::up_to(MAX_VIPS, "combinations of VIP, port and protocol"),
            names: Seen::default(),
            vip_addresses: Seen::default(),
            endpoints: Seen::default(),
            backend_addresses: Vec::new(),
        }
    }
}

impl Census {
    fn claim_vip(
        &mut self,
        sink: &Sink<'_>,
        place: &Place,
        address: IpAddr,
        port: u16,
        protocols: &[Protocol],
    ) {
        if self.vip_addresses.line(&address).is_none() {
            self.vip_addresses.claim(sink, place, address);
        }
        for &protocol in protocols {
            self.vips.count(sink, place);
            let endpoint = Endpoint {
                address,
                port,
                protocol,
            };
            if !self.endpoints.claim(sink, place, endpoint) {
                // What holds of one protocol mostly holds of the other: once is enough.
                return;
            }
        }
    }

    /// A backend owns the VIP beside an address of its own, on which it is probed and found.
    fn refuse_vips_as_backends(&self, sink: &Sink<'_>) {
        for (place, address) in &self.backend_addresses {
            if let Some(line) = self.vip_addresses.line(address) {
                let problem = format!("\"{address}\" is a VIP, on line {line}");
                sink.report(place, problem, "the server's own address");
            }
        }
    }
}

/// What clients send to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Endpoint {
    address: IpAddr,
    port: u16,
    protocol: Protocol,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = SocketAddr::new(self.address, self.port);
        write!(f, "{address}/{}", self.protocol)
    }
}

/// Counts towards a limit.
struct Count {
    so_far: usize,
    limit: usize,
    what: &'static str,
}

impl Count {
    const fn up_to(limit: usize, what: &'static str) -> Self {
        Self {
            so_far: 0,
            limit,
            what,
        }
    }

    /// Counts one more, and reports the first one too many.
    fn count(&mut self, sink: &Sink<'_>, place: &Place) {
        self.so_far += 1;
        if self.so_far == self.limit + 1 {
            let allowed = format!("at most {} {}", self.limit, self.what);
            sink.report(place, "one too many", allowed);
        }
    }
}
