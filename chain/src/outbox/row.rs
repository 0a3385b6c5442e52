//! A row of the table, parsed.

use assay_core::hash::Hash32;
use assay_core::ids::Address;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{OutboxError, Status};

/// A row's state; `0002_outbox.sql` says what each means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Wanted, not signed.
    Queued,
    /// Nonce and bytes fixed, not sent.
    Signed,
    /// A node took it.
    Broadcast,
    /// It has a receipt.
    Mined,
    /// Its block is final.
    Finalized,
    /// It failed, for good.
    Reverted,
}

impl State {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Signed => "signed",
            Self::Broadcast => "broadcast",
            Self::Mined => "mined",
            Self::Finalized => "finalized",
            Self::Reverted => "reverted",
        }
    }

    /// Whether nothing more happens to the row by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finalized | Self::Reverted)
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Queued, Self::Signed, Self::Broadcast, Self::Mined, Self::Finalized, Self::Reverted]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// A queued row.
pub(super) struct Queued {
    pub id: i64,
    pub intent: String,
    pub to: Address,
    pub calldata: Vec<u8>,
}

/// A row with a transaction.
pub(super) struct Sent {
    pub id: i64,
    pub intent: String,
    pub state: State,
    pub nonce: u64,
    pub raw_tx: Vec<u8>,
    pub tx_hash: Hash32,
}

pub(super) fn queued(row: &SqliteRow) -> Result<Queued, OutboxError> {
    let id = row.try_get("id")?;
    let to: Vec<u8> = row.try_get("recipient")?;
    let to = Address::from_slice(&to).ok_or_else(|| bad(id, "recipient"))?;
    Ok(Queued { id, intent: row.try_get("intent")?, to, calldata: row.try_get("calldata")? })
}

pub(super) fn sent(row: &SqliteRow) -> Result<Sent, OutboxError> {
    let id = row.try_get("id")?;
    let hash: Vec<u8> = row.try_get("tx_hash")?;
    Ok(Sent {
        id,
        intent: row.try_get("intent")?,
        state: state(id, row)?,
        nonce: unsigned(id, "nonce", row.try_get("nonce")?)?.ok_or_else(|| bad(id, "nonce"))?,
        raw_tx: row.try_get("raw_tx")?,
        tx_hash: Hash32::from_slice(&hash).ok_or_else(|| bad(id, "tx_hash"))?,
    })
}

pub(super) fn status(row: &SqliteRow) -> Result<Status, OutboxError> {
    let id = row.try_get("id")?;
    let hash: Option<Vec<u8>> = row.try_get("tx_hash")?;
    Ok(Status {
        state: state(id, row)?,
        nonce: unsigned(id, "nonce", row.try_get("nonce")?)?,
        tx_hash: hash.map(|bytes| Hash32::from_slice(&bytes).ok_or_else(|| bad(id, "tx_hash"))).transpose()?,
        block_number: unsigned(id, "block_number", row.try_get("block_number")?)?,
        gas_used: unsigned(id, "gas_used", row.try_get("gas_used")?)?,
        error: row.try_get("error")?,
    })
}

fn state(id: i64, row: &SqliteRow) -> Result<State, OutboxError> {
    let word: String = row.try_get("state")?;
    State::parse(&word).ok_or_else(|| bad(id, "state"))
}

fn unsigned(id: i64, column: &str, value: Option<i64>) -> Result<Option<u64>, OutboxError> {
    value.map(|value| u64::try_from(value).map_err(|_| bad(id, column))).transpose()
}

fn bad(id: i64, column: &str) -> OutboxError {
    OutboxError::BadRow { id, reason: format!("column {column}") }
}
