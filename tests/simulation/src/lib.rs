//! The committee protocol in one process: the production state machine, encoders and verification against every fault and liar that a
//! seed can think of, on virtual time. Separate checkers hold the invariants of `docs/SIMULATION.md`.
//!
//! Everything that happens follows from the seed: no clock, no other chance, no order of a hash map.

mod adversary;
mod chain;
mod checkers;
mod coverage;
mod disk;
mod env;
mod faults;
mod measure;
mod memo;
mod net;
mod node;
mod prng;
mod run;
mod settle;
mod world;

pub use adversary::Adversary;
pub use checkers::Violation;
pub use coverage::{Branch, Coverage};
pub use faults::Fault;
pub use run::{Config, Liars, Strike, Summary, Total, run, run_all, watch_all};
