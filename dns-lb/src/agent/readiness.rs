//! Which services are of use to clients, and telling routing daemons so.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use tokio::time::Instant;
use tracing::{error, info};

use super::{Running, start};
use crate::{
    announce::{self, AnnounceError, Announcer, Host},
    config::{Announce, Config},
    health::Health,
};

/// What the kernel is given to take addresses back, however short `settle` is. It takes far less.
const TAKE_BACK: Duration = Duration::from_millis(200);

/// What is told to routing daemons, and how.
pub(super) struct Announcing {
    announcer: Announcer,
    host: Host,
    /// When to decide anew although nothing happens.
    pub(super) due: Option<Instant>,
    /// Whether everything is being taken back, since the agent stops.
    withdrawing: bool,
}

impl Announcing {
    /// Starts with what an earlier agent has left to be told.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell what that is.
    pub(super) async fn start(config: &Config) -> Result<Self, AnnounceError> {
        let told = match &config.announce {
            Some(announce) => announce::present(&announce.interface, &start::vips(config)).await?,
            None => BTreeSet::new(),
        };
        Ok(Self {
            announcer: Announcer::new(told),
            host: Host::start()?,
            due: None,
            withdrawing: false,
        })
    }

    /// The VIPs that are told.
    pub(super) fn told(&self) -> Vec<IpAddr> {
        self.host.told().into_iter().collect()
    }
}

impl Running {
    /// How many backends of a service take queries and, as far as can be told, answer them. One that
    /// nothing can be found out about is none of them: clients may find no way to it either.
    pub(super) fn usable(&self, service: usize) -> u32 {
        let ids = self.assignment.backends[service].iter();
        let usable = ids.enumerate().filter(|(place, id)| {
            let state = self.knowledge.state(service, *place);
            let share = self.applied.shares.get(id).copied().unwrap_or(0.0);
            share > 0.0 && state.health != Health::Down && state.frozen().is_none()
        });
        u32::try_from(usable.count()).unwrap_or(u32::MAX)
    }

    /// Looks whether somebody has taken the program off an interface. It is not put back: whoever did
    /// it meant it. A reload with other interfaces and a start do.
    pub(super) fn look_for_the_program(&mut self) {
        for attachment in &self.attachments {
            let is_attached = self.datapath.is_attached(attachment).unwrap_or(false);
            let ifindex = attachment.ifindex;
            if !is_attached && self.detached.insert(ifindex) {
                error!(
                    interface = attachment.interface,
                    "the program has been detached: nothing is steered there until the agent is started again"
                );
            } else if is_attached && self.detached.remove(&ifindex) {
                info!(interface = attachment.interface, "steering again");
            }
        }
        let attachments = &self.attachments;
        self.detached
            .retain(|ifindex| attachments.iter().any(|known| known.ifindex == *ifindex));
    }

    /// Tells routing daemons which VIPs are served here now.
    pub(super) fn announce(&mut self) {
        let Some(announce) = self.config.announce.clone() else {
            self.announcing.host.release();
            self.announcing.due = None;
            return;
        };
        let is_attached = !self.attachments.is_empty() && self.detached.is_empty();
        let services = &self.config.services;
        let ready: Vec<bool> = (0..services.len())
            .map(|index| is_attached && self.usable(index) >= services[index].quorum)
            .collect();
        let announcing = &mut self.announcing;
        let now = Instant::now();
        let decision = announcing
            .announcer
            .decide(&announce, services, |index| ready[index], now);
        announcing.due = decision.due;
        let wanted = match announcing.withdrawing {
            true => BTreeSet::new(),
            false => decision.vips,
        };
        announcing
            .host
            .order(&announce.interface, start::vips(&self.config), wanted);
    }

    /// Takes back what is told, before the agent stops. Gives until when the agent should go on. Before
    /// the program is detached it is taken back whatever the configuration says: nobody steers then.
    pub(super) fn withdraw(&mut self, detach: bool) -> Option<Instant> {
        let Announce {
            withdraw_first,
            settle,
            ..
        } = self.config.announce.as_ref()?;
        if !(*withdraw_first || detach) || self.announcing.told().is_empty() {
            return None;
        }
        let until = Instant::now() + (*settle).max(TAKE_BACK);
        info!(?settle, "withdrawing the VIPs, then stopping");
        self.announcing.withdrawing = true;
        self.announce();
        Some(until)
    }
}
