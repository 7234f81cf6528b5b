//! What the service manager is told of the agent: sd_notify(3).
//!
//! Without `NOTIFY_SOCKET` nothing happens. A manager that does not read holds nobody up: what its
//! queue has no room for is said again later, in the same order.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    env,
    ffi::{OsStr, OsString},
    future::pending,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Running;
use crate::health::Health;

/// Between two looks whether the status reads otherwise.
const STATUS_PERIOD: Duration = Duration::from_secs(1);

/// The way to the service manager.
pub(super) struct ServiceManager {
    /// `None`: there is nobody to tell.
    socket: Option<UnixDatagram>,
    /// What its queue has had no room for yet, oldest first.
    owed: VecDeque<String>,
    /// How often it wants to hear from the loop: twice as often as it must.
    watchdog: Option<Duration>,
    watchdog_due: Instant,
    status_due: Instant,
    /// The status as last said.
    status: String,
    /// Why the last reload was refused, until one is not.
    refusal: Option<String>,
}

impl ServiceManager {
    /// The manager that has started this process. One that cannot be reached is done without: it has
    /// its own time limit for those it does not hear of.
    pub(super) fn of_this_process() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        Self::at(socket, sd_notify::watchdog_enabled())
    }

    fn at(address: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let socket = address.and_then(|address| {
            connect(&address)
                .inspect_err(|error| {
                    warn!(%error, socket = %address.display(), "the service manager is not told");
                })
                .ok()
        });
        let now = Instant::now();
        Self {
            watchdog: watchdog
                .map(|period| period / 2)
                .filter(|half| socket.is_some() && !half.is_zero()),
            socket,
            owed: VecDeque::new(),
            watchdog_due: now,
            status_due: now,
            status: String::new(),
            refusal: None,
        }
    }

    /// Everything is at work that was to be started.
    pub(super) fn ready(&mut self) {
        self.say(&[NotifyState::Ready]);
    }

    /// The configuration is being read again; to be followed by [`ServiceManager::reloaded`].
    pub(super) fn reloading(&mut self) {
        // systemd 253 and later tell by the time which of two reloads has ended.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "the service manager is not told of a reload"),
        }
    }

    /// What became of a reload: why it was refused, if it was.
    pub(super) fn reloaded(&mut self, refusal: Option<&str>) {
        // A status is a line.
        let first = refusal.map(|text| text.lines().next().unwrap_or_default().to_owned());
        self.refusal = first;
        match &self.refusal {
            None => self.say(&[NotifyState::Ready]),
            Some(refusal) => {
                let status = format!("not reloaded: {refusal}");
                self.say(&[NotifyState::Ready, NotifyState::Status(&status)]);
                self.status = status;
            }
        }
        // What was said last may not be true any more.
        self.status_due = Instant::now();
    }

    /// The agent is about to end.
    pub(super) fn stopping(&mut self) {
        self.say(&[NotifyState::Stopping]);
    }

    /// Waits until [`ServiceManager::tell`] has something to do; for ever without a manager.
    pub(super) async fn due(&self) {
        if self.socket.is_none() {
            return pending().await;
        }
        let watchdog = self.watchdog.map(|_| self.watchdog_due);
        let due = watchdog.map_or(self.status_due, |at| at.min(self.status_due));
        sleep_until(due).await;
    }

    /// Tells what is due: that the loop which calls this turns, and how things are, if that reads
    /// otherwise than the last time.
    fn tell(&mut self, now: Instant, how_things_are: impl FnOnce() -> String) {
        if let Some(period) = self.watchdog
            && self.watchdog_due <= now
        {
            self.watchdog_due = now + period;
            self.say(&[NotifyState::Watchdog]);
        }
        if self.status_due <= now {
            self.status_due = now + STATUS_PERIOD;
            let mut status = how_things_are();
            if let Some(refusal) = &self.refusal {
                status.push_str("; not reloaded: ");
                status.push_str(refusal);
            }
            if status != self.status {
                self.say(&[NotifyState::Status(&status)]);
                self.status = status;
            }
            self.pay();
        }
    }

    fn say(&mut self, states: &[NotifyState<'_>]) {
        if self.socket.is_none() {
            return;
        }
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        let message = lines.join("\n");
        // Of what goes on, the newest is enough; what happens once is said each time.
        let kind = kind(&message);
        if kind == "STATUS" || kind == "WATCHDOG" {
            self.owed.retain(|owed| kind != self::kind(owed));
        }
        self.owed.push_back(message);
        self.pay();
    }

    /// Says what is owed, as far as the manager's queue has room for it.
    fn pay(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        while let Some(message) = self.owed.front() {
            match socket.send(message.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nobody listens there any more: what is owed is of no use to a successor.
                Err(error) => warn!(%error, message, "the service manager is not told"),
                Ok(_) => {}
            }
            self.owed.pop_front();
        }
    }
}

impl Running {
    /// Tells the service manager what is due.
    pub(super) fn tell_manager(&mut self) {
        let (knowledge, generation) = (&self.knowledge, self.applied.generation);
        self.manager.tell(Instant::now(), || {
            let services = knowledge.services();
            let verdicts = services.map(|backends| backends.iter().map(|backend| backend.health));
            summary(verdicts, generation)
        });
    }
}

/// How things are, in a line.
fn summary<S>(services: impl Iterator<Item = S>, generation: u64) -> String
where
    S: Iterator<Item = Health>,
{
    let (mut service_count, mut backends, mut up) = (0, 0, 0);
    for service in services {
        service_count += 1;
        for health in service {
            backends += 1;
            up += usize::from(health == Health::Up);
        }
    }
    let noun = |count, noun| if count == 1 { noun } else { format!("{noun}s") };
    format!(
        "{up} of {backends} {} up in {service_count} {}, generation {generation}",
        noun(backends, "backend".to_owned()),
        noun(service_count, "service".to_owned()),
    )
}

/// What a message says something of: the name before the first sign of equality.
fn kind(message: &str) -> &str {
    message.split('=').next().unwrap_or_default()
}

/// A socket that is connected to this address: a path, or `@` and a name in the abstract namespace.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(address)?,
    }
    Ok(socket)
}
