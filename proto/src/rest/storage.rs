//! What one oracle's own audits show of a provider's stored objects.

use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use serde::{Deserialize, Serialize};

/// A page of `/v1/providers/{id}/storage`: one oracle's own view, over the epochs that are revealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageDocument {
    /// Whom it is about.
    pub provider: ProviderId,
    /// Whose view it is; none before the node is registered.
    pub oracle: Option<OracleId>,
    /// The newest epoch in it; none before this oracle's first audits of the provider are revealed.
    pub epoch: Option<u64>,
    /// Root of the claim set that the objects are of; none together with `epoch`.
    pub claim_root: Option<Hash32>,
    /// Clean drawn samples since the last fault.
    pub clean_samples: u64,
    /// The share of the claimed blocks that can be lost, with 95 % confidence, ppm; none without clean samples.
    pub loss_upper_bound_ppm: Option<u64>,
    /// When a sample was last clean, unix ms.
    pub last_proven_at_ms: Option<u64>,
    /// How long ago the longest unproven of the objects was proven, ms; none when one never was, or when there is none.
    pub oldest_age_ms: Option<u64>,
    /// Objects that were never proven.
    pub never_proven: u64,
    /// Objects in the whole set.
    pub count: u64,
    /// This page's, in the order of the claim set.
    pub objects: Vec<StoredObject>,
    /// `after` of the next page; none behind the last.
    pub next: Option<u64>,
}

/// One claimed replica of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredObject {
    /// Hash of the claim.
    pub claim: Hash32,
    /// BLAKE3 of the object's plain bytes.
    pub object_id: Hash32,
    /// Which of the owner's replicas it is.
    pub replica_index: u64,
    /// Its blocks.
    pub blocks: u64,
    /// The key of its tags, zero without tags.
    pub tag_key_id: Hash32,
    /// When a sample of it was last clean, drawn or asked for beside the draws, unix ms; none for never.
    pub last_proven_at_ms: Option<u64>,
    /// Clean drawn samples of it since its last fault.
    pub clean_samples: u64,
    /// The share of its blocks that can be lost, with 95 % confidence, ppm; none without clean samples.
    pub loss_upper_bound_ppm: Option<u64>,
}

/// The rule of three: behind `clean` uniform samples without a fault stands, with 95 % confidence, a loss of at most 3 / `clean`. In ppm,
/// rounded up, at most all; `None` without samples.
pub fn loss_upper_bound_ppm(clean: u64) -> Option<u64> {
    (clean > 0).then(|| 3_000_000_u64.div_ceil(clean.max(1)).min(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_rule_of_three() {
        let bounds = [0, 1, 3, 4, 30, 7_000_000, u64::MAX].map(loss_upper_bound_ppm);
        assert_eq!(bounds, [None, Some(1_000_000), Some(1_000_000), Some(750_000), Some(100_000), Some(1), Some(1)]);
    }
}
