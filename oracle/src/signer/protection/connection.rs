//! The record's one connection: the lock that it holds, what it is bound to, and how it is opened again after the disk was full.

use std::path::Path;
use std::time::Duration;

use assay_core::bls::PublicKey;
use assay_core::ids::{Address, Instance};
use assay_daemon::sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{Connection, query, query_as};
use tracing::warn;

use super::error::{ProtectionError, classified, damaged, schema};
use super::interchange::shown_key;
use super::{Protection, Tx, stored};

/// A restart may overlap a little with the process that ends.
const LOCK_WAIT: Duration = Duration::from_secs(1);

type BindingRow = (Vec<u8>, i64, Vec<u8>, Option<i64>);

/// The key and the instance that a record belongs to.
#[derive(Clone)]
pub(super) struct Binding {
    pub public_key: PublicKey,
    pub instance: Instance,
}

impl Binding {
    fn parse((key, chain_id, settlement, _): &BindingRow) -> Option<Self> {
        let public_key = PublicKey::from_compressed(key.as_slice().try_into().ok()?).ok()?;
        let instance = Instance { chain_id: u64::try_from(*chain_id).ok()?, settlement: Address::from_slice(settlement)? };
        Some(Self { public_key, instance })
    }

    /// Refuses another key or instance.
    pub(super) fn check(&self, path: &str, key: &PublicKey, instance: &Instance) -> Result<(), ProtectionError> {
        if self.public_key == *key && self.instance == *instance {
            return Ok(());
        }
        Err(ProtectionError::Foreign {
            path: path.to_owned(),
            key: shown_key(&self.public_key),
            chain_id: self.instance.chain_id,
            settlement: self.instance.settlement,
        })
    }
}

impl Protection {
    /// A transaction that holds the record alone. After a failed commit on a connection that is opened anew: the file decides what was recorded,
    /// and while it cannot be opened nothing is signed.
    pub(super) async fn begin<'c>(&self, held: &'c mut Option<SqliteConnection>) -> Result<Tx<'c>, ProtectionError> {
        let is_usable = match held.as_mut() {
            Some(connection) => sqlite::is_clean(connection).await.unwrap_or(false),
            None => false,
        };
        let usable = match held.take() {
            Some(connection) if is_usable => connection,
            // The lock goes with the connection: another process that took it meanwhile keeps it.
            unusable => {
                if let Some(connection) = unusable
                    && let Err(error) = connection.close().await
                {
                    warn!(path = self.path, %error, "the signing record was not closed in order");
                }
                self.reopen().await?
            }
        };
        held.insert(usable).begin_with("BEGIN IMMEDIATE").await.map_err(|source| self.failed(source))
    }

    /// Its schema is this version's since it was opened first.
    async fn reopen(&self) -> Result<SqliteConnection, ProtectionError> {
        let (connection, binding) = connect(&self.file, &self.path).await?;
        binding.check(&self.path, &self.binding.public_key, &self.binding.instance)?;
        warn!(path = self.path, "opened the signing record again, after a write that failed");
        Ok(connection)
    }
}

/// Opens an existing record, locks it, checks it and brings it up to date.
pub(super) async fn open(path: &Path, shown: &str) -> Result<(SqliteConnection, Binding), ProtectionError> {
    let (mut connection, binding) = connect(path, shown).await?;
    sqlx::migrate!("../migrations/protection").run(&mut connection).await.map_err(|source| schema(shown, source))?;
    Ok((connection, binding))
}

async fn connect(path: &Path, shown: &str) -> Result<(SqliteConnection, Binding), ProtectionError> {
    let mut connection = SqliteConnection::connect_with(&options(path, false)).await.map_err(|source| classified(shown, source))?;
    match lock(&mut connection, shown).await {
        Ok(binding) => Ok((connection, binding)),
        Err(error) => {
            // Closed in order, so that what is no record is left as it was found, without a journal beside it.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

fn options(path: &Path, create: bool) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .locking_mode(SqliteLockingMode::Exclusive)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Extra)
        .busy_timeout(LOCK_WAIT)
}

/// A record without statements, bound to its key and instance.
pub(super) async fn write_empty(draft: &Path, shown: &str, key: &PublicKey, instance: &Instance) -> Result<(), ProtectionError> {
    let chain_id = stored("chain id", instance.chain_id)?;
    let failed = |source| classified(shown, source);
    let mut connection = SqliteConnection::connect_with(&options(draft, true)).await.map_err(failed)?;
    sqlx::migrate!("../migrations/protection").run(&mut connection).await.map_err(|source| schema(shown, source))?;
    query("INSERT INTO binding (one, public_key, chain_id, settlement) VALUES (1, ?, ?, ?)")
        .bind(key.to_compressed().as_slice())
        .bind(chain_id)
        .bind(instance.settlement.0.as_slice())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// Locks the record and checks it; an empty file must not become an empty record.
async fn lock(connection: &mut SqliteConnection, shown: &str) -> Result<Binding, ProtectionError> {
    let failed = |source| classified(shown, source);
    let binding = take_lock(connection).await.map_err(failed)?;
    let (verdict,): (String,) = query_as("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
    if verdict != "ok" {
        return Err(damaged(shown, &verdict));
    }
    Binding::parse(&binding).ok_or_else(|| damaged(shown, "its binding does not parse"))
}

/// Takes the lock by a write, which exclusive mode keeps after the transaction.
async fn take_lock(connection: &mut SqliteConnection) -> Result<BindingRow, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN EXCLUSIVE").await?;
    query("UPDATE binding SET opened = opened + 1").execute(&mut *tx).await?;
    let binding = query_as("SELECT public_key, chain_id, settlement, pruned_through FROM binding").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(binding)
}
