//! A transaction that a command sends and waits for.

use std::time::Duration;

use alloy_eips::BlockId;
use alloy_primitives::Log;
use alloy_sol_types::SolEvent;
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::secp::SecretKey;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{Draft, SignedTx, TransactionError};
use crate::convert;
use crate::{ChainError, Rpc};

/// How [`send`] behaves.
#[derive(Clone, Debug)]
pub struct SendConfig {
    /// The most that is paid for a unit of gas; above it nothing is sent.
    pub max_fee_per_gas_wei: u128,
    /// Added to the gas estimate, in percent.
    pub gas_margin_percent: u64,
    /// How often the receipt is looked for.
    pub poll_interval: Duration,
    /// How long a receipt is waited for.
    pub receipt_timeout: Duration,
}

impl Default for SendConfig {
    fn default() -> Self {
        Self {
            max_fee_per_gas_wei: 500_000_000_000,
            gas_margin_percent: 25,
            poll_interval: Duration::from_millis(250),
            receipt_timeout: Duration::from_secs(120),
        }
    }
}

/// A transaction in a block, which a reorg may still take away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mined {
    /// Its hash.
    pub tx_hash: Hash32,
    /// Its block.
    pub block_number: u64,
    /// Gas it took.
    pub gas_used: u64,
    pub(crate) logs: Vec<Log>,
}

impl Mined {
    /// Its events of one kind, of one contract.
    pub(crate) fn events<E: SolEvent>(&self, contract: &Address) -> Result<Vec<E>, ChainError> {
        events(&self.logs, contract)
    }
}

/// Those of the logs that are a contract's events of one kind.
pub(crate) fn events<'a, E: SolEvent>(logs: impl IntoIterator<Item = &'a Log>, contract: &Address) -> Result<Vec<E>, ChainError> {
    let contract = convert::to_alloy(contract);
    let of_kind = |log: &&Log| log.address == contract && log.topics().first() == Some(&E::SIGNATURE_HASH);
    let decoded = logs.into_iter().filter(of_kind).map(|log| E::decode_log(log).map(|log| log.data));
    decoded.map(|event| event.map_err(|error| ChainError::bad_answer(E::SIGNATURE, error))).collect()
}

/// Sends one call, which `key` signs and pays for, and waits until it is in a block. Nothing is kept on disk: for commands, whose
/// caller looks at the chain and asks again. Whatever fails before the node took it has cost nothing.
///
/// The nonce is the one after all that the node knows of. Of two that use one key at the same time, the node may refuse one.
pub async fn send(rpc: &Rpc, key: &SecretKey, to: &Address, calldata: &[u8], config: &SendConfig) -> Result<Mined, TransactionError> {
    let sender = key.address();
    let gas_limit = super::gas_limit(rpc, &sender, to, calldata, config.gas_margin_percent).await?;
    send_with_gas(rpc, key, to, calldata, gas_limit, config).await
}

/// As [`send`], with a gas limit that the caller knows to be enough: nothing is estimated.
pub async fn send_with_gas(
    rpc: &Rpc,
    key: &SecretKey,
    to: &Address,
    calldata: &[u8],
    gas_limit: u64,
    config: &SendConfig,
) -> Result<Mined, TransactionError> {
    let sender = key.address();
    let fees = super::current_fees(rpc, config.max_fee_per_gas_wei).await?;
    let nonce = super::count(rpc, &sender, BlockId::pending()).await?;
    let signed = Draft { chain_id: rpc.chain_id(), to, calldata, gas_limit, fees }.sign(nonce, key)?;
    hand_over(rpc, &signed).await?;
    debug!(tx = %signed.hash, nonce, gas_limit, "sent");
    wait(rpc, signed.hash, config).await
}

/// A refusal may come from the second try of a request whose answer was lost: the node then knows the transaction.
async fn hand_over(rpc: &Rpc, signed: &SignedTx) -> Result<(), ChainError> {
    match super::submit(rpc, &signed.raw).await {
        Err(ChainError::Refused { .. }) if super::is_known(rpc, &signed.hash).await? => Ok(()),
        other => other,
    }
}

async fn wait(rpc: &Rpc, tx_hash: Hash32, config: &SendConfig) -> Result<Mined, TransactionError> {
    let deadline = Instant::now() + config.receipt_timeout;
    loop {
        match super::receipt(rpc, &tx_hash).await {
            Ok(Some(receipt)) if receipt.succeeded => {
                return Ok(Mined { tx_hash, block_number: receipt.block, gas_used: receipt.gas_used, logs: receipt.logs });
            }
            Ok(Some(receipt)) => return Err(TransactionError::Reverted { tx_hash, block_number: receipt.block }),
            Ok(None) => {}
            // It is on its way: the caller must learn its hash, whatever the node does now.
            Err(error) => debug!(%error, "no word about the receipt, asking again"),
        }
        if Instant::now() >= deadline {
            return Err(TransactionError::NotMined { tx_hash, waited_s: config.receipt_timeout.as_secs() });
        }
        sleep(config.poll_interval).await;
    }
}
