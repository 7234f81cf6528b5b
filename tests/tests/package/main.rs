//! What is delivered: the unit, and the Debian package, installed into a root of its own.

mod clean_root;
mod deb;
mod unit;
