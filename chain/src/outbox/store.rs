//! The outbox's SQL. Every change of state names the state it comes from.

use std::time::{SystemTime, UNIX_EPOCH};

use assay_core::ids::Address;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::row::{self, Queued, Sent, State};
use super::{OutboxError, Status, attempts};
use crate::transaction::{Fees, SignedTx};

const TABLES: [&str; 2] =
    [include_str!("../../../migrations/sqlite/0002_outbox.sql"), include_str!("../../../migrations/sqlite/0005_outbox_attempts.sql")];

pub(super) async fn create_table(pool: &SqlitePool) -> Result<(), OutboxError> {
    for table in TABLES {
        sqlx::raw_sql(table).execute(pool).await?;
    }
    Ok(())
}

pub(super) async fn refuse_other_senders(pool: &SqlitePool, chain_id: u64, sender: &Address) -> Result<(), OutboxError> {
    let other = sqlx::query(
        "SELECT id, chain_id, sender FROM outbox
         WHERE state NOT IN ('finalized', 'reverted') AND (chain_id <> ? OR sender <> ?) LIMIT 1",
    )
    .bind(chain_id as i64)
    .bind(&sender.0[..])
    .fetch_optional(pool)
    .await?;
    let Some(row) = other else { return Ok(()) };
    let bytes: Vec<u8> = row.try_get("sender")?;
    Err(OutboxError::OtherSender {
        sender: Address::from_slice(&bytes).unwrap_or_default(),
        chain_id: row.try_get::<i64, _>("chain_id")? as u64,
    })
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    chain_id: u64,
    sender: &Address,
    intent: &str,
    to: &Address,
    calldata: &[u8],
) -> Result<(), OutboxError> {
    sqlx::query(
        "INSERT INTO outbox (intent, chain_id, sender, recipient, calldata, state, created_s, updated_s)
         VALUES (?, ?, ?, ?, ?, 'queued', ?, ?) ON CONFLICT (intent) DO NOTHING",
    )
    .bind(intent)
    .bind(chain_id as i64)
    .bind(&sender.0[..])
    .bind(&to.0[..])
    .bind(calldata)
    .bind(now_s())
    .bind(now_s())
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query("SELECT recipient, calldata FROM outbox WHERE intent = ?").bind(intent).fetch_one(&mut *connection).await?;
    let stored: (Vec<u8>, Vec<u8>) = (row.try_get("recipient")?, row.try_get("calldata")?);
    if stored.0 != to.0 || stored.1 != calldata {
        return Err(OutboxError::Conflict(intent.to_owned()));
    }
    Ok(())
}

pub(super) async fn status(pool: &SqlitePool, intent: &str) -> Result<Option<Status>, OutboxError> {
    let row = sqlx::query("SELECT id, state, nonce, tx_hash, block_number, gas_used, error FROM outbox WHERE intent = ?")
        .bind(intent)
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(row::status).transpose()
}

pub(super) async fn unfinished(pool: &SqlitePool) -> Result<bool, OutboxError> {
    let row =
        sqlx::query("SELECT EXISTS (SELECT 1 FROM outbox WHERE state NOT IN ('finalized', 'reverted')) AS any_row").fetch_one(pool).await?;
    Ok(row.try_get::<i64, _>("any_row")? != 0)
}

/// The oldest queued row after `id`.
pub(super) async fn next_queued(pool: &SqlitePool, id: i64) -> Result<Option<Queued>, OutboxError> {
    let row = sqlx::query("SELECT id, intent, recipient, calldata FROM outbox WHERE state = 'queued' AND id > ? ORDER BY id LIMIT 1")
        .bind(id)
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(row::queued).transpose()
}

/// Rows with a transaction that is not final, by nonce.
pub(super) async fn in_flight(pool: &SqlitePool) -> Result<Vec<Sent>, OutboxError> {
    let rows = sqlx::query(
        "SELECT id, intent, state, nonce, raw_tx, tx_hash FROM outbox
         WHERE state IN ('signed', 'broadcast', 'mined') ORDER BY nonce",
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(row::sent).collect()
}

/// How many transactions of the sender the chain counts.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub mined: u64,
    /// With those that wait in the node's pool.
    pub pending: u64,
}

