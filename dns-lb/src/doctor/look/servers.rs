//! Asking every server: through each VIP by UDP and TCP, and by its own address. The questions are the
//! health check's, by its own prober, which has sockets of its own: the agent's probes go on beside it.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Look;
use crate::{
    agent::sources,
    config::{Backend, Config, HealthCheck, ProbePath, Protocol, Service, Transport},
    doctor::backend::{Answers, Server, ThroughVip},
    health::{BackendKey, Ending, Extra, LinkReach, Outcome, Prober, Reach, Target, raise_limit},
    mac::MacAddress,
};

/// Between the first questions of two servers.
const GAP: Duration = Duration::from_millis(2);
/// Servers that are being asked at once.
const AT_ONCE: usize = 256;
/// How long a reply may take, if the check does not want it sooner or later.
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(1);
/// How long all of it may take.
const ALL: Duration = Duration::from_secs(10);

impl Look {
    /// Asks the servers of all services.
    pub(in crate::doctor) async fn ask_servers(&self, config: &Config) -> Vec<Server> {
        // With fewer, more servers wait for their turn.
        let _ = raise_limit();
        let prober = Prober::new();
        let begin = Instant::now();
        let asked = config
            .services
            .iter()
            .flat_map(|service| {
                let peers = self.peers(service);
                let backends = service.backends.iter();
                backends.map(move |backend| (service, backend, Arc::clone(&peers)))
            })
            .zip(0..)
            .map(|((service, backend, peers), place)| {
                let turn = begin + GAP * place;
                self.ask(&prober, service, backend, peers, turn, begin + ALL)
            });
        stream::iter(asked).buffered(AT_ONCE).collect().await
    }

    async fn ask(
        &self,
        prober: &Prober,
        service: &Service,
        backend: &Backend,
        peers: Arc<[(MacAddress, Arc<str>)]>,
        turn: Instant,
        deadline: Instant,
    ) -> Server {
        let subject = format!("{}/{}", service.name, backend.name);
        let answers = match self.reach(backend, peers) {
            Ok(reach) => {
                let errand = Errand {
                    prober,
                    service,
                    backend,
                    reach: &reach,
                };
                sleep_until(turn).await;
                timeout_at(deadline, errand.run())
                    .await
                    .map_err(|_| format!("not asked within {ALL:?}"))
            }
            Err(why) => Err(format!("not asked: {why}")),
        };
        Server {
            subject,
            address: backend.address,
            answers,
        }
    }

    fn peers(&self, service: &Service) -> Arc<[(MacAddress, Arc<str>)]> {
        let located = service.backends.iter().filter_map(|backend| {
            let found = self.neighbors.by_address.get(&backend.address)?;
            Some((found.as_ref().ok()?.mac, backend.name.as_str().into()))
        });
        located.collect()
    }

    /// How a backend is reached; or why it is not.
    fn reach(
        &self,
        backend: &Backend,
        peers: Arc<[(MacAddress, Arc<str>)]>,
    ) -> Result<Reach, String> {
        let reach = Reach {
            peers,
            ..Reach::default()
        };
        if backend.local {
            return Ok(reach);
        }
        let unknown = || "where it is on the link is not known".to_owned();
        let found = self.neighbors.by_address.get(&backend.address);
        let found = found.and_then(|found| found.as_ref().ok());
        let found = found.ok_or_else(unknown)?;
        let link = self.neighbors.links.get(&found.ifindex);
        let (link, source_mac) = link
            .and_then(|link| Some((link, link.mac?)))
            .ok_or_else(unknown)?;
        Ok(Reach {
            link: Some(LinkReach {
                interface: link.name.clone(),
                ifindex: found.ifindex,
                mac: found.mac,
                source_mac,
                sources: sources(backend.address, found.ifindex, &self.neighbors, &self.vips),
            }),
            ..reach
        })
    }
}

/// What one server is asked.
struct Errand<'a> {
    prober: &'a Prober,
    service: &'a Service,
    backend: &'a Backend,
    reach: &'a Reach,
}

impl Errand<'_> {
    async fn run(self) -> Answers {
        let vips: BTreeSet<IpAddr> = self.service.vips.iter().copied().collect();
        let through = join_all(vips.into_iter().map(|vip| self.through(vip)));
        let (vips, own) = tokio::join!(through, self.own());
        Answers { own, vips }
    }

    fn protocol(&self) -> Protocol {
        match self.service.protocols.contains(&Protocol::Udp) {
            true => Protocol::Udp,
            false => Protocol::Tcp,
        }
    }

    async fn through(&self, vip: IpAddr) -> ThroughVip {
        let protocol = self.protocol();
        let asked_return =
            protocol == Protocol::Udp && self.service.health.check_return && !self.backend.local;
        let extra = Extra {
            diagnose: true,
            check_return: asked_return,
            ..Extra::default()
        };
        let mut outcome = self.probe(ProbePath::Vip, vip, protocol, extra).await;
        if asked_return && outcome.passed() && outcome.return_path().is_none() {
            outcome = self.probe(ProbePath::Vip, vip, protocol, extra).await;
        }
        let takes_more = self.service.protocols.len() > 1;
        let tcp = if takes_more && outcome.passed() && !outcome.stood_in() {
            let extra = Extra::default();
            Some(self.probe(ProbePath::Vip, vip, Protocol::Tcp, extra).await)
        } else {
            None
        };
        ThroughVip {
            vip,
            protocol,
            outcome,
            tcp,
            asked_return,
        }
    }

    async fn own(&self) -> Option<Outcome> {
        let vip = *self.service.vips.first()?;
        let extra = Extra::default();
        Some(
            self.probe(ProbePath::Real, vip, self.protocol(), extra)
                .await,
        )
    }

    /// Asks; and where there is silence, which one lost packet makes, asks again.
    async fn probe(
        &self,
        path: ProbePath,
        vip: IpAddr,
        protocol: Protocol,
        extra: Extra,
    ) -> Outcome {
        let target = Target {
            backend: BackendKey {
                service: self.service.name.as_str().into(),
                backend: self.backend.name.as_str().into(),
            },
            address: self.backend.address,
            port: self.service.port,
            vips: vec![vip],
            local: self.backend.local,
        };
        let check = self.check(path, protocol);
        let outcome = self.prober.probe(&target, &check, self.reach, extra).await;
        if !matches!(outcome.ending(), Ending::TimedOut { .. }) {
            return outcome;
        }
        self.prober.probe(&target, &check, self.reach, extra).await
    }

    fn check(&self, path: ProbePath, protocol: Protocol) -> HealthCheck {
        let check = &self.service.health;
        HealthCheck {
            path,
            transport: match protocol {
                Protocol::Udp => Transport::Udp,
                Protocol::Tcp => Transport::Tcp,
            },
            timeout: check.timeout.clamp(*PATIENCE.start(), *PATIENCE.end()),
            ..check.clone()
        }
    }
}
