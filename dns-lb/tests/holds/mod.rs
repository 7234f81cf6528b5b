//! What must hold for anything that the agent reads, a module for each kind. The fuzzer's targets and
//! the tests share them. Each `holds` asserts it, and says whether the octets were taken for what they
//! should be.

pub(crate) mod admin;
pub(crate) mod admin_http;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod link;
pub(crate) mod reply;
pub(crate) mod state_file;
mod through_vip;
mod two_services;
