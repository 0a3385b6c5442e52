//! What every Assay process shares: config, keystores, telemetry, shutdown.
//!
//! Nothing here knows the protocol: a binary's `main` reads its config, opens its keys, starts its log, and runs one
//! future until the shutdown token is cancelled.

pub mod config;
pub mod grpc;
pub mod health;
pub mod keystore;
pub mod persistence;
pub mod shutdown;
pub mod sqlite;
pub mod telemetry;

mod run;

pub use run::{describe, run_main};
