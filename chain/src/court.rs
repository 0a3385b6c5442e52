//! The court that slashes oracles which signed two statements where one is allowed.

use alloy_eips::{BlockId, BlockNumberOrTag};
use assay_contracts_bindings::EquivocationCourt as Abi;
use assay_core::epoch::Offence;
use assay_core::ids::{Address, OracleId};

use crate::{BlockTag, ChainError, Rpc};

/// `EquivocationCourt`, as a node sees it.
#[derive(Clone)]
pub struct EquivocationCourt {
    rpc: Rpc,
    address: Address,
}

impl EquivocationCourt {
    /// Looks whether there is a contract.
    pub async fn connect(rpc: &Rpc, address: &Address) -> Result<Self, ChainError> {
        rpc.check_code("equivocation court", address).await?;
        Ok(Self { rpc: rpc.clone(), address: *address })
    }

    /// Whether an oracle was punished for an offence of an epoch; never for one that this court does not take.
    pub async fn is_punished(&self, oracle: OracleId, epoch: u64, offence: Offence, at: impl Into<BlockTag>) -> Result<bool, ChainError> {
        let Some(offence) = number(offence) else { return Ok(false) };
        let call = Abi::punishedCall { oracleId: oracle.0, epoch, offence };
        self.rpc.call(&self.address, call, BlockId::Number(BlockNumberOrTag::from(at.into()))).await
    }
}

/// The contract's number of an offence; `None` when it does not take it.
pub(crate) fn number(offence: Offence) -> Option<u8> {
    match offence {
        Offence::TwoReports => Some(1),
        Offence::TwoCommits => Some(2),
        Offence::TwoBitVotes => Some(3),
        Offence::FalseObservation => None,
    }
}
