//! The SQL of the transactions that were signed for one intent.

use std::time::{SystemTime, UNIX_EPOCH};

use assay_core::hash::Hash32;
use assay_core::ids::Address;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::OutboxError;
use super::row::Sent;
use crate::transaction::{Fees, SignedTx};

/// A transaction of an intent.
pub(super) struct Attempt {
    pub tx_hash: Hash32,
    pub nonce: u64,
    pub fees: Fees,
    pub gas_limit: u64,
    pub cancels: bool,
    pub signed_ms: u64,
    /// Its outcome is known for good.
    pub is_final: bool,
}

/// Part of the database transaction that gives the row this transaction.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    id: i64,
    nonce: u64,
    signed: &SignedTx,
    cancels: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO outbox_attempts (tx_hash, outbox_id, nonce, raw_tx, gas_limit, max_fee_wei, priority_fee_wei, cancels, signed_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tx_hash) DO NOTHING",
    )
    .bind(&signed.hash.0[..])
    .bind(id)
    .bind(nonce as i64)
    .bind(&signed.raw)
    .bind(signed.gas_limit as i64)
    .bind(integer(signed.fees.max_fee_wei))
    .bind(integer(signed.fees.priority_fee_wei))
    .bind(cancels)
    .bind(integer(now_ms().into()))
    .execute(connection)
    .await?;
    Ok(())
}

/// All transactions that were ever signed for a row, the newest first.
pub(super) async fn of(pool: &SqlitePool, id: i64) -> Result<Vec<Attempt>, OutboxError> {
    let rows = sqlx::query(
        "SELECT tx_hash, nonce, max_fee_wei, priority_fee_wei, gas_limit, cancels, signed_ms, cost_gwei IS NOT NULL AS is_final
         FROM outbox_attempts WHERE outbox_id = ? ORDER BY rowid DESC",
    )
    .bind(id)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let hash: Vec<u8> = row.try_get("tx_hash")?;
            Ok(Attempt {
                nonce: row.try_get::<i64, _>("nonce")? as u64,
                tx_hash: Hash32::from_slice(&hash).ok_or_else(|| OutboxError::BadRow { id, reason: "an attempt's hash".into() })?,
                fees: Fees { max_fee_wei: wei(row.try_get("max_fee_wei")?), priority_fee_wei: wei(row.try_get("priority_fee_wei")?) },
                gas_limit: row.try_get::<i64, _>("gas_limit")? as u64,
                cancels: row.try_get("cancels")?,
                signed_ms: row.try_get::<i64, _>("signed_ms")? as u64,
                is_final: row.try_get("is_final")?,
            })
        })
        .collect()
}

/// The newest transaction of a row under its nonce.
pub(super) async fn newest(pool: &SqlitePool, row: &Sent) -> Result<Option<Attempt>, OutboxError> {
    Ok(of(pool, row.id).await?.into_iter().find(|attempt| attempt.nonce == row.nonce))
}

/// The most that was offered for transactions with a nonce; none when it is a new one.
pub(super) async fn offered(
    connection: &mut SqliteConnection,
    chain_id: u64,
    sender: &Address,
    nonce: u64,
) -> Result<Option<Fees>, OutboxError> {
    let (max_fee_wei, priority_fee_wei): (Option<i64>, Option<i64>) = sqlx::query_as(
        "SELECT max(max_fee_wei), max(priority_fee_wei) FROM outbox_attempts JOIN outbox ON outbox.id = outbox_id
         WHERE outbox_attempts.nonce = ? AND chain_id = ? AND sender = ?",
    )
    .bind(nonce as i64)
    .bind(chain_id as i64)
    .bind(&sender.0[..])
    .fetch_one(connection)
    .await?;
    let offered = max_fee_wei.zip(priority_fee_wei);
    Ok(offered.map(|(max_fee, priority_fee)| Fees { max_fee_wei: wei(max_fee), priority_fee_wei: wei(priority_fee) }))
}

fn wei(value: i64) -> u128 {
    u128::try_from(value).unwrap_or_default()
}

/// Gives a row that is not mined another transaction with the same nonce, and lets it be sent. False when the row has moved on.
pub(super) async fn replace(pool: &SqlitePool, row: &Sent, signed: &SignedTx, cancels: bool) -> Result<bool, OutboxError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let done = sqlx::query(
        "UPDATE outbox SET state = 'signed', raw_tx = ?, tx_hash = ?, error = NULL
         WHERE id = ? AND nonce = ? AND tx_hash = ? AND state IN ('signed', 'broadcast')",
    )
    .bind(&signed.raw)
    .bind(&signed.hash.0[..])
    .bind(row.id)
    .bind(row.nonce as i64)
    .bind(&row.tx_hash.0[..])
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        insert(&mut tx, row.id, row.nonce, signed, cancels).await?;
    }
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// An earlier transaction of the row was mined: it is the row's own again. Whatever else waits with its nonce gets another one. False when
/// something else is done under that nonce, which only a lie can bring about.
pub(super) async fn adopt(pool: &SqlitePool, id: i64, attempt: &Attempt) -> Result<bool, OutboxError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(
        "UPDATE outbox SET state = 'queued', nonce = NULL, raw_tx = NULL, tx_hash = NULL, error = 'another transaction took its nonce'
         WHERE nonce = ? AND id <> ? AND state IN ('signed', 'broadcast')",
    )
    .bind(attempt.nonce as i64)
    .bind(id)
    .execute(&mut *tx)
    .await?;
    let done = sqlx::query(
        "UPDATE outbox SET nonce = ?1, tx_hash = ?2, raw_tx = (SELECT raw_tx FROM outbox_attempts WHERE tx_hash = ?2)
         WHERE id = ?3 AND state IN ('signed', 'broadcast', 'mined')
           AND NOT EXISTS (SELECT 1 FROM outbox AS other
                           WHERE other.nonce = ?1 AND other.id <> ?3 AND other.chain_id = outbox.chain_id AND other.sender = outbox.sender)",
    )
    .bind(attempt.nonce as i64)
    .bind(&attempt.tx_hash.0[..])
    .bind(id)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        tx.commit().await?;
    }
    Ok(done.rows_affected() == 1)
}

/// Notes what a final transaction cost.
pub(super) async fn note_cost(pool: &SqlitePool, tx_hash: &Hash32, cost_wei: u128) -> Result<(), OutboxError> {
    sqlx::query("UPDATE outbox_attempts SET cost_gwei = ? WHERE tx_hash = ?")
        .bind(integer(cost_wei.div_ceil(1_000_000_000)))
        .bind(&tx_hash.0[..])
        .execute(pool)
        .await?;
    Ok(())
}

/// What was spent since a time, gwei, and when the first of it was signed.
pub(super) async fn spent(pool: &SqlitePool, since_ms: u64) -> Result<(u64, Option<u64>), OutboxError> {
    let row = sqlx::query(
        "SELECT coalesce(sum(cost_gwei), 0) AS spent, min(signed_ms) AS first FROM outbox_attempts
         WHERE cost_gwei IS NOT NULL AND signed_ms >= ?",
    )
    .bind(integer(since_ms.into()))
    .fetch_one(pool)
    .await?;
    Ok((row.try_get::<i64, _>("spent")? as u64, row.try_get::<Option<i64>, _>("first")?.map(|first| first as u64)))
}

pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// SQLite's integers end at nine ether; no fee comes near.
fn integer(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
