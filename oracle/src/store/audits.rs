//! What audits showed of stored objects, over epochs: how long ago each was proven, and how many clean samples stand behind a bound of loss.

use std::collections::BTreeMap;

use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// A plan of so many epochs ago is forgotten.
pub const PLANS_KEPT_EPOCHS: u64 = 8;

/// Samples of one object, or of a whole provider, in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Samples {
    /// When the last clean one was answered, unix ms.
    pub last_proven_ms: Option<u64>,
    /// Clean drawn ones since the epoch's last bad one.
    pub clean: u64,
    /// Invalid or stated missing. When there are any, earlier epochs' clean ones count no more.
    pub bad: u64,
}

/// What one epoch's audits of one provider showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// Who was audited.
    pub provider: ProviderId,
    /// Root of its claim set in the epoch.
    pub root: Hash32,
    /// Of all claims together.
    pub total: Samples,
    /// Of each sampled claim, by its hash.
    pub claims: BTreeMap<Hash32, Samples>,
}

/// A provider's folded record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProviderAge {
    /// The newest epoch in it.
    pub epoch: u64,
    /// Root of the claim set in that epoch.
    pub root: Hash32,
    /// Clean samples are those since the last fault, bad ones all there ever were.
    pub samples: Samples,
}

/// A claim's folded record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimAge {
    /// Hash of the claim.
    pub claim: Hash32,
    /// Clean samples are those since its last fault, bad ones all there ever were.
    pub samples: Samples,
}

/// A claim that is asked for beside the drawn samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Hash of the claim.
    pub claim: Hash32,
    /// Its first block in the provider's claim set.
    pub first_block: u64,
    /// How many blocks it has.
    pub blocks: u64,
}

/// Whose blocks the audits of one provider ask for in one epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The first slot that it serves.
    pub from_slot: u32,
    /// In the order in which they are asked for.
    pub claims: Vec<Planned>,
}

/// The last claim set of a provider that this oracle accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimVersion {
    /// The epoch in which it was registered.
    pub epoch: u64,
    /// Its number at the provider.
    pub sequence: u64,
    /// Its root.
    pub root: Hash32,
}

/// The part of the store that is about audits of storage; it promises what [`super::Store`] does.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Keeps what an epoch's audits showed; it may be folded from `due_ms` on. What is kept or folded already stays as it is.
    async fn put_tallies(&self, epoch: u64, due_ms: u64, tallies: &[Tally]) -> Result<(), StoreError>;
    /// Folds the epochs that are due, in their order, each exactly once; returns how many. Claims that are no longer in their provider's set
    /// are forgotten, and so are the epoch's plans.
    async fn fold_tallies(&self, now_ms: u64) -> Result<usize, StoreError>;
    /// A provider's record; `None` before its first fold.
    async fn provider_age(&self, provider: ProviderId) -> Result<Option<ProviderAge>, StoreError>;
    /// Records of a provider's claims from hash `first` to hash `last`, ascending. Claims that were never sampled have none.
    async fn claim_ages(&self, provider: ProviderId, first: &Hash32, last: &Hash32) -> Result<Vec<ClaimAge>, StoreError>;
    /// How many of a provider's claims were ever proven, and when the one that waits longest was, unix ms.
    async fn oldest_proof(&self, provider: ProviderId) -> Result<(u64, Option<u64>), StoreError>;
    /// Keeps an epoch's plan; the first stays. Plans of more than [`PLANS_KEPT_EPOCHS`] before are forgotten.
    async fn put_plan(&self, epoch: u64, provider: ProviderId, plan: &Plan) -> Result<(), StoreError>;
    /// The plans of a provider that no fold took account of, up to an epoch, ascending.
    async fn plans(&self, provider: ProviderId, up_to: u64) -> Result<Vec<(u64, Plan)>, StoreError>;
    /// Remembers the set that a provider's next one is compared with; one of an earlier epoch does not replace it. Its claims are kept for
    /// as long as it is remembered.
    async fn accept_claims(&self, provider: ProviderId, version: &ClaimVersion) -> Result<(), StoreError>;
    /// The set that was accepted last.
    async fn accepted_claims(&self, provider: ProviderId) -> Result<Option<ClaimVersion>, StoreError>;
}
