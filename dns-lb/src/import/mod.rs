//! From another balancer's configuration to one of ours.
//!
//! What is read is translated, and whatever does not mean quite the same afterwards is said in a
//! comment beside it: nothing is skipped silently. What is not understood is a [`Problem`] with its
//! line, and then there is no translation at all. Apart from the files that a configuration includes
//! nothing here touches the system.

pub mod keepalived;
mod model;
mod problem;
mod remark;
mod write;

pub use self::problem::{Place, Problem, Problems};
