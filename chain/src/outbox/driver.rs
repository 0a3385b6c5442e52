//! The outbox's loop. Every step starts from the table, so that the first step after a crash is a step like any other.

use alloy_eips::BlockId;
use alloy_json_rpc::{ErrorPayload, RpcError};
use alloy_primitives::{B256, Bytes};
use alloy_provider::Provider;
use alloy_rpc_types_eth::TransactionRequest;
use assay_daemon::persistence::{Write, durable};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::row::{Queued, Sent, State};
use super::sign::Draft;
use super::{Outbox, OutboxError, fees, store};
use crate::{ChainError, convert};

/// What became of a gas estimate.
enum Estimate {
    Gas(u64),
    Reverts(String),
}

impl Outbox {
    /// Works until the token is cancelled. Trouble with the chain or the database is logged and tried again after the
    /// poll interval; while nothing is unfinished, the loop sleeps until [`Outbox::wake`].
    pub async fn run(&self, token: CancellationToken) {
        loop {
            let idle = match self.step().await {
                Ok(unfinished) => !unfinished,
                Err(error) => {
                    warn!(error = %describe(&error), "the outbox could not work, trying again");
                    false
                }
            };
            tokio::select! {
                () = token.cancelled() => return,
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(self.0.config.poll_interval), if !idle => {}
            }
        }
    }

    /// Does all that can be done now: sends what is signed, signs and sends what is queued, looks for receipts. Returns
    /// whether a row is still unfinished.
    pub async fn step(&self) -> Result<bool, OutboxError> {
        self.send_signed().await?;
        // One by one: an intent may build on the one before it, which the estimate sees only once it is sent.
        let mut after = 0;
        while let Some(id) = self.sign_next(after).await? {
            after = id;
            self.send_signed().await?;
        }
        self.poll_receipts().await?;
        store::unfinished(&self.0.pool).await
    }

    /// Signs every queued row in order, without sending. Part of [`Outbox::step`].
    pub async fn sign_queued(&self) -> Result<(), OutboxError> {
        let mut after = 0;
        while let Some(id) = self.sign_next(after).await? {
            after = id;
        }
        Ok(())
    }

    /// Sends every signed row. Part of [`Outbox::step`].
    pub async fn send_signed(&self) -> Result<(), OutboxError> {
        for row in store::in_flight(&self.0.pool).await? {
            if row.state == State::Signed && self.send(&row).await? {
                durable(Write::BROADCAST, store::move_state(&self.0.pool, row.id, State::Signed, State::Broadcast)).await?;
                self.changed();
                info!(intent = row.intent, nonce = row.nonce, tx = %row.tx_hash, "sent");
            }
        }
        Ok(())
    }

    /// Looks for the receipt of every sent row; sends again what no node knows. Part of [`Outbox::step`].
    pub async fn poll_receipts(&self) -> Result<(), OutboxError> {
        let rows = store::in_flight(&self.0.pool).await?;
        if rows.is_empty() {
            return Ok(());
        }
        // Asked before the receipts: a receipt seen later in a block up to this height is final.
        let finalized = self.0.client.finalized().await?.number;
        for row in rows {
            if self.poll(&row, finalized).await? {
                self.changed();
            }
        }
        Ok(())
    }

    /// Signs the oldest queued row after `after` and returns its id. Trouble with it is noted and passed over.
    async fn sign_next(&self, after: i64) -> Result<Option<i64>, OutboxError> {
        let Some(row) = store::next_queued(&self.0.pool, after).await? else { return Ok(None) };
        match self.sign(&row).await {
            Ok(()) => self.changed(),
            Err(OutboxError::Database(error)) => return Err(error.into()),
            Err(error) => {
                warn!(intent = row.intent, error = %describe(&error), "not signed yet");
                store::note_error(&self.0.pool, row.id, &describe(&error)).await?;
            }
        }
        Ok(Some(row.id))
    }

    async fn sign(&self, row: &Queued) -> Result<(), OutboxError> {
        let inner = &*self.0;
        let gas = match self.estimate(row).await? {
            Estimate::Gas(gas) => gas,
            Estimate::Reverts(reason) => {
                warn!(intent = row.intent, reason, "would revert, not sent");
                return store::revert_queued(&inner.pool, row.id, &reason).await;
            }
        };
        let margin = u128::from(gas) * u128::from(inner.config.gas_margin_percent) / 100;
        let gas_limit = gas.saturating_add(u64::try_from(margin).unwrap_or(u64::MAX));
        let fees = fees::current(&inner.client, inner.config.max_fee_per_gas_wei).await?;
        let chain_id = inner.client.config().chain_id;
        let count = self.transaction_count(BlockId::pending()).await?;
        let draft = Draft { chain_id, row, gas_limit, fees };
        let stored = store::sign_queued(&inner.pool, row.id, chain_id, &inner.sender, count, |nonce| draft.sign(nonce, &inner.key));
        let signed = durable(Write::SIGNED, stored).await?;
        if let Some(signed) = signed {
            debug!(intent = signed.intent, nonce = signed.nonce, gas_limit, ?fees, "signed");
        }
        Ok(())
    }

