//! The agent on a provider's machine: stores claimed replicas, answers challenges.
//!
//! `app` composes; `store` keeps: a log of signed claim sets, an index in SQLite that follows it, and for each replica its file, its
//! outboard and its tags. `challenge` and `ingest` are the two gRPC services, `bandwidth` the two streams of the first, `storage` what
//! a storage challenge is answered with. Reading and writing replicas happens on blocking threads only.

pub mod app;
pub mod bandwidth;
pub mod bench;
pub mod challenge;
pub mod check;
pub mod cli;
pub mod config;
pub mod economy;
pub mod error;
pub mod files;
pub mod given;
pub mod index;
pub mod ingest;
pub mod log;
pub mod rebut;
pub mod replica;
pub mod retrieve;
pub mod scrub;
mod status;
pub mod storage;
pub mod store;
pub mod tag_keys;
