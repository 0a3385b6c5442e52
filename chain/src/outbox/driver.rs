//! The outbox's loop. Every step starts from the table, so that the first step after a crash is a step like any other.

use alloy_eips::BlockId;
use assay_core::hash::Hash32;
use assay_daemon::persistence::{Write, durable};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::row::{Queued, Sent, State};
use super::store::Counts;
use super::{Outbox, OutboxError, attempts, store};
use crate::ChainError;
use crate::transaction::{self, Draft, Fees, Receipt, TransactionError};

/// A transaction in a block.
struct Found {
    tx_hash: Hash32,
    receipt: Receipt,
    cancels: bool,
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
        self.close_gap().await?;
        self.raise_fees().await?;
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
            match self.poll(&row, finalized).await {
                Ok(false) => {}
                Ok(true) => self.changed(),
                // The other rows may be clear.
                Err(OutboxError::Chain(error @ ChainError::Differ { .. })) => {
                    debug!(intent = row.intent, nonce = row.nonce, %error, "whether it is mined is not known yet");
                }
                Err(error) => return Err(error),
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
        let rpc = inner.client.rpc();
        let gas_limit = match transaction::gas_limit(rpc, &inner.sender, &row.to, &row.calldata, inner.config.gas_margin_percent).await {
            Ok(gas_limit) => gas_limit,
            Err(TransactionError::WouldRevert(reason)) => {
                warn!(intent = row.intent, reason, "would revert, not sent");
                return store::revert_queued(&inner.pool, row.id, &reason).await;
            }
            Err(error) => return Err(error.into()),
        };
        let fees = transaction::current_fees(rpc, inner.config.max_fee_per_gas_wei).await?;
        let chain_id = rpc.chain_id();
        let count = async |at| transaction::count(rpc, &inner.sender, at).await;
        let counts = Counts { mined: count(BlockId::latest()).await?, pending: count(BlockId::pending()).await? };
        let sign = |nonce, offered: Option<Fees>| {
            // A pool that still has what was signed for this nonce before takes only a dearer one.
            let fees = offered.map_or(Ok(fees), |offered| offered.raised(fees, inner.config.max_fee_per_gas_wei))?;
            let draft = Draft { chain_id, to: &row.to, calldata: &row.calldata, gas_limit, fees };
            Ok(draft.sign(nonce, &inner.key).map_err(TransactionError::Key)?)
        };
        let stored = store::sign_queued(&inner.pool, row.id, chain_id, &inner.sender, counts, sign);
        let signed = durable(Write::SIGNED, stored).await?;
        if let Some(signed) = signed {
            debug!(intent = signed.intent, nonce = signed.nonce, gas_limit, "signed");
        }
        Ok(())
    }

    /// Whether a node has the transaction now, or had it before.
    async fn send(&self, row: &Sent) -> Result<bool, OutboxError> {
        match transaction::submit(self.0.client.rpc(), &row.raw_tx).await {
            Ok(()) => Ok(true),
            Err(ChainError::Refused { reason, .. }) if already_there(&reason) => Ok(true),
            Err(error) => {
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
        let Some(Found { tx_hash, receipt, cancels }) = self.find(row).await? else {
            return self.poll_missing(row).await;
        };
        let block = receipt.block;
        let failure = match cancels {
            true => Some("cancelled".to_owned()),
            false => (!receipt.succeeded).then(|| format!("reverted in block {block}")),
        };
        let mined = store::mined(&inner.pool, row.id, block, receipt.gas_used, failure.as_deref());
        // Looked at again until the block is final: only the first look writes.
        let mut changed = if row.state == State::Mined { mined.await? } else { durable(Write::MINED, mined).await? };
        if block <= finalized {
            let end = if failure.is_some() { State::Reverted } else { State::Finalized };
            let cost_wei = receipt.gas_price_wei.saturating_mul(receipt.gas_used.into());
            attempts::note_cost(&inner.pool, &tx_hash, cost_wei).await?;
            changed |= durable(Write::FINAL, store::move_state(&inner.pool, row.id, State::Mined, end)).await?;
            info!(intent = row.intent, block, gas_used = receipt.gas_used, state = end.as_str(), "done");
        }
        Ok(changed)
    }

    /// The receipt of the row's transaction, or of one that was signed for it before: any of them may be mined, and that one is the row's own then.
    async fn find(&self, row: &Sent) -> Result<Option<Found>, OutboxError> {
        let rpc = self.0.client.rpc();
        let attempts = attempts::of(&self.0.pool, row.id).await?;
        for attempt in &attempts {
            let of_this_nonce = attempt.nonce == row.nonce;
            if attempt.is_final && !of_this_nonce {
                continue;
            }
            let Some(receipt) = transaction::receipt(rpc, &attempt.tx_hash).await? else { continue };
            // One of another nonce that failed decides nothing: the row's own may still succeed.
            let counts = of_this_nonce || (receipt.succeeded && !attempt.cancels);
            if !counts || (attempt.tx_hash != row.tx_hash && !attempts::adopt(&self.0.pool, row.id, attempt).await?) {
                continue;
            }
            return Ok(Some(Found { tx_hash: attempt.tx_hash, receipt, cancels: attempt.cancels }));
        }
        // A row of an earlier version has no attempts.
        let found = if attempts.is_empty() { transaction::receipt(rpc, &row.tx_hash).await? } else { None };
        Ok(found.map(|receipt| Found { tx_hash: row.tx_hash, receipt, cancels: false }))
    }

    async fn poll_missing(&self, row: &Sent) -> Result<bool, OutboxError> {
        let inner = &*self.0;
        if row.state == State::Mined {
            warn!(intent = row.intent, nonce = row.nonce, "a reorg took its block, sending it again");
            let changed = store::unmined(&inner.pool, row.id).await?;
            self.send(row).await?;
            return Ok(changed);
        }
        let rpc = inner.client.rpc();
        if transaction::count(rpc, &inner.sender, BlockId::finalized()).await? > row.nonce {
            // It may have become final between the two questions: ask once more before giving the nonce up.
            if self.find(row).await?.is_some() {
                return Ok(false);
            }
            warn!(intent = row.intent, nonce = row.nonce, "another transaction took its nonce, signing it anew");
            self.wake();
            return store::requeue_displaced(&inner.pool, row.id).await;
        }
        if row.state == State::Broadcast && !transaction::is_known(rpc, &row.tx_hash).await? {
            debug!(intent = row.intent, nonce = row.nonce, "no node knows it, sending it again");
            self.send(row).await?;
        }
        Ok(false)
    }
}

/// Answers of geth, Reth, Nethermind, Besu and anvil that mean: this very transaction, or its nonce, is already in. The
/// receipt decides which.
fn already_there(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["already known", "already imported", "alreadyknown", "known transaction", "nonce too low"].iter().any(|known| message.contains(known))
}

fn describe(error: &OutboxError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
