//! The whole chain in the lab: real DNS servers, real queries, the agent as its users run it.

mod control;
mod death;
mod deaths;
mod explain;
mod farm;
mod flood;
mod fragments;
mod freeze;
mod growth;
mod import;
mod interfaces;
mod ipv6;
mod jumbo;
mod kernel_log;
mod kernel_word;
mod log_formats;
mod metrics;
mod nobody_left;
mod nothing_lost;
mod path_mtu;
mod refusals;
mod reload;
mod restart;
mod spread;
mod stage;
mod tcp;
