//! Keeping up with what changes: interfaces, neighbours, and whom the configuration has.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{
    Check, Running,
    reach::{peers, reach},
    start,
};
use crate::{config::XdpMode, datapath::DatapathError, health::Target, neighbor::Neighbors};

impl Running {
    /// Attaches to configured interfaces that have been made anew: a link goes with its interface,
    /// and does not come back with the name.
    pub(super) fn follow_interfaces(&mut self, neighbors: &Neighbors) {
        self.attachments.retain(|attachment| {
            let exists = neighbors.links.contains_key(&attachment.ifindex);
            if !exists {
                warn!(
                    interface = attachment.interface,
                    "gone, and the program with it"
                );
            }
            exists
        });
        let (mut existing, mut bare) = (Vec::new(), false);
        for name in &self.config.interfaces {
            if neighbors.links.values().any(|link| link.name == *name) {
                existing.push(name.clone());
                bare |= !self
                    .attachments
                    .iter()
                    .any(|attached| attached.interface == *name);
            }
        }
        if !bare {
            return;
        }
        match self.attach(&existing, self.config.xdp_mode) {
            Ok(()) => info!(interfaces = ?existing, "steering again"),
            Err(error) => error!(%error, "an interface that came back is not steered"),
        }
    }

    /// Attaches the program to these interfaces and to no other.
    pub(super) fn attach(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
    ) -> Result<(), DatapathError> {
        self.attachments = self.datapath.attach(interfaces, mode)?;
        Ok(())
    }

    /// Probes whom the configuration has now, and nobody else. Who is probed already in the same way
    /// goes on so.
    pub(super) fn follow_configuration(&mut self) {
        self.watcher.watch(start::wanted(&self.config));
        self.peers = self.knowledge.services().map(peers).collect();
        let mut before = std::mem::take(&mut self.checks);
        let vips = start::vips(&self.config);
        let neighbors = self.neighbors.borrow();
        for (index, service) in self.config.services.iter().enumerate() {
            let check = Arc::new(service.health.clone());
            for (place, backend) in service.backends.iter().enumerate() {
                let state = self.knowledge.state(index, place);
                let target = Target {
                    backend: state.key.clone(),
                    address: backend.address,
                    port: service.port,
                    vips: service.vips.clone(),
                    local: backend.local,
                };
                let reach = reach(state, &neighbors, &vips, &self.peers[index]);
                let running = before.remove(&state.key);
                let next = match running {
                    Some(old) if old.target == target && old.check == check => {
                        old.checker.reach(reach);
                        old
                    }
                    _ => Check {
                        checker: self.checkers.spawn(
                            target.clone(),
                            Arc::clone(&check),
                            reach,
                            state.health,
                        ),
                        target,
                        check: Arc::clone(&check),
                    },
                };
                self.checks.insert(state.key.clone(), next);
            }
        }
    }

    /// Tells the checkers where their backends are now.
    pub(super) fn follow_neighbors(&mut self) {
        let vips = start::vips(&self.config);
        let neighbors = self.neighbors.borrow();
        for (states, known) in self.knowledge.services().zip(&mut self.peers) {
            // Those that are the same are found to be so at a glance.
            let peers = peers(states);
            if *known != peers {
                *known = peers;
            }
            for state in states {
                if let Some(check) = self.checks.get(&state.key) {
                    check.checker.reach(reach(state, &neighbors, &vips, known));
                }
            }
        }
    }
}
