//! What the agent tells the world, and what it is told: the status document, the HTTP server that gives
//! it out, also as a page, as metrics and as a yes or no, and the Unix socket that takes commands.
//!
//! Nothing here knows how the agent works. The HTTP server is read-only; what is to change goes to
//! the agent over a channel, and only from the socket.

pub mod admin;
mod connections;
mod durations;
pub mod history;
mod metrics;
mod page;
mod readiness;
mod rebinding;
pub mod server;
pub mod status;
#[cfg(test)]
mod testing;
mod timestamp;

pub use self::timestamp::Timestamp;
