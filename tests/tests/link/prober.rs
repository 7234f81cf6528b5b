//! Probes from the lab's balancer to its backends.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use dns_lb::{
    health::{
        Ignored,
        link::{Arrival, LinkError, LinkProber, Way},
    },
    mac::MacAddress,
};
use dns_lb_tests::{Backend, Lab, dns, lab};
use nix::net::if_::if_nametoindex;
use tokio::time::Instant;

/// For a reply that comes, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// For one that must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

pub(crate) const OWN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

/// The balancer's addresses on the first segment.
pub(crate) const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub(crate) const OWN_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// Runs a part of a test on the balancer, in a runtime of its own.
pub(crate) fn on_balancer<T: Send + 'static>(
    lab: &Lab,
    part: impl AsyncFnOnce(LinkProber) -> T + Send + 'static,
) -> T {
    let thread = lab.balancer.thread(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(part(LinkProber::new()))
    });
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The ways to a backend, by IPv4 and by IPv6, for the calling host.
pub(crate) fn ways(lab: &Lab, backend: usize) -> [Way; 2] {
    let ifindex = lab.balancer.run(|| if_nametoindex("eth0").unwrap());
    let by = |source: IpAddr, vip: IpAddr| Way {
        ifindex,
        source_mac: OWN_MAC,
        destination_mac: mac(&lab.backends[backend]),
        source,
        vip: (vip, dns::PORT).into(),
    };
    [
        by(OWN_ADDRESS.into(), lab::VIP.into()),
        by(OWN_ADDRESS_V6.into(), lab::VIP_V6.into()),
    ]
}

pub(crate) fn mac(backend: &Backend) -> MacAddress {
    backend.mac.parse().unwrap()
}

/// Asks once who the backend is.
pub(crate) async fn ask(
    prober: &LinkProber,
    way: &Way,
    transport: Transport,
    patience: Duration,
) -> Result<Arrival<String>, LinkError> {
    let id = rand::random();
    let query = dns::identity_query(id);
    let deadline = Instant::now() + patience;
    let judge = |octets: &[u8]| match dns::identity_reply(octets) {
        Some((of, identity)) if of == id => Ok(identity),
        Some(_) => Err(Ignored::WrongId),
        None => Err(Ignored::Garbage),
    };
    match transport {
        Transport::Udp => prober.exchange_udp(way, &query, deadline, judge).await,
        Transport::Tcp => prober.exchange_tcp(way, &query, deadline, judge).await,
    }
}

/// Asks until something comes. The bridge between takes up to a second to find that its ports have
/// a carrier, and ARP, which answers need, loses its first question then.
pub(crate) async fn ask_until(
    prober: &LinkProber,
    way: &Way,
    transport: Transport,
) -> Arrival<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask(prober, way, transport, SILENCE).await.unwrap() {
            Arrival::Nothing { .. } if Instant::now() < until => {}
            arrival => return arrival,
        }
    }
}

/// A reply, with its time left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) identity: String,
    pub(crate) source: SocketAddr,
    pub(crate) source_mac: MacAddress,
    pub(crate) destination_mac: MacAddress,
}

pub(crate) fn expect_reply(arrival: Arrival<String>) -> Sender {
    match arrival {
        Arrival::Reply {
            reply,
            source,
            source_mac,
            destination_mac,
            rtt,
        } => {
            assert!(rtt > Duration::ZERO && rtt < PATIENCE, "{rtt:?}");
            Sender {
                identity: reply,
                source,
                source_mac,
                destination_mac,
            }
        }
        other => panic!("{other:?}"),
    }
}