/// Picks the nonce, lets `sign` make the transaction (of the nonce and the most that was offered for it before) and stores both, in one
/// database transaction. The nonce is the chain's count or the one after our last, whichever is higher; what waits in a pool counts too, unless
/// it is a copy of ours that was given up and is now replaced. `None` when the row is no longer queued.
pub(super) async fn sign_queued(
    pool: &SqlitePool,
    id: i64,
    chain_id: u64,
    sender: &Address,
    counts: Counts,
    sign: impl FnOnce(u64, Option<Fees>) -> Result<SignedTx, OutboxError>,
) -> Result<Option<Sent>, OutboxError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let row = sqlx::query("SELECT max(nonce) AS last FROM outbox WHERE chain_id = ? AND sender = ?")
        .bind(chain_id as i64)
        .bind(&sender.0[..])
        .fetch_one(&mut *tx)
        .await?;
    let after_ours = row.try_get::<Option<i64>, _>("last")?.map_or(0, |last| last as u64 + 1);
    let next = after_ours.max(counts.mined);
    let offered = attempts::offered(&mut tx, chain_id, sender, next).await?;
    let nonce = if offered.is_some() { next } else { next.max(counts.pending) };
    let signed = sign(nonce, offered)?;
    let stored = sqlx::query(
        "UPDATE outbox SET state = 'signed', nonce = ?, raw_tx = ?, tx_hash = ?, error = NULL, updated_s = ?
         WHERE id = ? AND state = 'queued' RETURNING id, intent, state, nonce, raw_tx, tx_hash",
    )
    .bind(nonce as i64)
    .bind(&signed.raw)
    .bind(&signed.hash.0[..])
    .bind(now_s())
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    if stored.is_some() {
        attempts::insert(&mut tx, id, nonce, &signed, false).await?;
    }
    tx.commit().await?;
    stored.as_ref().map(row::sent).transpose()
}

/// Moves a row; returns whether it was in the state named.
pub(super) async fn move_state(pool: &SqlitePool, id: i64, from: State, to: State) -> Result<bool, OutboxError> {
    let done = sqlx::query("UPDATE outbox SET state = ?, updated_s = ? WHERE id = ? AND state = ?")
        .bind(to.as_str())
        .bind(now_s())
        .bind(id)
        .bind(from.as_str())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A receipt was seen. `error` is set when the transaction reverted in its block.
pub(super) async fn mined(pool: &SqlitePool, id: i64, block_number: u64, gas_used: u64, error: Option<&str>) -> Result<bool, OutboxError> {
    let done = sqlx::query(
        "UPDATE outbox SET state = 'mined', block_number = ?1, gas_used = ?2, error = ?3, updated_s = ?4
         WHERE id = ?5 AND (state IN ('signed', 'broadcast') OR (state = 'mined' AND block_number <> ?1))",
    )
    .bind(block_number as i64)
    .bind(gas_used as i64)
    .bind(error)
    .bind(now_s())
    .bind(id)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The receipt is gone: a reorg took the block.
pub(super) async fn unmined(pool: &SqlitePool, id: i64) -> Result<bool, OutboxError> {
    let done = sqlx::query(
        "UPDATE outbox SET state = 'broadcast', block_number = NULL, gas_used = NULL, error = NULL, updated_s = ?
         WHERE id = ? AND state = 'mined'",
    )
    .bind(now_s())
    .bind(id)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The transaction can never be mined: another one took its nonce for good. The intent gets a new one.
pub(super) async fn requeue_displaced(pool: &SqlitePool, id: i64) -> Result<bool, OutboxError> {
    let done = sqlx::query(
        "UPDATE outbox SET state = 'queued', nonce = NULL, raw_tx = NULL, tx_hash = NULL,
                error = 'another transaction took its nonce', updated_s = ?
         WHERE id = ? AND state IN ('signed', 'broadcast')",
    )
    .bind(now_s())
    .bind(id)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn requeue_reverted(pool: &SqlitePool, intent: &str) -> Result<bool, OutboxError> {
    let done = sqlx::query(
        "UPDATE outbox SET state = 'queued', nonce = NULL, raw_tx = NULL, tx_hash = NULL, block_number = NULL,
                gas_used = NULL, error = NULL, updated_s = ?
         WHERE intent = ? AND state = 'reverted'",
    )
    .bind(now_s())
    .bind(intent)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The gas estimate reverted: the intent ends here, without a nonce.
pub(super) async fn revert_queued(pool: &SqlitePool, id: i64, reason: &str) -> Result<(), OutboxError> {
    sqlx::query("UPDATE outbox SET state = 'reverted', error = ?, updated_s = ? WHERE id = ? AND state = 'queued'")
        .bind(reason)
        .bind(now_s())
        .bind(id)
        .execute(pool)
        .await?;
    Ok(())
}

/// Ends a queued intent that somebody gave up.
pub(super) async fn cancel_queued(pool: &SqlitePool, intent: &str) -> Result<bool, OutboxError> {
    let done =
        sqlx::query("UPDATE outbox SET state = 'reverted', error = 'cancelled', updated_s = ? WHERE intent = ? AND state = 'queued'")
            .bind(now_s())
            .bind(intent)
            .execute(pool)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Recipient and calldata of a row.
pub(super) async fn call_of(pool: &SqlitePool, id: i64) -> Result<(Address, Vec<u8>), OutboxError> {
    let row = sqlx::query("SELECT id, intent, recipient, calldata FROM outbox WHERE id = ?").bind(id).fetch_one(pool).await?;
    row::queued(&row).map(|row| (row.to, row.calldata))
}

/// Notes trouble that passes; the state stays.
pub(super) async fn note_error(pool: &SqlitePool, id: i64, error: &str) -> Result<(), OutboxError> {
    sqlx::query("UPDATE outbox SET error = ?, updated_s = ? WHERE id = ?").bind(error).bind(now_s()).bind(id).execute(pool).await?;
    Ok(())
}

/// For people who read the table; nothing is decided by it.
pub(super) fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64)
}
