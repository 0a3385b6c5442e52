//! The oracle node: it measures providers, agrees with its peers on verdicts, posts reports and serves what it knows.
//!
//! Decisions are `assay_core`'s; this crate drives them: [`frame`] and [`seeds`] read what an epoch is frozen to, [`measure`] asks
//! and records, [`committee`] runs the agreement over [`store`], [`signer`] and [`peers`], [`settle`] follows the chain, and
//! [`api`] is for readers. [`app`] puts them together.

pub mod api;
pub mod app;
pub mod beacon;
pub mod claim;
pub mod cli;
pub mod clock;
mod closing;
pub mod committee;
pub mod config;
pub mod dispute;
pub mod doppelganger;
pub mod frame;
pub mod identity;
pub mod keeper;
pub mod measure;
pub mod peers;
pub mod rest;
pub mod seeds;
pub mod settle;
pub mod signer;
pub mod store;
pub mod view;
