//! The lab that demo, tests and benchmarks share: hosts made of network and mount namespaces, real
//! DNS servers on them, a load generator, a mail relay on glibc's stub resolver, and the agent.
//!
//! The lab knows dns-lb only from outside, as a binary that the caller names: it must compile
//! before any BPF toolchain exists. It needs root. Nothing in it has a name outside this process:
//! namespaces live as long as the threads in them, and children die with the thread that
//! started them, so that not even `kill -9` of the process leaves anything behind.

pub mod agent;
pub mod backend;
pub mod browser;
pub mod comparison;
pub mod death;
pub mod dns;
pub mod failover;
pub mod ha;
pub mod lab;
pub mod load;
pub mod machine;
pub mod monitoring;
mod mounts;
mod network;
pub mod node;
pub mod process;
pub mod relay;
pub mod scale;
pub mod software;
pub mod stand_in;
pub mod talk;
pub mod terminal;
mod xdp_pass;

pub use agent::Agent;
pub use backend::Backend;
pub use browser::{Browser, Scheme};
pub use death::Death;
pub use failover::{Failover, failover};
pub use lab::{Client, Host, Lab, Segment, Topology};
pub use load::{ClosedLoad, Load, Ports, Report};
pub use node::Node;
pub use process::Process;
pub use relay::Relay;
pub use scale::Scale;
pub use software::Software;
pub use talk::Talks;
pub use terminal::Terminal;
