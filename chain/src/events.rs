//! Events that nodes look back for.

use alloy_primitives::{B256, U256};
use alloy_provider::Provider;
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter};
use alloy_sol_types::SolEvent;
use assay_contracts_bindings::SlaSettlement;
use assay_core::hash::Hash32;

use crate::{ChainError, Client, convert};

/// Where and at which price an epoch's report was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportAccepted {
    /// Digest of the report.
    pub digest: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Its block.
    pub block_number: u64,
    /// Gas that the whole transaction used.
    pub gas_used: u64,
}

impl Client {
    /// The `ReportAccepted` event of an epoch in a final block at or after `from_block`; `None` when there is none.
    pub async fn report_accepted(&self, epoch: u64, from_block: u64) -> Result<Option<ReportAccepted>, ChainError> {
        let filter = Filter::new()
            .address(convert::to_alloy(&self.settlement()?))
            .event_signature(SlaSettlement::ReportAccepted::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(epoch)))
            .from_block(from_block)
            .to_block(BlockNumberOrTag::Finalized);
        let logs = self.provider().get_logs(&filter).await.map_err(|error| self.rpc_error("eth_getLogs", error))?;
        let Some(log) = logs.last() else { return Ok(None) };
        let (Some(tx), Some(block_number), Some(digest)) = (log.transaction_hash, log.block_number, log.topics().get(2)) else {
            return Err(ChainError::bad_answer("ReportAccepted", "a log without transaction, block or digest"));
        };
        let receipt =
            self.provider().get_transaction_receipt(tx).await.map_err(|error| self.rpc_error("eth_getTransactionReceipt", error))?;
        let Some(receipt) = receipt else { return Ok(None) };
        Ok(Some(ReportAccepted { digest: convert::hash(*digest), tx_hash: convert::hash(tx), block_number, gas_used: receipt.gas_used }))
    }
}
