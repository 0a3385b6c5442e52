//! The transaction outbox: what this node wants on the chain, kept until the chain has it for good.
//!
//! An intent is a row before it is a transaction. Its nonce and its signed bytes are fixed in one database transaction
//! before anything is sent, so that a crash at any instant leaves either no trace or exactly the bytes to send again.
//! A row is done only when its block is final; a reorg before that sends it back.
//!
//! One sender, one process: two processes with one key would take the same nonces.

mod attempts;
mod driver;
mod forecast;
mod gap;
mod replace;
mod row;
mod store;

use std::sync::Arc;
use std::time::Duration;

use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::secp;
use assay_daemon::persistence::{Write, durable};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Notify, watch};

use crate::transaction::TransactionError;
use crate::{ChainError, Client};

pub use forecast::Forecast;
pub use row::State;

/// Largest calldata that is taken.
pub const MAX_CALLDATA_BYTES: usize = 128 * 1024;

/// How the outbox behaves.
#[derive(Clone, Debug)]
pub struct OutboxConfig {
    /// How often receipts are looked for while a row is unfinished.
    pub poll_interval: Duration,
    /// The most that is paid for a unit of gas; above it the outbox waits.
    pub max_fee_per_gas_wei: u128,
    /// Added to the gas estimate, in percent.
    pub gas_margin_percent: u64,
    /// How long a transaction may wait for a block before its fees are raised.
    pub raise_after: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(2),
            max_fee_per_gas_wei: 500_000_000_000,
            gas_margin_percent: 25,
            raise_after: Duration::from_secs(60),
        }
    }
}

/// Why the outbox cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database failed.
    #[error("the outbox's database failed; check the disk and the database file")]
    Database(#[from] sqlx::Error),
    /// The chain failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Unfinished rows of another key or chain.
    #[error(
        "the outbox holds unfinished transactions of {sender} on chain {chain_id}; \
         start with that key and chain until they are done, or use another database"
    )]
    OtherSender {
        /// Whose.
        sender: Address,
        /// On which chain.
        chain_id: u64,
    },
    /// An intent that is asked for again with other contents.
    #[error("intent `{0}` exists with another recipient or calldata; an intent never changes")]
    Conflict(String),
    /// Not a valid intent.
    #[error("intent `{intent}` is refused: {reason}")]
    BadIntent {
        /// Its key.
        intent: String,
        /// Why.
        reason: String,
    },
    /// A row that this version cannot read.
    #[error("outbox row {id} is damaged: {reason}; restore the database")]
    BadRow {
        /// The row.
        id: i64,
        /// What is wrong.
        reason: String,
    },
    /// The transaction cannot be made.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

/// Where an intent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Its nonce, once signed.
    pub nonce: Option<u64>,
    /// Its transaction's hash, once signed.
    pub tx_hash: Option<Hash32>,
    /// Its block, once mined.
    pub block_number: Option<u64>,
    /// Gas it took, once mined.
    pub gas_used: Option<u64>,
    /// The last trouble: of a reverted row the reason.
    pub error: Option<String>,
}

/// The outbox. Cloning shares it.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    pool: SqlitePool,
    client: Client,
    key: secp::SecretKey,
    sender: Address,
    config: OutboxConfig,
    wake: Notify,
    /// Counts state changes.
    changes: watch::Sender<u64>,
    /// What needs a person.
    alert: watch::Sender<Option<String>>,
    /// A gap below our nonces that one poll has seen.
    gap: watch::Sender<Option<gap::Gap>>,
}

impl Outbox {
    /// Opens the outbox of one key in a database; makes its table when missing. Refuses a database that holds
    /// unfinished rows of another key or chain.
    pub async fn open(pool: SqlitePool, client: Client, key: secp::SecretKey, config: OutboxConfig) -> Result<Self, OutboxError> {
        store::create_table(&pool).await?;
        let sender = key.address();
        store::refuse_other_senders(&pool, client.config().chain_id, &sender).await?;
        let (changes, _) = watch::channel(0);
        let (alert, gap) = (watch::channel(None).0, watch::channel(None).0);
        Ok(Self(Arc::new(Inner { pool, client, key, sender, config, wake: Notify::new(), changes, alert, gap })))
    }

    /// The address that sends and pays.
    pub fn sender(&self) -> Address {
        self.0.sender
    }

    /// Wants a call on the chain, once; executed a second time, it must move nothing ([`gap`]). Asking again with the same contents changes nothing; with others it is
    /// [`OutboxError::Conflict`]. When this returns, the intent is on disk.
    pub async fn enqueue(&self, intent: &str, to: Address, calldata: Vec<u8>) -> Result<(), OutboxError> {
        let mut connection = self.0.pool.acquire().await?;
        durable(Write::QUEUED, self.enqueue_in(&mut connection, intent, to, calldata)).await?;
        self.wake();
        Ok(())
    }

    /// As [`Outbox::enqueue`], inside the caller's database transaction, so that a decision and its effect commit
    /// together. Call [`Outbox::wake`] after the commit.
    pub async fn enqueue_in(
        &self,
        connection: &mut SqliteConnection,
        intent: &str,
        to: Address,
        calldata: Vec<u8>,
    ) -> Result<(), OutboxError> {
        let refuse = |reason: &str| OutboxError::BadIntent { intent: intent.into(), reason: reason.into() };
        if intent.is_empty() || intent.len() > 200 {
            return Err(refuse("a key has 1 to 200 characters"));
        }
        if calldata.len() > MAX_CALLDATA_BYTES {
            return Err(refuse("the calldata is larger than 128 KiB"));
        }
        store::insert(connection, self.0.client.config().chain_id, &self.0.sender, intent, &to, &calldata).await
    }

    /// Queues a reverted intent again. Returns whether it was reverted.
    pub async fn retry(&self, intent: &str) -> Result<bool, OutboxError> {
        let queued = store::requeue_reverted(&self.0.pool, intent).await?;
        self.changed();
        self.wake();
        Ok(queued)
    }

    /// Looks for work now.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Where an intent stands; `None` when it was never enqueued.
    pub async fn status(&self, intent: &str) -> Result<Option<Status>, OutboxError> {
        store::status(&self.0.pool, intent).await
    }

    /// A counter that moves whenever a row changes its state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Waits until an intent is at least mined, or reverted. Needs [`Outbox::run`] beside it.
    pub async fn mined(&self, intent: &str) -> Result<Option<Status>, OutboxError> {
        self.reached(intent, |state| matches!(state, State::Mined | State::Finalized | State::Reverted)).await
    }

    /// Waits until an intent is finalized or reverted. Needs [`Outbox::run`] beside it.
    pub async fn settled(&self, intent: &str) -> Result<Option<Status>, OutboxError> {
        self.reached(intent, State::is_final).await
    }

    async fn reached(&self, intent: &str, enough: impl Fn(State) -> bool) -> Result<Option<Status>, OutboxError> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            match self.status(intent).await? {
                Some(status) if !enough(status.state) => {}
                known => return Ok(known),
            }
            // The sender lives as long as `self`: this cannot fail.
            let _ = changes.changed().await;
        }
    }

    /// What a person must see to: a transaction that is stuck at the fee cap.
    pub fn alert(&self) -> Option<String> {
        self.0.alert.borrow().clone()
    }

    fn set_alert(&self, alert: Option<String>) {
        self.0.alert.send_replace(alert);
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
