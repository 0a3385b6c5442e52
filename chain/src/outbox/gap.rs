//! Nonces that nobody used. A node that once counted too many transactions lets us sign behind a gap that nothing will ever fill; one that once
//! called a block final, which was not, lets us forget a transaction that the others wait for.
//!
//! The intents behind a gap are signed anew, and their old transactions may still lie in somebody's pool: once the chain has caught up with
//! their nonces, they can be mined as well. So an intent may be sent only if its second execution moves nothing. All of ours are: a second report
//! or slash of an epoch, a claim of what was claimed and the refund of a settled booking revert, and settling bookings passes over settled ones.
//! Moreover, whatever gets such a nonce next outbids what was signed for it before ([`super::attempts::offered`]).

use std::time::Instant;

use alloy_eips::BlockId;
use sqlx::SqlitePool;
use tracing::warn;

use super::row::State;
use super::{Outbox, OutboxError, store};
use crate::transaction;

/// A gap as it was seen: the chain counts fewer transactions than the lowest nonce that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    counted: u64,
    lowest: u64,
    since: Instant,
}

impl Gap {
    fn is_same_as(&self, other: &Self) -> bool {
        (self.counted, self.lowest) == (other.counted, other.lowest)
    }
}

impl Outbox {
    /// Closes a gap below what waits, once two polls have seen the same: what counts as done and is not on the chain is sent again; if there is
    /// no such transaction, everything that waits gets new nonces. Part of [`Outbox::step`].
    pub async fn close_gap(&self) -> Result<(), OutboxError> {
        let inner = &*self.0;
        let seen = self.gap().await?;
        let before = *inner.gap.borrow();
        let confirmed = match (&seen, &before) {
            (Some(now), Some(first)) if now.is_same_as(first) => first.since.elapsed() >= inner.config.poll_interval,
            _ => {
                inner.gap.send_replace(seen);
                return Ok(());
            }
        };
        let Some(Gap { counted, lowest, .. }) = seen.filter(|_| confirmed) else { return Ok(()) };
        inner.gap.send_replace(None);
        let reopened = reopen(&inner.pool, inner.client.config().chain_id, self, counted..lowest).await?;
        if reopened > 0 {
            warn!(counted, lowest, reopened, "transactions that were done are not on the chain, sending them again");
        } else {
            let requeued = requeue(&inner.pool, lowest).await?;
            warn!(counted, lowest, requeued, "nobody used the nonces between, signing anew all that waits");
        }
        self.changed();
        self.wake();
        Ok(())
    }

    /// The gap that the chain shows now. None while a transaction of ours may still be on its way into a block or out of one: latest and final
    /// block must agree.
    async fn gap(&self) -> Result<Option<Gap>, OutboxError> {
        let inner = &*self.0;
        let rows = store::in_flight(&inner.pool).await?;
        let Some(lowest) = rows.iter().find(|row| row.state != State::Mined).map(|row| row.nonce) else { return Ok(None) };
        let count = async |at| transaction::count(inner.client.rpc(), &inner.sender, at).await;
        let counted = count(BlockId::latest()).await?;
        // What is mined or waits in the pool, by whomever, fills the nonces before ours.
        let mined_by_us = rows.iter().filter(|row| row.state == State::Mined).any(|row| row.nonce >= counted);
        let is_gap =
            counted < lowest && !mined_by_us && count(BlockId::pending()).await? < lowest && count(BlockId::finalized()).await? == counted;
        Ok(is_gap.then(|| Gap { counted, lowest, since: Instant::now() }))
    }
}

/// Brings back what is done and has one of these nonces, with the very same bytes; returns how many rows.
async fn reopen(pool: &SqlitePool, chain_id: u64, outbox: &Outbox, nonces: std::ops::Range<u64>) -> Result<u64, OutboxError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let rows: Vec<(i64,)> = sqlx::query_as(
        "UPDATE outbox SET state = 'broadcast', block_number = NULL, gas_used = NULL, error = 'it left the chain again', updated_s = ?
         WHERE chain_id = ? AND sender = ? AND state IN ('finalized', 'reverted') AND nonce >= ? AND nonce < ? RETURNING id",
    )
    .bind(store::now_s())
    .bind(chain_id as i64)
    .bind(&outbox.sender().0[..])
    .bind(nonces.start as i64)
    .bind(nonces.end as i64)
    .fetch_all(&mut *tx)
    .await?;
    for (id,) in &rows {
        sqlx::query("UPDATE outbox_attempts SET cost_gwei = NULL WHERE outbox_id = ?").bind(id).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(rows.len() as u64)
}

/// Takes the nonces of all that wait, from `lowest` on; returns how many rows.
async fn requeue(pool: &SqlitePool, lowest: u64) -> Result<u64, OutboxError> {
    let done = sqlx::query(
        "UPDATE outbox SET state = 'queued', nonce = NULL, raw_tx = NULL, tx_hash = NULL,
                error = 'nobody used the nonces before it', updated_s = ?
         WHERE state IN ('signed', 'broadcast') AND nonce >= ?",
    )
    .bind(store::now_s())
    .bind(lowest as i64)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
