//! A reward that somebody says is due, and whether the chain says the same.

use alloy_eips::{BlockId, BlockNumberOrTag};
use assay_contracts_bindings::SlaSettlement;
use assay_core::abi::Words;
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::merkle;
use assay_core::report::{Report, StoredDigest};
use serde::Deserialize;

use crate::{BlockTag, ChainError, ClaimKind, Rpc, calls, convert};

/// A leaf under a report's `rewardRoot`, as `/v1/rewards` of an oracle gives it; other fields of it are not read.
#[derive(Clone, Debug, Deserialize)]
pub struct Reward {
    /// Whose `rewardRoot` it stands under.
    pub report: Report,
    /// 0 a provider, 1 an oracle.
    pub kind: u8,
    /// Provider or oracle.
    pub id: u64,
    /// Who is paid.
    pub recipient: Address,
    /// Of all epochs up to the report's, smallest unit.
    #[serde(with = "assay_core::amount")]
    pub cumulative: u128,
    /// The leaf's.
    pub proof: Vec<Hash32>,
}

/// A reward that stands under an accepted report.
#[derive(Clone, Debug)]
pub struct DueReward {
    reward: Reward,
    /// Paid before, smallest unit.
    pub claimed: u128,
}

/// Why a reward is not believed, or not due.
#[derive(Debug, thiserror::Error)]
pub enum RewardError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It is somebody else's.
    #[error("the API gives another account's reward than the one asked for; ask another oracle's API")]
    OtherPayee,
    /// No report like it was accepted.
    #[error("the finalized chain has not accepted this report of epoch {0}: wait until it is final, or ask another oracle's API")]
    NotAccepted(u64),
    /// The leaf is not under the root.
    #[error("the reward does not stand under the report that it comes with; ask another oracle's API")]
    NotUnderRoot,
    /// All of it was paid.
    #[error("all that epoch {epoch} allots is paid already: nothing is left to claim")]
    Paid {
        /// The report's.
        epoch: u64,
    },
}

impl Reward {
    /// Believes nothing but the finalized chain: the report is the accepted one of its epoch, the leaf is under its root, and it was not
    /// all paid before.
    pub async fn check(self, rpc: &Rpc, settlement: &Address, kind: u8, id: u64) -> Result<DueReward, RewardError> {
        if (self.kind, self.id) != (kind, id) {
            return Err(RewardError::OtherPayee);
        }
        let epoch = self.report.epoch;
        let finalized = BlockId::Number(BlockNumberOrTag::Finalized);
        let accepted = rpc.call(settlement, SlaSettlement::acceptedReportCall { epoch }, finalized).await?;
        if !StoredDigest(convert::hash(accepted.digest)).is_of(&self.report.digest()) {
            return Err(RewardError::NotAccepted(epoch));
        }
        let token = rpc.token_of(settlement).await?;
        let words = Words::new().with(&self.kind).with(&self.id).with(&self.recipient).with(&token).with(&self.cumulative);
        if !merkle::verify(&self.report.reward_root, &merkle::leaf(&words), &self.proof) {
            return Err(RewardError::NotUnderRoot);
        }
        let claimed = rpc.claimed_of(settlement, self.claim_kind(), id, BlockTag::Latest).await?;
        match claimed < self.cumulative {
            true => Ok(DueReward { reward: self, claimed }),
            false => Err(RewardError::Paid { epoch }),
        }
    }

    fn claim_kind(&self) -> ClaimKind {
        if self.kind == 0 { ClaimKind::Provider } else { ClaimKind::Oracle }
    }
}

impl DueReward {
    /// Of which report, and who is paid.
    pub fn reward(&self) -> &Reward {
        &self.reward
    }

    /// What a claim pays, smallest unit.
    pub fn due(&self) -> u128 {
        self.reward.cumulative.saturating_sub(self.claimed)
    }

    /// The settlement's `claim`.
    pub fn calldata(&self) -> Vec<u8> {
        let Reward { report, id, recipient, cumulative, proof, .. } = &self.reward;
        calls::claim(report, self.reward.claim_kind(), *id, recipient, *cumulative, proof)
    }
}
