//! What operators have set at runtime: admin states and weights of backends, by name.
//!
//! The [`Ledger`] says who has set what, and why; [`apply`] decides on a [`Change`], all of it or
//! nothing; [`Store`] keeps the ledger over a restart. Knows the names of the configuration, but no
//! probes, no maps and no sockets.

mod change;
mod ledger;
mod refusal;
mod selection;
mod store;
mod words;

pub use self::{
    change::{Action, Change, Changed, apply},
    ledger::{Admin, Entry, Ledger, Removed},
    refusal::{Names, Refusal},
    selection::{InvalidSelection, Selection},
    store::{NotALedger, Store, StoreError},
    words::{InvalidReason, InvalidWeight, Reason, Weight},
};
