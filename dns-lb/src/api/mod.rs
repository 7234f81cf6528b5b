//! What the agent tells the world: the status document, and the HTTP server that gives it out.
//!
//! Read-only. Nothing here knows how the agent works, and nothing here changes anything.

pub mod server;
pub mod status;
mod timestamp;

pub use self::timestamp::Timestamp;
