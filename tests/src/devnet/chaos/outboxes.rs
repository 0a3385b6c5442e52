//! What the oracles still owe the chain, and whether one of their transactions waits behind a nonce that nobody used.

use std::path::{Path, PathBuf};

use assay_core::ids::{Address, OracleId};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, query_as};

use crate::anvil::{Anvil, AnvilError};

/// Why an outbox cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The driver's word.
        source: sqlx::Error,
    },
    /// The chain.
    #[error(transparent)]
    Chain(#[from] AnvilError),
    /// An answer that is no number.
    #[error("the chain counts no transactions of {0}")]
    Count(Address),
}

/// A row that is not done: (intent, state, nonce).
pub type Row = (String, String, Option<i64>);

/// Rows that are not done, of the node whose directory this is. It may run meanwhile.
pub async fn unfinished(dir: &Path) -> Result<Vec<Row>, OutboxError> {
    rows(dir, "SELECT intent, state, nonce FROM outbox WHERE state NOT IN ('finalized', 'reverted') ORDER BY nonce").await
}

/// What is wrong with a node's nonces: a transaction that waits for one that is not there, or one that is done and that the chain does not
/// count.
pub async fn nonce_gap(anvil: &Anvil, oracle: OracleId, transmitter: &Address, dir: &Path) -> Result<Option<String>, OutboxError> {
    let all = rows(dir, "SELECT intent, state, nonce FROM outbox WHERE nonce IS NOT NULL ORDER BY nonce").await?;
    let mut next = count(anvil, transmitter).await?;
    let counted = next;
    for (intent, state, nonce) in all {
        let nonce = u64::try_from(nonce.unwrap_or_default()).unwrap_or_default();
        let is_waiting = matches!(state.as_str(), "signed" | "broadcast");
        match nonce {
            nonce if nonce < counted => {}
            nonce if nonce == next && is_waiting => next += 1,
            nonce => return Ok(Some(format!("oracle {oracle}: {intent} is {state} with nonce {nonce}, the chain counts {counted}"))),
        }
    }
    Ok(None)
}

async fn count(anvil: &Anvil, account: &Address) -> Result<u64, OutboxError> {
    let answer = anvil.rpc("eth_getTransactionCount", json!([account, "latest"])).await?;
    let digits = answer.as_str().and_then(|text| text.strip_prefix("0x"));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(OutboxError::Count(*account))
}

async fn rows(dir: &Path, sql: &'static str) -> Result<Vec<Row>, OutboxError> {
    let path = dir.join("data/node.sqlite");
    let failed = |source| OutboxError::Database { path: path.clone(), source };
    let options = SqliteConnectOptions::new().filename(&path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let rows = query_as(sql).fetch_all(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(rows)
}
