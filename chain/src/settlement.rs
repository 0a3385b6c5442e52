//! What the settlement contract has accepted, paid and slashed.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_sol_types::SolCall;
use assay_contracts_bindings::SlaSettlement;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, ProviderId};
use assay_core::report::{Report, StoredDigest};

use crate::convert::{self, amount};
use crate::{BlockTag, ChainError, Client, Rpc, calls};

/// The values that the contract fixed at its deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementConfig {
    /// The reward token.
    pub token: Address,
    /// The committee's registry.
    pub oracle_registry: Address,
    /// The providers' registry.
    pub provider_registry: Address,
    /// Start of epoch 0, unix seconds.
    pub genesis_s: u64,
    /// Length of an epoch.
    pub epoch_length_s: u64,
    /// How many epoch lengths after its end a report may still be accepted.
    pub valid_epochs: u64,
    /// From acceptance to claims.
    pub reward_window_s: u64,
    /// From acceptance to slashes.
    pub slash_window_s: u64,
    /// The most one report may pay, in the token's smallest unit.
    pub epoch_budget: u128,
    /// The most one slash takes, in millionths of the stake.
    pub slash_cap_ppm: u64,
    /// Hash of the protocol parameters.
    pub params_hash: Hash32,
}

/// The last accepted report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its epoch.
    pub epoch: u64,
    /// Its digest: the next report's parent.
    pub digest: StoredDigest,
}

/// An accepted report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedReport {
    /// Its digest.
    pub digest: StoredDigest,
    /// Block time of its acceptance, unix seconds.
    pub accepted_at_s: u64,
}

/// What became of an epoch's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochState {
    /// It may still come.
    Open,
    /// It was accepted.
    Accepted,
    /// There is none and can be none any more.
    Skipped,
}

/// Who a reward leaf belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// A provider.
    Provider,
    /// An oracle.
    Oracle,
}

impl ClaimKind {
    /// The leaf's `kind` byte.
    pub fn as_u8(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::Oracle => 1,
        }
    }
}

impl Client {
    /// The instance that every statement is bound to.
    pub fn instance(&self) -> Result<Instance, ChainError> {
        Ok(Instance { chain_id: self.config().chain_id, settlement: self.settlement()? })
    }

    /// The contract's immutable config.
    pub async fn settlement_config(&self) -> Result<SettlementConfig, ChainError> {
        let config = self.ask(SlaSettlement::configCall {}, BlockTag::Latest).await?;
        Ok(SettlementConfig {
            token: convert::address(config.token),
            oracle_registry: convert::address(config.oracleRegistry),
            provider_registry: convert::address(config.providerRegistry),
            genesis_s: config.genesis,
            epoch_length_s: config.epochLength,
            valid_epochs: config.validEpochs,
            reward_window_s: config.rewardWindow,
            slash_window_s: config.slashWindow,
            epoch_budget: amount("epochBudget", config.epochBudget)?,
            slash_cap_ppm: u64::try_from(config.slashCapPpm).map_err(|_| ChainError::bad_answer("slashCapPpm", "above 2^64"))?,
            params_hash: convert::hash(config.paramsHash),
        })
    }

    /// The last accepted report as of a block; `None` before the first.
    pub async fn last_accepted(&self, at: impl Into<BlockTag>) -> Result<Option<Accepted>, ChainError> {
        let answer = self.ask(SlaSettlement::lastAcceptedCall {}, at).await?;
        Ok(answer.any.then(|| Accepted { epoch: answer.epoch, digest: StoredDigest(convert::hash(answer.digest)) }))
    }

    /// An epoch's accepted report as of a block; `None` when it has none.
    pub async fn accepted_report(&self, epoch: u64, at: impl Into<BlockTag>) -> Result<Option<AcceptedReport>, ChainError> {
        let answer = self.ask(SlaSettlement::acceptedReportCall { epoch }, at).await?;
        let digest = convert::hash(answer.digest);
        Ok((!digest.is_zero()).then_some(AcceptedReport { digest: StoredDigest(digest), accepted_at_s: answer.acceptedAt }))
    }

    /// What was paid to a provider or an oracle so far, in the token's smallest unit.
    pub async fn claimed(&self, kind: ClaimKind, id: u64, at: impl Into<BlockTag>) -> Result<u128, ChainError> {
        self.rpc().claimed_of(&self.settlement()?, kind, id, at.into()).await
    }

    /// Whether the slash of this provider and epoch was executed.
    pub async fn slash_executed(&self, provider: ProviderId, epoch: u64, at: impl Into<BlockTag>) -> Result<bool, ChainError> {
        self.ask(SlaSettlement::slashExecutedCall { providerId: provider.0, epoch }, at).await
    }

    /// Whether the provider's silence in this epoch was rebutted.
    pub async fn rebutted(&self, provider: ProviderId, epoch: u64, at: impl Into<BlockTag>) -> Result<bool, ChainError> {
        self.ask(SlaSettlement::rebuttedCall { providerId: provider.0, epoch }, at).await
    }

    /// Whether an epoch has a report, or can still get one.
    pub async fn epoch_state(&self, epoch: u64, at: impl Into<BlockTag>) -> Result<EpochState, ChainError> {
        match self.ask(SlaSettlement::isSettledCall { epoch }, at).await? {
            0 => Ok(EpochState::Open),
            1 => Ok(EpochState::Accepted),
            2 => Ok(EpochState::Skipped),
            other => Err(ChainError::bad_answer("isSettled", format!("state {other}"))),
        }
    }

    /// When claims by an accepted report open, unix seconds; `None` while a court holds it. [`ChainError::Refused`] when it was not
    /// accepted, or is void.
    pub async fn matures_at_s(&self, report: &Report, at: impl Into<BlockTag>) -> Result<Option<u64>, ChainError> {
        let answer = self.ask(SlaSettlement::maturesAtCall { report: calls::report_struct(report) }, at).await?;
        Ok(u64::try_from(answer.rewardsAt).ok())
    }

    pub(crate) fn settlement(&self) -> Result<Address, ChainError> {
        self.config().settlement.ok_or(ChainError::NoSettlement)
    }

    async fn ask<C: SolCall>(&self, call: C, at: impl Into<BlockTag>) -> Result<C::Return, ChainError> {
        let settlement = self.settlement()?;
        match at.into() {
            // What money hangs on.
            BlockTag::Finalized => self.rpc().call_final(&settlement, call).await,
            at => self.call(settlement, call, BlockId::Number(BlockNumberOrTag::from(at))).await,
        }
    }
}

impl Rpc {
    /// The token that a settlement pays with.
    pub async fn token_of(&self, settlement: &Address) -> Result<Address, ChainError> {
        let config = self.call(settlement, SlaSettlement::configCall {}, BlockId::latest()).await?;
        Ok(convert::address(config.token))
    }

    /// What a settlement paid to a provider or an oracle so far, in the token's smallest unit.
    pub async fn claimed_of(&self, settlement: &Address, kind: ClaimKind, id: u64, at: BlockTag) -> Result<u128, ChainError> {
        let call = SlaSettlement::claimedCall { kind: kind.as_u8(), id };
        amount("claimed", self.call(settlement, call, BlockId::Number(at.into())).await?)
    }
}
