//! Assay's pure rules: every decision that oracles, providers, auditors and contracts must agree on.
//!
//! No IO, no clock, no randomness, no async: time and random bytes are arguments, effects are values.
//! The encodings are fixed by `docs/protocol.md` and by the vectors in `tests/vectors/`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod abi;
pub mod amount;
pub mod beacon;
pub mod bls;
pub mod challenge;
pub mod claim;
pub mod compact;
mod curve;
pub mod epoch;
pub mod hash;
pub mod ids;
pub mod merkle;
pub mod observation;
pub mod panel;
pub mod params;
pub mod replica;
pub mod report;
pub mod secp;
pub mod slice;
pub mod spread;
pub mod transcript;
pub mod verdict;
