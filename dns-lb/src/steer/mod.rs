//! From what is wanted and what is known to the maps: who gets which packets.
//!
//! [`plan()`] decides, purely; [`Writer`] applies the difference and is the only one that writes the
//! steering maps.

mod hash_key;
mod ids;
mod maglev;
mod plan;
mod round_robin;
mod table;
mod vip_index;
mod writer;

pub use self::{
    hash_key::{HashKeyError, fingerprint, load_hash_key, load_or_create_hash_key},
    ids::{Assignment, Known, Recorded, assign},
    plan::{Knowledge, Location, Member, Plan, PlannedService, health_from_wire, mapped, plan},
    table::build_table,
    writer::{Applied, Writer},
};
