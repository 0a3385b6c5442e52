//! The record of what the verdict key signed, in an SQLite file of its own.
//!
//! Durability: a rollback journal with `synchronous=EXTRA`, so that a record that was returned survives a power loss, and the file
//! alone, without a second one beside it, is the whole record. Exclusion: the lock taken at opening is kept until the process ends.
//! The lock is the file system's; do not put the file on a network file system.

mod connection;
mod error;
mod interchange;
mod presence;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use assay_core::bls::PublicKey;
use assay_core::hash::Hash32;
use assay_core::ids::Instance;
use assay_daemon::persistence::{Write, durable};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Sqlite, Transaction, query, query_as};
use tokio::sync::Mutex;

use super::SignerError;
use connection::Binding;
use error::{classified, damaged};

pub use error::ProtectionError;
pub use interchange::ImportSummary;

/// What can be signed once only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementKind {
    /// A commit.
    Commit,
    /// A bit-vote.
    BitVote,
    /// A report signature.
    Report,
}

impl StatementKind {
    fn column(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::BitVote => "bit_vote",
            Self::Report => "report",
        }
    }

    fn write(self) -> Write {
        match self {
            Self::Commit => Write::COMMIT,
            Self::BitVote => Write::BIT_VOTE,
            Self::Report => Write::REPORT,
        }
    }

    fn from_column(text: &str) -> Option<Self> {
        [Self::Commit, Self::BitVote, Self::Report].into_iter().find(|kind| kind.column() == text)
    }
}

impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::BitVote => "bit-vote",
            Self::Report => "report",
        })
    }
}

/// The record, held open exclusively.
pub struct Protection {
    file: PathBuf,
    path: String,
    binding: Binding,
    /// None after it failed and until it can be opened again.
    connection: Mutex<Option<SqliteConnection>>,
}

type Tx<'a> = Transaction<'a, Sqlite>;

impl Protection {
    /// Creates an empty record for a key that has never signed. Refused if the file exists. Either the whole file is there or none.
    pub async fn create(path: &Path, key: &PublicKey, instance: &Instance) -> Result<(), ProtectionError> {
        let shown = path.display().to_string();
        let failed = |source| ProtectionError::Io { path: shown.clone(), source };
        if path.try_exists().map_err(failed)? {
            return Err(ProtectionError::Exists { path: shown });
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = Path::new(&draft);
        match fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        connection::write_empty(draft, &shown, key, instance).await?;
        // A hard link, unlike a rename, never replaces a file that appeared meanwhile.
        let linked = File::open(draft).and_then(|file| file.sync_all()).and_then(|()| fs::hard_link(draft, path));
        linked.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ProtectionError::Exists { path: shown.clone() },
            _ => failed(source),
        })?;
        fs::remove_file(draft).map_err(failed)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// Opens the record of this key on this instance and keeps every other process out until this one ends.
    pub async fn open(path: &Path, key: &PublicKey, instance: &Instance) -> Result<Self, ProtectionError> {
        let shown = path.display().to_string();
        if !path.try_exists().map_err(|source| ProtectionError::Io { path: shown.clone(), source })? {
            return Err(ProtectionError::Missing { path: shown });
        }
        let (connection, binding) = connection::open(path, &shown).await?;
        binding.check(&shown, key, instance)?;
        Ok(Self { file: path.to_path_buf(), path: shown, binding, connection: Mutex::new(Some(connection)) })
    }

    /// Refuses another key or instance.
    pub(super) fn check_binding(&self, key: &PublicKey, instance: &Instance) -> Result<(), ProtectionError> {
        self.binding.check(&self.path, key, instance)
    }

