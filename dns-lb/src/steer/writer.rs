//! The only writer of the steering maps.
//!
//! Everything that packets are steered by exists twice (see [`Bank`]). The writer fills what is not
//! live, then flips one octet. A failure on the way leaves the live half as it was.

mod banks;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use dns_lb_common::{ABI_VERSION, Backend, Bank, Control, Egress, HashKey, NO_BACKEND, VipSlot};
use tracing::{debug, warn};

use self::banks::{Banks, write_differences};
use super::{
    Plan, PlannedService, Recorded, build_table,
    hash_key::derive,
    vip_index::{self, VipIndex},
};
use crate::datapath::{DatapathError, Maps};

/// Holds the maps and a mirror of what they say.
pub struct Writer {
    maps: Maps,
    control: Control,
    /// What each bank of `vips` and of `backends` holds.
    vips: [Vec<VipSlot>; 2],
    backends: [Vec<Backend>; 2],
    /// What the live bank says.
    recorded: Recorded,
    /// Service and address of whom each backend id counts for, also while they have no entry.
    owners: BTreeMap<u16, (u16, [u8; 16])>,
    /// [`Backend::incarnation`] of each of them.
    incarnations: BTreeMap<u16, u32>,
    /// The plan that is live; `None` until this writer has applied one.
    live: Option<Plan>,
    /// Live table and shares by service id.
    tables: BTreeMap<u16, LiveTable>,
    /// Keys of the devmap by interface index.
    egress: BTreeMap<u32, u16>,
    /// Whether packets may still be reading what is not live.
    grace_due: bool,
}

#[derive(Clone, Debug)]
struct LiveTable {
    index: u32,
    /// Part of the table by backend id.
    shares: BTreeMap<u16, f64>,
}

/// What a plan came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// How many times the maps have been switched over since they were made.
    pub generation: u64,
    /// Part of its service's table by backend id, 0 to 1; backends without a slot are absent.
    pub shares: BTreeMap<u16, f64>,
    /// How long it took to build and write, until packets went by it; `None` if it was live already.
    pub took: Option<Duration>,
}

