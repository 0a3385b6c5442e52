//! The courts that void a wrong report and slash who signed it.

use std::fmt;

use alloy_eips::BlockId;
use assay_contracts_bindings::{AggregationCourt as Aggregation, SignersCourt as Signers};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId};
use assay_core::report::{Report, VerdictCase};

use crate::convert::{self, amount, to_alloy};
use crate::{BlockTag, ChainError, Rpc, calls};

/// `SignersCourt.SIGNED_WRONG_REPORT`.
const SIGNED_WRONG_REPORT: u8 = 1;

/// What is wrong about a verdict, by the aggregation court.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// It is of another epoch than the report.
    Epoch,
    /// No verified reveals give such a panel.
    Observations,
    /// A figure of a dimension.
    Dimensions,
    /// A fact or silence that nobody of the whole set states.
    Fault,
    /// The grade.
    Outcome,
    /// The multiplier.
    Multiplier,
    /// More than the full reward.
    Reward,
    /// A slash without a fact, or without secure seeds.
    Slash,
}

impl Mismatch {
    /// By the contract's number; `None` for a verdict with which nothing is wrong.
    fn read(number: u8) -> Result<Option<Self>, ChainError> {
        Ok(Some(match number {
            0 => return Ok(None),
            1 => Self::Epoch,
            2 => Self::Observations,
            3 => Self::Dimensions,
            4 => Self::Fault,
            5 => Self::Outcome,
            6 => Self::Multiplier,
            7 => Self::Reward,
            8 => Self::Slash,
            other => return Err(ChainError::bad_answer("mismatchOf", format!("mismatch {other}"))),
        }))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epoch => "it is of another epoch than the report",
            Self::Observations => "its panel has observations that no oracle can have revealed",
            Self::Dimensions => "a figure of a dimension is not what the observations give",
            Self::Fault => "it holds a fault against the provider that no observation states",
            Self::Outcome => "its grade is not what the observations give",
            Self::Multiplier => "its multiplier is not what the observations and the epoch before give",
            Self::Reward => "it pays more than the full reward",
            Self::Slash => "it slashes without a fact, or without secure seeds",
        })
    }
}

/// `AggregationCourt`, as a node sees it.
#[derive(Clone)]
pub struct AggregationCourt {
    rpc: Rpc,
    /// Where it is.
    pub address: Address,
}

impl AggregationCourt {
    /// Looks whether there is a contract.
    pub async fn connect(rpc: &Rpc, address: &Address) -> Result<Self, ChainError> {
        rpc.check_code("aggregation court", address).await?;
        Ok(Self { rpc: rpc.clone(), address: *address })
    }

    /// What the court finds wrong on the newest block; `None` when the verdict stands. [`ChainError::Refused`] for a case that it does not
    /// take: something in it does not hash to what the report names.
    pub async fn mismatch_of(&self, report: &Report, case: &VerdictCase) -> Result<Option<Mismatch>, ChainError> {
        Mismatch::read(self.rpc.call(&self.address, calls::mismatch_of(report, case), BlockId::latest()).await?)
    }

    /// Who proved a report wrong here; `None` when nobody did.
    pub async fn convicted(&self, digest: &Hash32, at: BlockTag) -> Result<Option<Address>, ChainError> {
        let call = Aggregation::convictedCall { reportDigest: digest.0.into() };
        let challenger = convert::address(self.rpc.call(&self.address, call, BlockId::Number(at.into())).await?);
        Ok((challenger != Address::default()).then_some(challenger))
    }
}

/// The review of a convicted report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Review {
    /// Who is paid.
    pub challenger: Address,
    /// When it is over, unix seconds.
    pub until_s: u64,
    /// The owner called it off: nobody is slashed.
    pub cancelled: bool,
}

/// `SignersCourt`, as a node sees it.
#[derive(Clone)]
pub struct SignersCourt {
    rpc: Rpc,
    /// Where it is.
    pub address: Address,
}

impl SignersCourt {
    /// Looks whether there is a contract.
    pub async fn connect(rpc: &Rpc, address: &Address) -> Result<Self, ChainError> {
        rpc.check_code("signers' court", address).await?;
        Ok(Self { rpc: rpc.clone(), address: *address })
    }

    /// A report's review; `None` before it was opened.
    pub async fn review(&self, digest: &Hash32, at: BlockTag) -> Result<Option<Review>, ChainError> {
        let call = Signers::reviewCall { reportDigest: digest.0.into() };
        let found = self.rpc.call(&self.address, call, BlockId::Number(at.into())).await?;
        let challenger = convert::address(found.challenger);
        let review = Review { challenger, until_s: found.until, cancelled: found.cancelled };
        Ok((challenger != Address::default()).then_some(review))
    }

    /// Whether an oracle was slashed for signing a wrong report of an epoch.
    pub async fn is_punished(&self, oracle: OracleId, epoch: u64, at: BlockTag) -> Result<bool, ChainError> {
        let call = Signers::punishedCall { oracleId: oracle.0, epoch, offence: SIGNED_WRONG_REPORT };
        self.rpc.call(&self.address, call, BlockId::Number(at.into())).await
    }

    /// What an account can withdraw, smallest unit.
    pub async fn credit(&self, account: &Address) -> Result<u128, ChainError> {
        let call = Signers::creditCall { account: to_alloy(account) };
        amount("credit", self.rpc.call(&self.address, call, BlockId::latest()).await?)
    }
}
