//! The record of what the verdict key signed, in an SQLite file of its own.
//!
//! Durability: a rollback journal with `synchronous=EXTRA`, so that a record that was returned survives a power loss, and the file
//! alone, without a second one beside it, is the whole record. Exclusion: the lock taken at opening is kept until the process ends.
//! The lock is the file system's; do not put the file on a network file system.

mod connection;
mod presence;

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use assay_core::bls::PublicKey;
use assay_core::hash::{Hash32, decode_hex};
use assay_core::ids::{Address, Instance};
use assay_daemon::persistence::{Write, durable};
use assay_daemon::sqlite;
use serde::{Deserialize, Serialize};
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Sqlite, Transaction, query, query_as};
use tokio::sync::Mutex;

use super::SignerError;
use connection::Binding;

/// Version of the exported JSON.
const EXPORT_VERSION: u32 = 1;

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

/// Why the record is not to be had. While it is not, nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    /// There is no file. It is never created silently: an empty record lets the key sign twice.
    #[error(
        "the signing record {path} does not exist; for a new key run `assay-oracle protection init`, for a key that signed before \
         import its record with `assay-oracle protection import`"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// There is a file already.
    #[error("{path} exists already; a signing record is never overwritten: use it, or name another protection_file")]
    Exists {
        /// The file.
        path: String,
    },
    /// Another process signs with it.
    #[error("another oracle process holds {path}; stop it first")]
    Held {
        /// The file.
        path: String,
    },
    /// It belongs to another key or instance.
    #[error(
        "{path} is the signing record of key {key} on chain {chain_id}, settlement {settlement}, not of this node's; \
         correct protection_file, keys.verdict or [chain] so that they belong together"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Its public key.
        key: String,
        /// Its chain.
        chain_id: u64,
        /// Its settlement contract.
        settlement: Address,
    },
    /// It is damaged, or is no signing record at all.
    #[error(
        "{path} is damaged or is no signing record ({problem}); do not start with an empty one: import the last export, or register a \
         new verdict key"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Written by another version.
    #[error("signing record {path} was written by another version of assay-oracle: {source}; run that version")]
    Schema {
        /// The file.
        path: String,
        /// What the migrator says.
        source: MigrateError,
    },
    /// The disk failed.
    #[error("signing record {path}: {source}; {}", sqlite::remedy(code(source).as_deref()))]
    Database {
        /// The file.
        path: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// The disk failed while the file was created.
    #[error("signing record {path}: {source}; check its directory, its permissions and the free space")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A number that cannot be stored.
    #[error("{what} {value} is larger than a signing record can hold")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// An export that cannot be read.
    #[error("the export cannot be imported: {problem}; nothing of it was; name the unchanged output of `assay-oracle protection export`")]
    Import {
        /// What is wrong.
        problem: String,
    },
}

/// The record, held open exclusively.
pub struct Protection {
    file: PathBuf,
    path: String,
    binding: Binding,
    /// None after it failed and until it can be opened again.
    connection: Mutex<Option<SqliteConnection>>,
}

/// A record as JSON: `assay-oracle protection export`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Export {
    /// 1.
    version: u32,
    /// Compressed, 96 bytes, `0x` and hex.
    public_key: String,
    /// Chain.
    chain_id: u64,
    /// Settlement contract.
    settlement: Address,
    /// Nothing at or below this epoch is signed.
    pruned_through: Option<u64>,
    /// Ascending by kind, epoch, view.
    statements: Vec<ExportedStatement>,
}

/// One line of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExportedStatement {
    /// What was signed.
    kind: StatementKind,
    /// Epoch.
    epoch: u64,
    /// View.
    view: u64,
    /// Its digest; null when records contradicted each other, so that nothing is signed here.
    digest: Option<Hash32>,
}

