//! Going on with another configuration: all of it or nothing, and without touching what is the same.

use std::{collections::BTreeMap, mem};

use dns_lb_common::HashKey;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{
    Running,
    applier::Applier,
    decide,
    start::{follow_kernel_log, forget_removed},
};
use crate::{
    api::admin::{AdminError, ReloadReport},
    config::{Backend, Config, ConfigError, Difference},
    datapath::{DatapathError, Demand, interface_index},
    steer::{Assignment, Known, Writer, assign, load_hash_key, load_or_create_hash_key},
};

impl Running {
    /// Reads the configuration again and goes on with it; on a dry run only says what would change.
    ///
    /// # Errors
    ///
    /// Why not. Everything stays as it was then; only if the maps could not be written at the very
    /// end, it is tried until they can.
    pub(super) async fn reload(&mut self, dry_run: bool) -> Result<ReloadReport, AdminError> {
        if dry_run {
            return self.follow_file(true).await;
        }
        self.manager.reloading();
        let result = self.follow_file(false).await;
        let refusal = result.as_ref().err().map(ToString::to_string);
        self.manager.reloaded(refusal.as_deref());
        result
    }

    async fn follow_file(&mut self, dry_run: bool) -> Result<ReloadReport, AdminError> {
        let config = load(&self.config_file)?;
        let Difference {
            mut changes,
            mut warnings,
        } = Difference::between(&self.config, &config);
        warnings.extend(replaced(&self.config, &config));
        for name in &config.interfaces {
            // One that has gone away since is attached to when it comes back.
            if !self.config.interfaces.contains(name) {
                interface_index(name).map_err(impossible)?;
            }
        }
        Demand::of(&config).check().map_err(impossible)?;
        let key = load_hash_key(&config.hash_key_file).map_err(impossible)?;
        if key.is_some_and(|key| key != self.hash_key) {
            changes.push("~ the hash key: most flows move".to_owned());
        }

        let mut report = ReloadReport {
            changes,
            warnings,
            applied: false,
            generation: self.applied.generation,
        };
        if dry_run || report.changes.is_empty() {
            return Ok(report);
        }
        let config = Config {
            // Taken up at the next start.
            api: self.config.api.clone(),
            state_file: self.config.state_file.clone(),
            tcp_flows: self.config.tcp_flows,
            ..config
        };
        self.switch_to(config, key).await?;
        for change in &report.changes {
            info!(change, "reloaded");
        }
        report.applied = true;
        report.generation = self.applied.generation;
        Ok(report)
    }

    /// Goes on with this configuration; `key` is what its hash key file says, if there is one.
    async fn switch_to(&mut self, config: Config, key: Option<HashKey>) -> Result<(), AdminError> {
        let key = match key {
            Some(key) => key,
            // A file that has been taken away says nothing; one that is named anew is made.
            None if config.hash_key_file == self.config.hash_key_file => self.hash_key,
            None => load_or_create_hash_key(&config.hash_key_file).map_err(impossible)?,
        };
        let demand = Demand::of(&config);
        if !self.datapath.holds(demand) {
            self.grow(demand).await?;
        }
        self.attach_to(&config)?;

        // From here on nothing fails but the writing itself, which is tried again.
        let known = Known::of(&self.config, &self.assignment, self.datapath.capacity());
        let assignment = assign(&config, &known);
        let old = mem::replace(&mut self.assignment, assignment);
        let knowledge = mem::take(&mut self.knowledge);
        self.knowledge = knowledge.carry_over(&old, &config, &self.assignment);
        self.knowledge.locate(&self.neighbors.borrow());
        let opened: BTreeMap<u16, bool> = old
            .services
            .iter()
            .copied()
            .zip(mem::take(&mut self.failed_open))
            .collect();
        let ids = self.assignment.services.iter();
        self.failed_open = ids
            .map(|id| opened.get(id).copied().unwrap_or(false))
            .collect();
        let names = names(&self.config, &old, &config, &self.assignment);
        self.config = config;
        self.hash_key = key;
        let before = self.ledger.clone();
        self.ledger.rename(|service, backend| {
            let key = (service.to_owned(), backend.to_owned());
            names.get(&key).cloned()
        });
        forget_removed(&mut self.ledger, &self.config);
        self.follow_configuration();
        let order = self.replan();
        if self.ledger != before {
            // Said in the log; what is kept too long is dropped at the next start.
            drop(self.keeper.keep(self.ledger.clone()));
        }
        self.await_written(order).await
    }

    /// Attaches the program to the interfaces of another configuration, and to no other.
    fn attach_to(&mut self, config: &Config) -> Result<(), AdminError> {
        let is_same =
            config.interfaces == self.config.interfaces && config.xdp_mode == self.config.xdp_mode;
        if is_same {
            return Ok(());
        }
        self.attach(&existing(config), config.xdp_mode)
            .map_err(|error| {
                self.attach_as_configured();
                impossible(error)
            })
    }