impl Writer {
    /// Takes the maps over, and reads what an earlier agent left in them, or in those whose place
    /// they take: ids and what goes with them stay. The devmap is new with each program: it is given
    /// the interfaces that the live backends refer to.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn new(mut maps: Maps) -> Result<Self, DatapathError> {
        let Banks {
            control,
            vips,
            backends,
            recorded,
        } = Banks::of(&mut maps)?;
        let mut egress = BTreeMap::new();
        for backend in recorded.backends.values().filter(|backend| leaves(backend)) {
            if let Err(error) = maps.set_egress(backend.devmap_key, backend.ifindex) {
                // Most likely gone since the maps were written, which the first plan will know.
                warn!(ifindex = backend.ifindex, %error, "cannot redirect to this interface");
            }
            egress.insert(backend.ifindex, backend.devmap_key);
        }
        Ok(Self {
            maps,
            control,
            vips,
            backends,
            owners: recorded
                .backends
                .iter()
                .map(|(&id, backend)| (id, (backend.service, backend.address)))
                .collect(),
            incarnations: recorded
                .backends
                .iter()
                .map(|(&id, backend)| (id, backend.incarnation))
                .collect(),
            recorded,
            live: None,
            tables: BTreeMap::new(),
            egress,
            grace_due: true,
        })
    }

    /// The writer of the maps that [take the place](crate::datapath::Datapath::grow) of this one's.
    /// It also knows of the backends that have no entry at the moment. The first plan that it
    /// applies is written in full.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn grown(&self, maps: Maps) -> Result<Self, DatapathError> {
        Ok(Self {
            owners: self.owners.clone(),
            incarnations: self.incarnations.clone(),
            ..Self::new(maps)?
        })
    }

    /// What the maps say that packets are steered by.
    #[must_use]
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Makes the maps say what the plan says: all of it at one instant, or, on an error, none of
    /// it. A plan that is live already writes nothing.
    ///
    /// # Errors
    ///
    /// If a map cannot be written, or the VIPs do not fit.
    pub fn apply(&mut self, plan: &Plan, key: &HashKey) -> Result<Applied, DatapathError> {
        let mut took = None;
        if self.live.as_ref() != Some(plan) || self.control.hash_key != *key {
            let begun = Instant::now();
            self.await_readers();
            self.forget_others(&plan.assigned);
            let target = 1 - self.live_bank();
            self.clear_counters(plan)?;
            self.write_egress(plan)?;
            let tables = self.write_tables(plan, key)?;
            self.write_backends(plan, target)?;
            let bank = self.write_vips(plan, &tables, target)?;
            self.switch_to(target, bank, key)?;
            self.recorded = Recorded::read(
                self.maps.capacity(),
                &self.vips[target],
                &self.backends[target],
            );
            self.tables = tables;
            self.live = Some(plan.clone());
            took = Some(begun.elapsed());
        }
        Ok(Applied {
            took,
            generation: self.control.generation,
            shares: self
                .tables
                .values()
                .flat_map(|table| table.shares.clone())
                .collect(),
        })
    }

    /// Forgets whose the ids were that are nobody's any more, so that this does not grow with each
    /// configuration. Who gets such an id counts from zero and inherits no connection.
    fn forget_others(&mut self, assigned: &BTreeSet<u16>) {
        self.owners.retain(|id, _| assigned.contains(id));
        self.incarnations.retain(|id, _| assigned.contains(id));
    }

    /// Waits until no packet can still be reading what the last switch retired. [`Self::apply`] does it if
    /// it has not been done since; whoever has time before spares the next plan the wait.
    ///
    /// A packet is handled in one RCU read-side section, and `MEMBARRIER_CMD_GLOBAL` is a
    /// `synchronize_rcu` (`kernel/sched/membarrier.c`). A kernel that refuses it, as one with
    /// `nohz_full` does, is given far more time than any packet takes.
    pub fn await_readers(&mut self) {
        if !self.grace_due {
            return;
        }
        const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
        // SAFETY: the call takes integers only and touches no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
        if result != 0 {
            debug!(error = %io::Error::last_os_error(), "no membarrier: sleeping instead");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.grace_due = false;
    }

    /// Builds the tables whose members changed, each into the one of its service's two that is not
    /// live.
    fn write_tables(
        &mut self,
        plan: &Plan,
        key: &HashKey,
    ) -> Result<BTreeMap<u16, LiveTable>, DatapathError> {
        let mut tables = BTreeMap::new();
        for service in &plan.services {
            let live = self.tables.get(&service.id);
            if let Some(live) = live.filter(|_| self.same_table(service, key)) {
                tables.insert(service.id, live.clone());
                continue;
            }
            let table = build_table(service.policy, key, &service.members);
            let index = self.spare_table(service);
            self.maps.set_table(index, &table)?;
            let mut slots: BTreeMap<u16, u32> = BTreeMap::new();
            for &id in table.slots.iter().filter(|&&id| id != NO_BACKEND) {
                *slots.entry(id).or_default() += 1;
            }
            let shares = slots
                .into_iter()
                .map(|(id, count)| (id, f64::from(count) / table.slots.len() as f64))
                .collect();
            tables.insert(service.id, LiveTable { index, shares });
        }
        Ok(tables)
    }

    /// Whether the live plan fills this service's table with the same members in the same way.
    fn same_table(&self, service: &PlannedService, key: &HashKey) -> bool {
        let live = self
            .live
            .as_ref()
            .and_then(|plan| plan.services.iter().find(|live| live.id == service.id));
        self.control.hash_key == *key
            && live.is_some_and(|live| {
                live.policy == service.policy && live.members == service.members
            })
    }

    /// The table of this service that no packet reads. A service has the two at `2 (id - 1)`.
    fn spare_table(&self, service: &PlannedService) -> u32 {
        let first = 2 * (u32::from(service.id) - 1);
        if self.recorded.tables.get(&service.id) == Some(&first) {
            first + 1
        } else {
            first
        }
    }

    /// Lets an id that passes to a new service or backend count from zero, and gives the backend an
    /// incarnation that no entry of a connection has: that of the switch which it comes with.
    fn clear_counters(&mut self, plan: &Plan) -> Result<(), DatapathError> {
        for service in &plan.services {
            if self.recorded.service(&service.keys) != Some(service.id) {
                self.maps.clear_service_counters(service.id)?;
            }
            for (id, entry) in &service.backends {
                let owner = (entry.service, entry.address);
                if self.owners.get(id) != Some(&owner) {
                    self.maps.clear_backend_counters(*id)?;
                    self.owners.insert(*id, owner);
                    self.incarnations
                        .insert(*id, self.control.generation as u32 + 1);
                }
            }
        }
        Ok(())
    }

    /// Gives each interface of the plan its place in the devmap. Each is written anew: the kernel
    /// empties the place of an interface that goes away, also if it comes back under its index.
    fn write_egress(&mut self, plan: &Plan) -> Result<(), DatapathError> {
        let entries = plan.services.iter().flat_map(|service| &service.backends);
        let leaving = entries.filter(|(_, entry)| leaves(entry));
        let wanted: BTreeSet<u32> = leaving.map(|(_, entry)| entry.ifindex).collect();
        let live = self
            .recorded
            .backends
            .values()
            .filter(|backend| leaves(backend));
        let live: BTreeSet<u32> = live.map(|backend| backend.ifindex).collect();
        self.egress
            .retain(|ifindex, _| wanted.contains(ifindex) || live.contains(ifindex));
        for ifindex in wanted {
            let key = match self.egress.get(&ifindex) {
                Some(&key) => key,
                None => self.free_egress_key()?,
            };
            self.maps.set_egress(key, ifindex)?;
            self.egress.insert(ifindex, key);
        }
        Ok(())
    }

    /// A key of the devmap that no interface has.
    fn free_egress_key(&self) -> Result<u16, DatapathError> {
        let used: BTreeSet<u16> = self.egress.values().copied().collect();
        (0..self.maps.egress_capacity() as u16)
            .find(|key| !used.contains(key))
            .ok_or(DatapathError::TooManyInterfaces {
                limit: self.maps.egress_capacity(),
            })
    }

    /// Writes the backends of the target bank, after [`Self::write_egress`].
    fn write_backends(&mut self, plan: &Plan, target: usize) -> Result<(), DatapathError> {
        let base = self.backend_base(target);
        let mut wanted = vec![Backend::default(); self.backends[target].len()];
        for (id, entry) in plan.services.iter().flat_map(|service| &service.backends) {
            wanted[usize::from(*id)] = Backend {
                devmap_key: self.egress.get(&entry.ifindex).copied().unwrap_or_default(),
                incarnation: self.incarnations[id],
                ..*entry
            };
        }
        let maps = &mut self.maps;
        write_differences(&mut self.backends[target], &wanted, |place, backend| {
            maps.set_backend(base + place, backend)
        })
    }

    /// Writes the VIPs of the target bank, and says how they are to be read.
    fn write_vips(
        &mut self,
        plan: &Plan,
        tables: &BTreeMap<u16, LiveTable>,
        target: usize,
    ) -> Result<Bank, DatapathError> {
        let slots = vip_index::entries(plan, target, |service| {
            tables.get(&service.id).map_or(0, |table| table.index)
        });
        let size = self.maps.capacity().vip_slots;
        let last_seed = self.control.live_bank().vip_seed;
        let index = VipIndex::build(&slots, size, last_seed).ok_or(DatapathError::VipHash {
            keys: slots.len(),
            slots: size,
        })?;
        let vip_base = target as u32 * size;
        let maps = &mut self.maps;
        write_differences(&mut self.vips[target], &index.slots, |place, slot| {
            maps.set_vip(vip_base + place, slot)
        })?;
        Ok(Bank {
            vip_seed: index.seed,
            vip_base,
            vip_shift: vip_index::shift(size),
            backend_base: self.backend_base(target),
            reserved: 0,
        })
    }

    /// Makes the target bank the live one.
    fn switch_to(&mut self, target: usize, bank: Bank, key: &HashKey) -> Result<(), DatapathError> {
        let mut control = self.control;
        control.banks[target] = bank;
        self.maps.set_control(&control)?;
        // Of what packets read, this second write changes `active` alone, whose one octet cannot
        // tear, and the key where the operator gave another: half of the old and half of the new is
        // a key as good as either.
        control.abi_version = ABI_VERSION;
        control.active = target as u32;
        control.generation += 1;
        control.hash_key = *key;
        control.derived_key = derive(key);
        self.maps.set_control(&control)?;
        self.control = control;
        self.grace_due = true;
        Ok(())
    }

    fn backend_base(&self, bank: usize) -> u32 {
        bank as u32 * self.maps.capacity().backend_stride()
    }

    fn live_bank(&self) -> usize {
        (self.control.active & 1) as usize
    }
}

/// Whether frames to this backend leave the host.
fn leaves(backend: &Backend) -> bool {
    backend.egress == Egress::Forward as u8
}
