//! The packet contract, row by row, on the loaded program: frame in, action and frame out, and the
//! one counter that moved, through `BPF_PROG_TEST_RUN`.

mod calls;
mod connections;
mod differential;
mod entries;
mod fixture;
mod flip;
mod frames;
mod growth;
mod model;
mod pinned;
mod rows;
mod spread;
mod swap;