    /// Goes back to the interfaces that hold, after an attempt at something else.
    fn attach_as_configured(&mut self) {
        if let Err(error) = self.attach(&existing(&self.config), self.config.xdp_mode) {
            error!(%error, "an interface is no longer steered");
        }
    }

    /// Makes room for a configuration that the maps do not hold, with the one that holds now: packets
    /// go by the old maps until the new ones say the same.
    async fn grow(&mut self, demand: Demand) -> Result<(), AdminError> {
        let maps = self.datapath.grow(demand).map_err(impossible)?;
        // Until the new ones steer, the old ones stay as they are.
        let Some(old) = self.applier.pause().await else {
            let text = "the thread that writes the maps has died";
            return Err(AdminError::Failed(text.to_owned()));
        };
        let plan = decide(
            &self.config,
            &self.assignment,
            &self.knowledge,
            &self.ledger,
        );
        let key = self.hash_key;
        // Tables take their time, which probes do not have.
        let filled = spawn_blocking(move || {
            let filled = old.grown(maps).and_then(|mut writer| {
                let applied = writer.apply(&plan, &key)?;
                Ok((writer, applied))
            });
            (old, filled)
        });
        let Ok((old, filled)) = filled.await else {
            let text = "the thread that fills the new maps has died";
            return Err(AdminError::Failed(text.to_owned()));
        };
        let (writer, applied) = match filled {
            Ok(filled) => filled,
            Err(error) => return Err(self.shrink_back(old, error)),
        };
        if let Err(error) = self.attach(&existing(&self.config), self.config.xdp_mode) {
            return Err(self.shrink_back(old, error));
        }
        self.applier = Applier::spawn(writer);
        self.tables.count(&applied);
        self.applied = applied;
        self.reopen().map_err(|error| {
            let text = format!("the maps have grown, but cannot be read: {error}");
            AdminError::Failed(text)
        })?;
        info!(?demand, "the maps have grown");
        Ok(())
    }

    /// Takes growth back.
    fn shrink_back(&mut self, old: Writer, error: DatapathError) -> AdminError {
        warn!(%error, "the maps cannot grow");
        self.datapath.cancel_growth();
        self.attach_as_configured();
        self.applier = Applier::spawn(old);
        impossible(error)
    }

    /// Follows what is read of maps and program, after others have taken their place.
    fn reopen(&mut self) -> Result<(), DatapathError> {
        if let Some(old) = self.kernel_log.take() {
            old.abort();
        }
        self.kernel_log = follow_kernel_log(&mut self.datapath);
        self.counters = self.datapath.counters()?;
        self.program_id = self.datapath.program_id()?;
        Ok(())
    }
}

/// What a backend, by service and name, is called in another configuration: it is the same if its service
/// has the same id, and it the same address.
fn names(
    old: &Config,
    old_ids: &Assignment,
    new: &Config,
    new_ids: &Assignment,
) -> BTreeMap<(String, String), (String, String)> {
    let mut now = BTreeMap::new();
    for (service, &id) in new.services.iter().zip(&new_ids.services) {
        for backend in &service.backends {
            let name = (service.name.clone(), backend.name.clone());
            now.insert((id, backend.address), name);
        }
    }
    let mut names = BTreeMap::new();
    for (service, &id) in old.services.iter().zip(&old_ids.services) {
        for backend in &service.backends {
            if let Some(name) = now.get(&(id, backend.address)) {
                names.insert((service.name.clone(), backend.name.clone()), name.clone());
            }
        }
    }
    names
}

/// Services of which no server stays: nobody is proven to take the place of those that go.
fn replaced(old: &Config, new: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for service in &new.services {
        let Some(was) = old.services.iter().find(|was| was.name == service.name) else {
            continue;
        };
        let stays = |backend: &Backend| {
            was.backends
                .iter()
                .any(|old| old.address == backend.address)
        };
        if !service.backends.iter().any(stays) {
            warnings.push(format!(
                "{}: none of its servers stays, and until new ones are found queries are lost; \
                 add the new ones first, and take the old ones out when those are up",
                service.name
            ));
        }
    }
    warnings
}

/// The interfaces of a configuration that there are now.
fn existing(config: &Config) -> Vec<String> {
    let names = config.interfaces.iter();
    let there_are = names.filter(|name| interface_index(name).is_ok());
    there_are.cloned().collect()
}

fn load(file: &std::path::Path) -> Result<Config, AdminError> {
    Config::load(file).map_err(|error: ConfigError| AdminError::BadConfiguration(error.to_string()))
}

fn impossible(error: impl ToString) -> AdminError {
    AdminError::Impossible(error.to_string())
}
