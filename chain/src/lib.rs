//! Assay's EVM client: blocks, registry and settlement reading, single transactions, and the transaction outbox.
//!
//! Core types come out, alloy's stay in. Every request is bounded in time, every answer in size; transport failures are
//! tried again a few times, with another endpoint if there is one; answers never are.

mod advice;
mod agreement;
mod client;
mod convert;
mod conviction;
mod court;
mod endpoint;
mod error;
mod events;
mod rebuttals;
mod registry;
mod reward;
mod rpc;
mod settlement;
mod transport;
mod urls;

pub mod calls;
pub mod command;
pub mod keeper;
pub mod market;
pub mod outbox;
pub mod tokens;
pub mod transaction;

pub use client::{BlockRef, BlockTag, ChainConfig, Client};
pub use conviction::{AggregationCourt, Mismatch, Review, SignersCourt};
pub use court::EquivocationCourt;
pub use error::ChainError;
pub use events::{Acceptance, ReportAccepted, SubmittedReport};
pub use rebuttals::{LateAnswer, Rebuttal, Rebuttals};
pub use registry::{Member, ProviderRecord, RegistryView};
pub use reward::{DueReward, Reward, RewardError};
pub use rpc::Rpc;
pub use settlement::{Accepted, AcceptedReport, ClaimKind, EpochState, SettlementConfig};
pub use urls::RpcUrls;
