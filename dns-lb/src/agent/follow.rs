//! Keeping up with what changes: interfaces, neighbours, and whom the configuration has.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{
    Check, Running,
    reach::{peers, reach},
    start,
};
use crate::{health::Target, neighbor::Neighbors};

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
        match self.datapath.attach(&existing, self.config.xdp_mode) {
            Ok(attachments) => {
                info!(interfaces = ?existing, "steering again");
                self.attachments = attachments;
            }
            Err(error) => error!(%error, "an interface that came back is not steered"),
        }
    }

    /// Probes whom the configuration has now, and nobody else. Who is probed already in the same way
    /// goes on so.
    pub(super) fn follow_configuration(&mut self) {
        self.watcher.watch(start::wanted(&self.config));
        self.peers.clear();
        let mut before = std::mem::take(&mut self.checks);
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
                let running = before.remove(&state.key);
                let running = running.filter(|old| old.target == target && old.check == check);
                let next = running.unwrap_or_else(|| Check {
                    checker: self
                        .checkers
                        .spawn(target.clone(), Arc::clone(&check), state.health),
                    target,
                    check: Arc::clone(&check),
                });
                self.checks.insert(state.key.clone(), next);
            }
        }
        self.follow_neighbors();
    }

    /// Tells the checkers where their backends are now.
    pub(super) fn follow_neighbors(&mut self) {
        let vips = start::vips(&self.config);
        let neighbors = self.neighbors.borrow();
        for (index, states) in self.knowledge.services().enumerate() {
            let mut peers = peers(states);
            // One that is the same is found to be so at a glance.
            match self.peers.get(index) {
                Some(known) if *known == peers => peers = Arc::clone(known),
                Some(_) => self.peers[index] = Arc::clone(&peers),
                None => self.peers.push(Arc::clone(&peers)),
            }
            for state in states {
                if let Some(check) = self.checks.get(&state.key) {
                    check.checker.reach(reach(state, &neighbors, &vips, &peers));
                }
            }
        }
    }
}
