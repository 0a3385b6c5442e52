//! One transaction: estimated, priced, signed, sent, and waited for.
//!
//! [`send`] is for commands that a person runs. What a node owes the chain goes through [`crate::outbox`], which survives a
//! crash and a reorg; both sign and price alike.

mod fees;
mod send;
mod sign;

use alloy_eips::BlockId;
use alloy_json_rpc::{ErrorPayload, RpcError};
use alloy_primitives::{B256, Bytes, Log};
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_types_eth::{TransactionReceipt, TransactionRequest};
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::secp;

use crate::{ChainError, Rpc, convert};

pub(crate) use fees::{Fees, current as current_fees};
pub(crate) use send::events;
pub use send::{Mined, SendConfig, send, send_with_gas};
pub(crate) use sign::{Draft, SignedTx};

/// Why a call did not become a mined transaction.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The chain failed before anything was sent.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The key cannot sign.
    #[error("the sender's key cannot sign")]
    Key(#[from] secp::SecpError),
    /// Gas is dearer than the cap.
    #[error("gas costs {needed_wei} wei a unit, the cap is {cap_wei}; raise max_fee_per_gas_wei or wait")]
    TooDear {
        /// What is needed now.
        needed_wei: u128,
        /// The config's cap.
        cap_wei: u128,
    },
    /// The estimate reverted, so nothing was sent and nothing was paid. Holds the contract's own error.
    #[error("the contract refuses the call: {0}; nothing was sent")]
    WouldRevert(String),
    /// It was mined and reverted: the chain changed between the estimate and its block.
    #[error("transaction {tx_hash} reverted in block {block_number}; look at what changed on the chain, then try again")]
    Reverted {
        /// Its hash.
        tx_hash: Hash32,
        /// Its block.
        block_number: u64,
    },
    /// It was sent and may still be mined.
    #[error("transaction {tx_hash} was sent and has no receipt after {waited_s} s; look for it before you send again")]
    NotMined {
        /// Its hash.
        tx_hash: Hash32,
        /// How long was waited, seconds.
        waited_s: u64,
    },
}

/// The gas that a call takes now, with `margin_percent` added; [`TransactionError::WouldRevert`] when it would revert.
pub(crate) async fn gas_limit(
    rpc: &Rpc,
    sender: &Address,
    to: &Address,
    calldata: &[u8],
    margin_percent: u64,
) -> Result<u64, TransactionError> {
    let request = TransactionRequest::default()
        .from(convert::to_alloy(sender))
        .to(convert::to_alloy(to))
        .input(Bytes::copy_from_slice(calldata).into());
    let gas = match rpc.provider().estimate_gas(request).await {
        Ok(gas) => gas,
        Err(RpcError::ErrorResp(payload)) if reverts(&payload) => {
            return Err(TransactionError::WouldRevert(convert::refusal(&payload)));
        }
        Err(error) => return Err(rpc.error("eth_estimateGas", error).into()),
    };
    let margin = u128::from(gas) * u128::from(margin_percent) / 100;
    Ok(gas.saturating_add(u64::try_from(margin).unwrap_or(u64::MAX)))
}

/// How many transactions of a sender the chain counts as of a block. A count that is too low costs a refused transaction, one that is
/// too high leaves a gap that nothing behind it passes: more than half of the endpoints must reach it.
pub(crate) async fn count(rpc: &Rpc, sender: &Address, at: BlockId) -> Result<u64, ChainError> {
    let sender = convert::to_alloy(sender);
    rpc.vouched("eth_getTransactionCount", |provider| async move { provider.get_transaction_count(sender).block_id(at).await }).await
}

/// What a sender has, wei.
pub(crate) async fn balance(rpc: &Rpc, sender: &Address) -> Result<u128, ChainError> {
    let balance = rpc.provider().get_balance(convert::to_alloy(sender)).await;
    Ok(balance.map_err(|error| rpc.error("eth_getBalance", error))?.saturating_to())
}

/// Hands a signed transaction over, to every endpoint: one of them may take it and pass it to nobody.
pub(crate) async fn submit(rpc: &Rpc, raw: &[u8]) -> Result<(), ChainError> {
    let raw = Bytes::copy_from_slice(raw);
    rpc.tell_all("eth_sendRawTransaction", |provider| {
        let raw = raw.clone();
        async move { provider.client().request::<_, B256>("eth_sendRawTransaction", (raw,)).await }
    })
    .await
}

/// Whether the node knows a transaction, mined or not.
pub(crate) async fn is_known(rpc: &Rpc, tx_hash: &Hash32) -> Result<bool, ChainError> {
    let known = rpc.provider().get_transaction_by_hash(tx_hash.0.into()).await;
    Ok(known.map_err(|error| rpc.error("eth_getTransactionByHash", error))?.is_some())
}

/// What became of a transaction that is in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub block: u64,
    pub block_hash: Option<B256>,
    pub succeeded: bool,
    pub gas_used: u64,
    pub gas_price_wei: u128,
    pub logs: Vec<Log>,
}

/// A transaction's receipt; `None` while it is in no block. More than half of the endpoints must say so.
pub(crate) async fn receipt(rpc: &Rpc, tx_hash: &Hash32) -> Result<Option<Receipt>, ChainError> {
    let tx_hash = B256::from(tx_hash.0);
    let ask = |provider: RootProvider| async move { Ok(provider.get_transaction_receipt(tx_hash).await?.and_then(in_block)) };
    rpc.agreed("eth_getTransactionReceipt", ask).await
}

fn in_block(receipt: TransactionReceipt) -> Option<Receipt> {
    Some(Receipt {
        block: receipt.block_number?,
        block_hash: receipt.block_hash,
        succeeded: receipt.status(),
        gas_used: receipt.gas_used,
        gas_price_wei: receipt.effective_gas_price,
        // What a node adds to a log (the block's time, an index) is not the same at all nodes.
        logs: receipt.logs().iter().map(|log| log.inner.clone()).collect(),
    })
}

fn reverts(payload: &ErrorPayload) -> bool {
    payload.code == 3 || payload.message.to_ascii_lowercase().contains("revert")
}