/// What an import changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportSummary {
    /// Statements that were new.
    pub added: u64,
    /// Statements that were recorded before.
    pub known: u64,
    /// Statements recorded with another digest: the key has probably equivocated. Nothing is signed there again.
    pub contradicted: u64,
    /// Statements at or below the watermark.
    pub pruned: u64,
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

    async fn record(&self) -> Result<Export, ProtectionError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        let pruned_through = self.watermark(&mut tx).await?;
        let rows: Vec<(String, i64, i64, Option<Vec<u8>>)> =
            query_as("SELECT kind, epoch, view, digest FROM statements ORDER BY kind, epoch, view")
                .fetch_all(&mut *tx)
                .await
                .map_err(|source| self.failed(source))?;
        let statements = rows.into_iter().map(|row| self.statement(row)).collect::<Result<_, _>>()?;
        Ok(Export {
            version: EXPORT_VERSION,
            public_key: shown_key(&self.binding.public_key),
            chain_id: self.binding.instance.chain_id,
            settlement: self.binding.instance.settlement,
            pruned_through,
            statements,
        })
    }

    /// The whole record as JSON.
    pub async fn export_json(&self) -> Result<String, ProtectionError> {
        let export = self.record().await?;
        serde_json::to_string_pretty(&export).map_err(|error| damaged(&self.path, &error.to_string()))
    }

    async fn merge_record(&self, export: &Export) -> Result<ImportSummary, ProtectionError> {
        self.check_import(export)?;
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        if let Some(through) = export.pruned_through {
            self.raise_watermark(&mut tx, through).await?;
        }
        let watermark = self.watermark(&mut tx).await?;
        let mut summary = ImportSummary::default();
        for statement in &export.statements {
            let counter = match watermark.is_some_and(|through| statement.epoch <= through) {
                true => &mut summary.pruned,
                false => self.merge(&mut tx, statement, &mut summary).await?,
            };
            *counter = counter.saturating_add(1);
        }
        tx.commit().await.map_err(|source| self.failed(source))?;
        Ok(summary)
    }

    /// Merges an export so that afterwards no more may be signed than under either record. All of it or nothing is imported.
    pub async fn import_json(&self, text: &str) -> Result<ImportSummary, ProtectionError> {
        let export: Export = serde_json::from_str(text).map_err(|error| ProtectionError::Import { problem: error.to_string() })?;
        self.merge_record(&export).await
    }

    /// Closes the file and lets the next process in.
    pub async fn close(self) -> Result<(), ProtectionError> {
        let Some(connection) = self.connection.into_inner() else { return Ok(()) };
        connection.close().await.map_err(|source| classified(&self.path, source))
    }

    fn check_import(&self, export: &Export) -> Result<(), ProtectionError> {
        if export.version != EXPORT_VERSION {
            return Err(ProtectionError::Import { problem: format!("its version is {}, this one reads {EXPORT_VERSION}", export.version) });
        }
        let bytes = decode_hex(&export.public_key).and_then(|bytes| <[u8; 96]>::try_from(bytes).ok());
        let key = bytes.and_then(|bytes| PublicKey::from_compressed(&bytes).ok());
        if key != Some(self.binding.public_key) {
            return Err(ProtectionError::Import {
                problem: format!("it is of key {}, the record of {}", export.public_key, shown_key(&self.binding.public_key)),
            });
        }
        if export.chain_id != self.binding.instance.chain_id || export.settlement != self.binding.instance.settlement {
            return Err(ProtectionError::Import {
                problem: format!("it is for chain {}, settlement {}, which is another instance", export.chain_id, export.settlement),
            });
        }
        Ok(())
    }

    async fn merge<'a>(
        &self,
        tx: &mut Tx<'_>,
        statement: &ExportedStatement,
        summary: &'a mut ImportSummary,
    ) -> Result<&'a mut u64, ProtectionError> {
        let ExportedStatement { kind, epoch, view, digest } = *statement;
        match self.recorded(tx, kind, epoch, view).await? {
            None => {
                self.insert(tx, kind, epoch, view, digest.as_ref()).await?;
                Ok(&mut summary.added)
            }
            Some(recorded) if recorded == digest => Ok(&mut summary.known),
            Some(None) => Ok(&mut summary.contradicted),
            Some(Some(_)) => {
                query("UPDATE statements SET digest = NULL WHERE kind = ? AND epoch = ? AND view = ?")
                    .bind(kind.column())
                    .bind(stored("epoch", epoch)?)
                    .bind(stored("view", view)?)
                    .execute(&mut **tx)
                    .await
                    .map_err(|source| self.failed(source))?;
                Ok(&mut summary.contradicted)
            }
        }
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

    fn statement(&self, (kind, epoch, view, digest): (String, i64, i64, Option<Vec<u8>>)) -> Result<ExportedStatement, ProtectionError> {
        Ok(ExportedStatement {
            kind: StatementKind::from_column(&kind).ok_or_else(|| damaged(&self.path, "an unknown kind"))?,
            epoch: self.loaded(epoch)?,
            view: self.loaded(view)?,
            digest: self.digest(digest)?,
        })
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

fn shown_key(key: &PublicKey) -> String {
    format!("{key:?}")
}

fn damaged(path: &str, problem: &str) -> ProtectionError {
    ProtectionError::Damaged { path: path.to_owned(), problem: problem.to_owned() }
}

fn schema(path: &str, source: MigrateError) -> ProtectionError {
    match source {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => classified(path, source),
        source => ProtectionError::Schema { path: path.to_owned(), source },
    }
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

/// SQLite's result codes: <https://sqlite.org/rescode.html>. The low byte is the primary one.
fn classified(path: &str, source: sqlx::Error) -> ProtectionError {
    let path = path.to_owned();
    let primary = code(&source).and_then(|code| code.parse::<u32>().ok());
    match (primary.map(|code| code & 0xff), &source) {
        // BUSY, LOCKED
        (Some(5 | 6), _) => ProtectionError::Held { path },
        // CORRUPT, NOTADB; ERROR is what a missing table gives
        (Some(1 | 11 | 26), _) => ProtectionError::Damaged { path, problem: source.to_string() },
        (_, sqlx::Error::RowNotFound) => damaged(&path, "it is bound to no key"),
        (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => ProtectionError::Damaged { path, problem: source.to_string() },
        _ => ProtectionError::Database { path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::Arc;

    use assay_core::bls::SecretKey;
    use tempfile::TempDir;

    use super::*;

    const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
    const CHILD_FILE: &str = "ASSAY_TEST_PROTECTION_FILE";
    const CHILD_ACT: &str = "ASSAY_TEST_PROTECTION_ACT";

    fn key(seed: u8) -> PublicKey {
        SecretKey::key_gen(&[seed; 32]).unwrap().public_key()
    }

    fn digest(byte: u8) -> Hash32 {
        Hash32([byte; 32])
    }

    pub(super) async fn fresh() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("protection.sqlite");
        Protection::create(&path, &key(1), &INSTANCE).await.unwrap();
        (directory, path)
    }

    pub(super) async fn open(path: &Path) -> Protection {
        Protection::open(path, &key(1), &INSTANCE).await.unwrap()
    }

    async fn refusal(path: &Path) -> ProtectionError {
        Protection::open(path, &key(1), &INSTANCE).await.err().unwrap()
    }

    /// This test binary again, as another process that runs [`child`] alone.
    fn run_child(path: &Path, act: &str) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signer::protection::tests::child", "--nocapture"])
            .env(CHILD_FILE, path)
            .env(CHILD_ACT, act)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// The other process of the tests below; does nothing when it runs as a test of its own.
    #[tokio::test]
    async fn child() {
        let (Ok(path), Ok(act)) = (std::env::var(CHILD_FILE), std::env::var(CHILD_ACT)) else { return };
        match Protection::open(Path::new(&path), &key(1), &INSTANCE).await {
            Err(error) => println!("refused: {error}"),
            Ok(protection) => {
                println!("opened");
                if act == "record and crash" {
                    protection.check_and_record(StatementKind::Commit, 8, 0, &digest(1)).await.unwrap();
                    println!("recorded");
                    std::process::abort();
                }
            }
        }
    }

    #[tokio::test]
    async fn signing_twice_across_a_crash() {
        let (_directory, path) = fresh().await;
        let said = run_child(&path, "record and crash");
        assert!(said.contains("recorded"), "{said}");
        // The process died after it recorded and before it signed: the digest counts as signed.
        let protection = open(&path).await;
        let error = protection.check_and_record(StatementKind::Commit, 8, 0, &digest(2)).await.unwrap_err();
        assert!(matches!(error, SignerError::WouldEquivocate { recorded, .. } if recorded == digest(1)), "{error}");
        protection.check_and_record(StatementKind::Commit, 8, 0, &digest(1)).await.unwrap();
        protection.check_and_record(StatementKind::BitVote, 8, 0, &digest(2)).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_processes_cannot_hold_one_record() {
        let (_directory, path) = fresh().await;
        let held = open(&path).await;
        let expected = format!("another oracle process holds {}; stop it first", path.display());
        let said = run_child(&path, "open");
        assert!(said.contains(&expected), "{said}");
        // Nor can this process open it twice.
        assert_eq!(refusal(&path).await.to_string(), expected);
        held.check_and_record(StatementKind::Report, 1, 1, &digest(1)).await.unwrap();
        held.close().await.unwrap();
        assert!(run_child(&path, "open").contains("opened"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_different_digests_exactly_one_wins() {
        let (_directory, path) = fresh().await;
        let protection = Arc::new(open(&path).await);
        for view in 0..5 {
            let tasks: Vec<_> = (0..20u8)
                .map(|byte| {
                    let protection = protection.clone();
                    tokio::spawn(
                        async move { protection.check_and_record(StatementKind::Report, 3, view, &digest(byte)).await.map(|()| byte) },
                    )
                })
                .collect();
            let mut winners = Vec::new();
            for task in tasks {
                match task.await.unwrap() {
                    Ok(byte) => winners.push(byte),
                    Err(error) => assert!(matches!(error, SignerError::WouldEquivocate { .. }), "{error}"),
                }
            }
            assert_eq!(winners.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_no_open_transaction() {
        let (_directory, path) = fresh().await;
        let protection = open(&path).await;
        let first = digest(1);
        for polls in 0..12 {
            let mut call = Box::pin(protection.check_and_record(StatementKind::Report, 1, polls, &first));
            for _ in 0..polls {
                let _ = futures::poll!(&mut call);
                tokio::task::yield_now().await;
            }
        }
        protection.check_and_record(StatementKind::Report, 2, 0, &digest(1)).await.unwrap();
        assert!(protection.check_and_record(StatementKind::Report, 2, 0, &digest(2)).await.is_err());
    }

    #[tokio::test]
    async fn a_missing_record_is_never_made_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("protection.sqlite");
        let error = refusal(&path).await;
        assert!(matches!(error, ProtectionError::Missing { .. }));
        assert!(error.to_string().contains("protection init") && error.to_string().contains("protection import"));
        assert!(!path.exists());
        File::create(&path).unwrap();
        assert!(matches!(refusal(&path).await, ProtectionError::Damaged { .. }));
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_record_is_never_overwritten() {
        let (_directory, path) = fresh().await;
        let error = Protection::create(&path, &key(1), &INSTANCE).await.unwrap_err();
        assert!(matches!(error, ProtectionError::Exists { .. }), "{error}");
        // What an interrupted creation left behind does no harm.
        let other = path.with_file_name("other.sqlite");
        fs::write(path.with_file_name("other.sqlite.new"), b"half").unwrap();
        Protection::create(&other, &key(1), &INSTANCE).await.unwrap();
        open(&other).await;
        assert!(!path.with_file_name("other.sqlite.new").exists());
    }

    #[tokio::test]
    async fn another_key_or_instance_is_refused() {
        let (_directory, path) = fresh().await;
        let error = Protection::open(&path, &key(2), &INSTANCE).await.err().unwrap();
        assert!(matches!(error, ProtectionError::Foreign { chain_id: 31_337, .. }), "{error}");
        let elsewhere = Instance { chain_id: 1, ..INSTANCE };
        let error = Protection::open(&path, &key(1), &elsewhere).await.err().unwrap();
        assert!(matches!(error, ProtectionError::Foreign { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_as_such() {
        let (_directory, path) = fresh().await;
        let protection = open(&path).await;
        for epoch in 0..400 {
            protection.check_and_record(StatementKind::Report, epoch, 0, &digest(1)).await.unwrap();
        }
        protection.close().await.unwrap();
        let whole = fs::read(&path).unwrap();

        let mut torn = whole.clone();
        torn.truncate(whole.len() / 2);
        let mut scribbled = whole.clone();
        let half = whole.len() / 2;
        scribbled[half..half + 4096].fill(0x5a);
        for bytes in [b"not a database, but long enough to have a header that is read".repeat(20), torn, scribbled] {
            fs::write(&path, bytes).unwrap();
            let error = refusal(&path).await;
            assert!(matches!(error, ProtectionError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
        fs::write(&path, whole).unwrap();
        open(&path).await;
    }

    #[tokio::test]
    async fn pruned_epochs_are_closed() {
        let (_directory, path) = fresh().await;
        let protection = open(&path).await;
        protection.check_and_record(StatementKind::Commit, 4, 0, &digest(1)).await.unwrap();
        protection.check_and_record(StatementKind::Commit, 6, 0, &digest(1)).await.unwrap();
        protection.prune(5).await.unwrap();
        protection.prune(2).await.unwrap();
        for epoch in 0..=5 {
            let error = protection.check_and_record(StatementKind::Commit, epoch, 0, &digest(1)).await.unwrap_err();
            assert!(matches!(error, SignerError::Pruned { through: 5, .. }), "{error}");
        }
        assert!(protection.check_and_record(StatementKind::Commit, 6, 0, &digest(2)).await.is_err());
        assert_eq!(protection.record().await.unwrap().statements.len(), 1);
    }

    #[tokio::test]
    async fn an_import_leaves_nothing_more_to_sign() {
        let (_directory, path) = fresh().await;
        let (_other_directory, other_path) = fresh().await;
        let (ours, theirs) = (open(&path).await, open(&other_path).await);
        for (protection, epoch, byte) in [(&ours, 5, 1), (&theirs, 5, 1), (&ours, 6, 1), (&theirs, 6, 2), (&theirs, 7, 3), (&ours, 2, 1)] {
            protection.check_and_record(StatementKind::Commit, epoch, 0, &digest(byte)).await.unwrap();
        }
        theirs.prune(3).await.unwrap();
        let text = theirs.export_json().await.unwrap();
        let summary = ours.import_json(&text).await.unwrap();
        assert_eq!(summary, ImportSummary { added: 1, known: 1, contradicted: 1, pruned: 0 });

        assert!(matches!(
            ours.check_and_record(StatementKind::Commit, 2, 0, &digest(1)).await,
            Err(SignerError::Pruned { through: 3, .. })
        ));
        ours.check_and_record(StatementKind::Commit, 5, 0, &digest(1)).await.unwrap();
        for byte in [1, 2] {
            let error = ours.check_and_record(StatementKind::Commit, 6, 0, &digest(byte)).await.unwrap_err();
            assert!(matches!(error, SignerError::Blocked { epoch: 6, .. }), "{error}");
        }
        assert!(matches!(
            ours.check_and_record(StatementKind::Commit, 7, 0, &digest(1)).await,
            Err(SignerError::WouldEquivocate { recorded, .. }) if recorded == digest(3)
        ));
        // Contradictions travel on, and importing again changes nothing.
        let merged = ours.record().await.unwrap();
        assert_eq!(ours.merge_record(&merged).await.unwrap(), ImportSummary { known: 3, ..ImportSummary::default() });
        assert_eq!(ours.record().await.unwrap(), merged);
        assert_eq!(theirs.merge_record(&merged).await.unwrap().contradicted, 1);
        assert_eq!(theirs.record().await.unwrap(), merged);
    }

    #[tokio::test]
    async fn a_foreign_or_unreadable_import_is_refused_whole() {
        let (_directory, path) = fresh().await;
        let protection = open(&path).await;
        let mut export = protection.record().await.unwrap();
        export.statements = vec![ExportedStatement { kind: StatementKind::Report, epoch: 1, view: 0, digest: Some(digest(1)) }];
        let foreign = [
            Export { public_key: shown_key(&key(2)), ..export.clone() },
            Export { public_key: "0x00".into(), ..export.clone() },
            Export { chain_id: 1, ..export.clone() },
            Export { settlement: Address([8; 20]), ..export.clone() },
            Export { version: 2, ..export.clone() },
        ];
        for foreign in foreign {
            assert!(matches!(protection.merge_record(&foreign).await, Err(ProtectionError::Import { .. })));
        }
        export.statements.push(ExportedStatement { epoch: u64::MAX, ..export.statements[0] });
        assert!(matches!(protection.merge_record(&export).await, Err(ProtectionError::TooLarge { what: "epoch", .. })));
        for text in ["", "{}", "[1]"] {
            assert!(matches!(protection.import_json(text).await, Err(ProtectionError::Import { .. })));
        }
        assert!(protection.record().await.unwrap().statements.is_empty());
    }
}