    async fn estimate(&self, row: &Queued) -> Result<Estimate, OutboxError> {
        let request = TransactionRequest::default()
            .from(convert::to_alloy(&self.0.sender))
            .to(convert::to_alloy(&row.to))
            .input(row.calldata.clone().into());
        match self.0.client.provider().estimate_gas(request).await {
            Ok(gas) => Ok(Estimate::Gas(gas)),
            Err(RpcError::ErrorResp(payload)) if reverts(&payload) => Ok(Estimate::Reverts(revert_reason(&payload))),
            Err(error) => Err(self.0.client.rpc_error("eth_estimateGas", error).into()),
        }
    }

    /// Whether a node has the transaction now, or had it before.
    async fn send(&self, row: &Sent) -> Result<bool, OutboxError> {
        let sent: Result<B256, _> =
            self.0.client.provider().client().request("eth_sendRawTransaction", (Bytes::from(row.raw_tx.clone()),)).await;
        match sent {
            Ok(_) => Ok(true),
            Err(RpcError::ErrorResp(payload)) if already_there(&payload.message) => Ok(true),
            Err(error) => {
                let error = self.0.client.rpc_error("eth_sendRawTransaction", error);
                warn!(intent = row.intent, nonce = row.nonce, %error, "not sent yet");
                store::note_error(&self.0.pool, row.id, &error.to_string()).await?;
                match error {
                    // The node judged this one transaction; the others may pass.
                    ChainError::Refused { .. } => Ok(false),
                    error => Err(error.into()),
                }
            }
        }
    }

    /// Returns whether the row changed.
    async fn poll(&self, row: &Sent, finalized: u64) -> Result<bool, OutboxError> {
        let inner = &*self.0;
        let provider = inner.client.provider();
        let receipt = provider
            .get_transaction_receipt(row.tx_hash.0.into())
            .await
            .map_err(|error| inner.client.rpc_error("eth_getTransactionReceipt", error))?;
        let Some((receipt, block)) = receipt.and_then(|receipt| receipt.block_number.map(|block| (receipt, block))) else {
            return self.poll_missing(row).await;
        };
        let failure = (!receipt.status()).then(|| format!("reverted in block {block}"));
        let mined = store::mined(&inner.pool, row.id, block, receipt.gas_used, failure.as_deref());
        // Looked at again until the block is final: only the first look writes.
        let mut changed = if row.state == State::Mined { mined.await? } else { durable(Write::MINED, mined).await? };
        if block <= finalized {
            let end = if failure.is_some() { State::Reverted } else { State::Finalized };
            changed |= durable(Write::FINAL, store::move_state(&inner.pool, row.id, State::Mined, end)).await?;
            info!(intent = row.intent, block, gas_used = receipt.gas_used, state = end.as_str(), "done");
        }
        Ok(changed)
    }

    async fn poll_missing(&self, row: &Sent) -> Result<bool, OutboxError> {
        let inner = &*self.0;
        if row.state == State::Mined {
            warn!(intent = row.intent, nonce = row.nonce, "a reorg took its block, sending it again");
            let changed = store::unmined(&inner.pool, row.id).await?;
            self.send(row).await?;
            return Ok(changed);
        }
        if self.transaction_count(BlockId::finalized()).await? > row.nonce {
            // It may have become final between the two questions: ask once more before giving the nonce up.
            let receipt = inner
                .client
                .provider()
                .get_transaction_receipt(row.tx_hash.0.into())
                .await
                .map_err(|error| inner.client.rpc_error("eth_getTransactionReceipt", error))?;
            if receipt.is_some() {
                return Ok(false);
            }
            warn!(intent = row.intent, nonce = row.nonce, "another transaction took its nonce, signing it anew");
            self.wake();
            return store::requeue_displaced(&inner.pool, row.id).await;
        }
        let known = inner
            .client
            .provider()
            .get_transaction_by_hash(row.tx_hash.0.into())
            .await
            .map_err(|error| inner.client.rpc_error("eth_getTransactionByHash", error))?;
        if known.is_none() && row.state == State::Broadcast {
            debug!(intent = row.intent, nonce = row.nonce, "no node knows it, sending it again");
            self.send(row).await?;
        }
        Ok(false)
    }

    async fn transaction_count(&self, at: BlockId) -> Result<u64, OutboxError> {
        let sender = convert::to_alloy(&self.0.sender);
        let client = &self.0.client;
        let count = client.provider().get_transaction_count(sender).block_id(at).await;
        Ok(count.map_err(|error| client.rpc_error("eth_getTransactionCount", error))?)
    }
}

/// Answers of geth, Reth, Nethermind, Besu and anvil that mean: this very transaction, or its nonce, is already in. The
/// receipt decides which.
fn already_there(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["already known", "already imported", "alreadyknown", "known transaction", "nonce too low"].iter().any(|known| message.contains(known))
}

fn reverts(payload: &ErrorPayload) -> bool {
    payload.code == 3 || payload.message.to_ascii_lowercase().contains("revert")
}

/// The contract's own error when the bindings know it, else the node's message.
fn revert_reason(payload: &ErrorPayload) -> String {
    let decoded = payload.as_revert_data().and_then(|data| crate::convert::decode_revert(&data));
    decoded.unwrap_or_else(|| payload.message.to_string())
}

fn describe(error: &OutboxError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
