//! Which services are of use to clients, and telling routing daemons so.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use tokio::time::Instant;
use tracing::{debug, error, info};

use super::{Running, start};
use crate::{
    announce::{self, AnnounceError, Announcer, Host, Readiness},
    config::{Announce, Config},
    health::Health,
};

/// How long the kernel may take to take addresses back. It takes a millisecond or two each, of which
/// there may be a thousand.
const TAKE_BACK: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);

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
        self.serving(service, |health| health != Health::Down)
    }

    /// How many backends of this health take queries, and can be found out about.
    fn serving(&self, service: usize, is_counted: impl Fn(Health) -> bool) -> u32 {
        let ids = self.assignment.backends[service].iter();
        let serving = ids.enumerate().filter(|(place, id)| {
            let state = self.knowledge.state(service, *place);
            let share = self.applied.shares.get(id).copied().unwrap_or(0.0);
            share > 0.0 && is_counted(state.health) && state.frozen().is_none()
        });
        u32::try_from(serving.count()).unwrap_or(u32::MAX)
    }

    fn readiness(&self, service: usize) -> Readiness {
        let quorum = self.config.services[service].quorum;
        if self.attachments.is_empty() || !self.detached.is_empty() || self.usable(service) < quorum
        {
            Readiness::Unready
        } else if self.serving(service, |health| health == Health::Up) < quorum {
            Readiness::Untried
        } else {
            Readiness::Ready
        }
    }

    /// Looks whether somebody has taken the program off an interface. It is not put back: whoever did
    /// it meant it. A reload with other interfaces and a start do.
    pub(super) fn look_for_the_program(&mut self) {
        for attachment in &self.attachments {
            let is_attached = match self.datapath.is_attached(attachment) {
                Ok(is_attached) => is_attached,
                Err(error) => {
                    // Nothing is known that was not before.
                    debug!(%error, "cannot see whether the program is attached");
                    continue;
                }
            };
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
        let services = &self.config.services;
        let readiness: Vec<Readiness> = (0..services.len())
            .map(|index| self.readiness(index))
            .collect();
        let announcing = &mut self.announcing;
        let now = Instant::now();
        let decision =
            announcing
                .announcer
                .decide(&announce, services, |index| readiness[index], now);
        announcing.due = decision.due;
        let wanted = match announcing.withdrawing {
            true => BTreeSet::new(),
            false => decision.vips,
        };
        announcing
            .host
            .order(&announce.interface, start::vips(&self.config), wanted);
    }

    /// Takes back what is told, before the agent stops, and gives how it then has to wait; `None`: not at
    /// all. Before the program is detached it is taken back whatever the configuration says: nobody
    /// steers then.
    pub(super) fn withdraw(&mut self, detach: bool) -> Option<Withdrawal> {
        let Announce {
            withdraw_first,
            settle,
            ..
        } = *self.config.announce.as_ref()?;
        // What has been ordered may not have been seen yet.
        let announcing = &self.announcing;
        let is_none = announcing.announcer.told().is_empty() && announcing.host.has_none();
        if !(withdraw_first || detach) || is_none {
            return None;
        }
        info!(?settle, "withdrawing the VIPs, then stopping");
        self.announcing.withdrawing = true;
        self.announce();
        let now = Instant::now();
        Some(Withdrawal {
            settle,
            give_up: now + TAKE_BACK,
            due: now + LOOK,
            is_settling: false,
        })
    }

    /// Whether a withdrawal is over.
    pub(super) fn is_over(&self, withdrawal: &mut Withdrawal) -> bool {
        withdrawal.is_over(self.announcing.host.has_none(), Instant::now())
    }
}

/// The agent's last moments: until no VIP is told any more, and `settle` from then on.
pub(super) struct Withdrawal {
    settle: Duration,
    /// When it is no longer waited for the kernel.
    give_up: Instant,
    /// When to look again.
    pub(super) due: Instant,
    is_settling: bool,
}

impl Withdrawal {
    fn is_over(&mut self, is_taken_back: bool, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        if self.is_settling {
            return true;
        }
        self.is_settling = is_taken_back || now >= self.give_up;
        let wait = if self.is_settling { self.settle } else { LOOK };
        self.due = now + wait;
        wait.is_zero()
    }
}