    /// Records that `digest` is about to be signed, or refuses. When it returns `Ok`, the record survives a power loss. The same
    /// digest may be recorded again: signing it twice gives the same signature.
    pub(super) async fn check_and_record(&self, kind: StatementKind, epoch: u64, view: u64, digest: &Hash32) -> Result<(), SignerError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        if let Some(through) = self.watermark(&mut tx).await?.filter(|through| epoch <= *through) {
            return Err(SignerError::Pruned { epoch, through });
        }
        match self.recorded(&mut tx, kind, epoch, view).await? {
            Some(Some(recorded)) if recorded == *digest => return Ok(()),
            Some(Some(recorded)) => return Err(SignerError::WouldEquivocate { kind, epoch, view, recorded, asked: *digest }),
            Some(None) => return Err(SignerError::Blocked { kind, epoch, view, asked: *digest }),
            None => self.insert(&mut tx, kind, epoch, view, Some(digest)).await?,
        }
        durable(kind.write(), tx.commit()).await.map_err(|source| self.failed(source))?;
        Ok(())
    }

    /// Whether a statement of ours is accounted for. False is the one answer that means that somebody else made it: what was pruned, or is
    /// disputed between imported records, is accounted for.
    pub(super) async fn knows(&self, kind: StatementKind, epoch: u64, view: u64, digest: &Hash32) -> Result<bool, ProtectionError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        if self.watermark(&mut tx).await?.is_some_and(|through| epoch <= through) {
            return Ok(true);
        }
        let recorded = self.recorded(&mut tx, kind, epoch, view).await?;
        Ok(recorded.is_some_and(|recorded| recorded.is_none_or(|recorded| recorded == *digest)))
    }

    /// Forgets statements through `epoch`, and refuses to sign anything there from now on. The watermark never goes back.
    pub async fn prune(&self, epoch: u64) -> Result<(), ProtectionError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        self.raise_watermark(&mut tx, epoch).await?;
        tx.commit().await.map_err(|source| self.failed(source))
    }

    /// Closes the file and lets the next process in.
    pub async fn close(self) -> Result<(), ProtectionError> {
        let Some(connection) = self.connection.into_inner() else { return Ok(()) };
        connection.close().await.map_err(|source| classified(&self.path, source))
    }

    async fn watermark(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, ProtectionError> {
        let (through,): (Option<i64>,) =
            query_as("SELECT pruned_through FROM binding").fetch_one(&mut **tx).await.map_err(|source| self.failed(source))?;
        through.map(|through| self.loaded(through)).transpose()
    }

    async fn raise_watermark(&self, tx: &mut Tx<'_>, epoch: u64) -> Result<(), ProtectionError> {
        let epoch = stored("epoch", epoch)?;
        query("UPDATE binding SET pruned_through = max(coalesce(pruned_through, 0), ?)")
            .bind(epoch)
            .execute(&mut **tx)
            .await
            .map_err(|source| self.failed(source))?;
        query("DELETE FROM statements WHERE epoch <= ?").bind(epoch).execute(&mut **tx).await.map_err(|source| self.failed(source))?;
        Ok(())
    }

    /// The outer option: whether there is a row. The inner one: none where records contradicted each other.
    async fn recorded(
        &self,
        tx: &mut Tx<'_>,
        kind: StatementKind,
        epoch: u64,
        view: u64,
    ) -> Result<Option<Option<Hash32>>, ProtectionError> {
        let row: Option<(Option<Vec<u8>>,)> = query_as("SELECT digest FROM statements WHERE kind = ? AND epoch = ? AND view = ?")
            .bind(kind.column())
            .bind(stored("epoch", epoch)?)
            .bind(stored("view", view)?)
            .fetch_optional(&mut **tx)
            .await
            .map_err(|source| self.failed(source))?;
        row.map(|(digest,)| self.digest(digest)).transpose()
    }

    async fn insert(
        &self,
        tx: &mut Tx<'_>,
        kind: StatementKind,
        epoch: u64,
        view: u64,
        digest: Option<&Hash32>,
    ) -> Result<(), ProtectionError> {
        query("INSERT INTO statements (kind, epoch, view, digest) VALUES (?, ?, ?, ?)")
            .bind(kind.column())
            .bind(stored("epoch", epoch)?)
            .bind(stored("view", view)?)
            .bind(digest.map(|digest| digest.as_bytes().as_slice()))
            .execute(&mut **tx)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(())
    }

    fn digest(&self, bytes: Option<Vec<u8>>) -> Result<Option<Hash32>, ProtectionError> {
        bytes.map(|bytes| Hash32::from_slice(&bytes).ok_or_else(|| damaged(&self.path, "a digest is not 32 bytes"))).transpose()
    }

    fn loaded(&self, value: i64) -> Result<u64, ProtectionError> {
        u64::try_from(value).map_err(|_| damaged(&self.path, "a negative number"))
    }

    fn failed(&self, source: sqlx::Error) -> ProtectionError {
        classified(&self.path, source)
    }
}

fn stored(what: &'static str, value: u64) -> Result<i64, ProtectionError> {
    i64::try_from(value).map_err(|_| ProtectionError::TooLarge { what, value })
}

#[cfg(test)]
mod tests;
