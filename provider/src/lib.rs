//! The agent on a provider's machine: stores claimed replicas, answers challenges.
//!
//! `app` composes; `store` keeps (an index in SQLite, one file per replica and one per outboard); `challenge` and `ingest` are the two
//! gRPC services, `bandwidth` the two streams of the first. Reading and writing replicas happens on blocking threads only.

pub mod app;
pub mod bandwidth;
pub mod challenge;
pub mod cli;
pub mod config;
pub mod error;
pub mod files;
pub mod given;
pub mod index;
pub mod ingest;
pub mod rebut;
pub mod store;
