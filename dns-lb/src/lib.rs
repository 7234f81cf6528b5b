//! dns-lb's agent: configuration, health checks, steering tables, the loaded data plane, status.
//!
//! Decisions are pure functions, tasks move data, and each map has one writer. How the parts hang
//! together is in `docs/architecture.md`.

pub mod admin;
pub mod agent;
pub mod announce;
pub mod api;
pub mod cli;
pub mod config;
pub mod datapath;
pub mod doctor;
mod ethtool;
pub mod explain;
pub mod health;
pub mod import;
pub mod mac;
pub mod neighbor;
pub mod steer;
