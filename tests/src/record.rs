//! What an oracle that does not run has left on its disk: its evidence, the statements in its log, and its record of what it signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_oracle::signer::StatementKind;
use assay_proto::oracle_convert::{LogEntry, Message};
use serde::Deserialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, query_as};
use tokio::process::Command;

use crate::binaries;

/// What can be signed once only: who, which kind, epoch, view (0 but for reports).
pub type Place = (OracleId, StatementKind, u64, u64);

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The database.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The driver's word.
        source: sqlx::Error,
    },
    /// Something in it does not parse.
    #[error("{}: {what} does not parse", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// `assay-oracle protection export` failed.
    #[error("the signing record cannot be exported: {0}")]
    Export(String),
}

/// Every statement that can be made once only, with its digests: from the logs of all these oracles and from their own signing records. More
/// than one digest means that somebody signed twice. The oracles must not run.
pub async fn all_statements(
    oracles: &[(OracleId, PathBuf)],
    instance: &Instance,
) -> Result<BTreeMap<Place, BTreeSet<Hash32>>, RecordError> {
    let mut all: BTreeMap<Place, BTreeSet<Hash32>> = BTreeMap::new();
    for (oracle, dir) in oracles {
        let record = Record::of(dir);
        for (place, digest) in record.statements(instance).await?.into_iter().chain(record.signed(*oracle).await?) {
            all.entry(place).or_default().insert(digest);
        }
    }
    Ok(all)
}

/// The directory of an oracle of the devnet.
#[derive(Clone, Debug)]
pub struct Record {
    dir: PathBuf,
}

impl Record {
    /// Of the oracle whose config and data lie in `dir`. Read it only while the oracle does not run.
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// All bundles by their digests, as a node that starts now would find them. The files stay as they are: a copy is opened, so that what
    /// a crash left is recovered in the copy alone.
    pub async fn evidence(&self) -> Result<BTreeMap<Hash32, Vec<u8>>, RecordError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self.rows("SELECT digest, bundle FROM evidence").await?;
        rows.into_iter().map(|(digest, bundle)| Ok((self.hash(&digest)?, bundle))).collect()
    }

    /// Every statement in the log of inputs that can be made once only, our own and the peers', also those that came inside a proposal.
    pub async fn statements(&self, instance: &Instance) -> Result<Vec<(Place, Hash32)>, RecordError> {
        let rows: Vec<(Vec<u8>,)> = self.rows("SELECT message FROM inputs ORDER BY sequence").await?;
        let mut found = Vec::new();
        for (message,) in rows {
            match LogEntry::decode(&message) {
                Ok(LogEntry::Received(message)) => found.extend(once_only(&message, instance)),
                Ok(LogEntry::Own(..)) => {}
                Err(_) => return Err(self.malformed("an input")),
            }
        }
        Ok(found)
    }

    /// Epochs whose commit of `oracle` lies in the log by itself, not inside a proposal.
    pub async fn commits_of(&self, oracle: OracleId) -> Result<BTreeSet<u64>, RecordError> {
        let rows: Vec<(Vec<u8>,)> = self.rows("SELECT message FROM inputs ORDER BY sequence").await?;
        let mut epochs = BTreeSet::new();
        for (message,) in rows {
            if let LogEntry::Received(Message::Commit(signed)) = LogEntry::decode(&message).map_err(|_| self.malformed("an input"))?
                && signed.commit.oracle == oracle
            {
                epochs.insert(signed.commit.epoch);
            }
        }
        Ok(epochs)
    }

    /// What came in and what was said, each with its unix ms, in order. A statement of its own has the time of what led to it.
    pub async fn arrivals(&self) -> Result<Vec<(u64, Message)>, RecordError> {
        let rows: Vec<(i64, Vec<u8>)> = self.rows("SELECT received_ms, message FROM inputs ORDER BY sequence").await?;
        let mut arrivals = Vec::new();
        for (received_ms, message) in rows {
            let received_ms = u64::try_from(received_ms).map_err(|_| self.malformed("a time"))?;
            if let LogEntry::Received(message) = LogEntry::decode(&message).map_err(|_| self.malformed("an input"))? {
                arrivals.push((received_ms, message));
            }
        }
        Ok(arrivals)
    }

    /// The export of the record of what the verdict key signed.
    pub async fn signed(&self, oracle: OracleId) -> Result<BTreeMap<Place, Hash32>, RecordError> {
        let config = self.dir.join("oracle.toml");
        let output = Command::new(binaries::path("assay-oracle")).args(["protection", "export", "--config"]).arg(&config).output().await;
        let output = output.map_err(|source| RecordError::File { path: binaries::path("assay-oracle"), source })?;
        if !output.status.success() {
            return Err(RecordError::Export(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let export: Export = serde_json::from_slice(&output.stdout).map_err(|error| RecordError::Export(error.to_string()))?;
        let place = |signed: Signed| ((oracle, signed.kind, signed.epoch, signed.view), signed.digest);
        Ok(export.statements.into_iter().map(place).collect())
    }

    async fn rows<T>(&self, sql: &'static str) -> Result<Vec<T>, RecordError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
    {
        let data = self.dir.join("data");
        let file_error = |source| RecordError::File { path: data.clone(), source };
        let copy = tempfile::tempdir().map_err(file_error)?;
        for name in ["node.sqlite", "node.sqlite-wal"] {
            match fs::copy(data.join(name), copy.path().join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(file_error(source)),
                _ => {}
            }
        }
        let failed = |source| RecordError::Database { path: data.join("node.sqlite"), source };
        let options = SqliteConnectOptions::new().filename(copy.path().join("node.sqlite"));
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let rows = query_as(sql).fetch_all(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(rows)
    }

    fn hash(&self, bytes: &[u8]) -> Result<Hash32, RecordError> {
        Hash32::from_slice(bytes).ok_or_else(|| self.malformed("a digest"))
    }

    fn malformed(&self, what: &'static str) -> RecordError {
        RecordError::Malformed { path: self.dir.clone(), what }
    }
}

#[derive(Deserialize)]
struct Export {
    statements: Vec<Signed>,
}

#[derive(Deserialize)]
struct Signed {
    kind: StatementKind,
    epoch: u64,
    view: u64,
    digest: Hash32,
}

fn once_only(message: &Message, instance: &Instance) -> Vec<(Place, Hash32)> {
    let of_commit = |signed: &assay_core::observation::SignedCommit| {
        ((signed.commit.oracle, StatementKind::Commit, signed.commit.epoch, 0), signed.commit.digest(instance))
    };
    let of_vote = |signed: &assay_core::epoch::SignedBitVote| {
        ((signed.vote.oracle, StatementKind::BitVote, signed.vote.epoch, 0), signed.vote.digest(instance))
    };
    match message {
        Message::Commit(signed) => vec![of_commit(signed)],
        Message::BitVote(signed) => vec![of_vote(signed)],
        Message::Signature(signed) => vec![((signed.oracle, StatementKind::Report, signed.epoch, signed.view), signed.digest)],
        Message::Proposal(proposal) => {
            let own = ((proposal.leader, StatementKind::Report, proposal.epoch, proposal.view), proposal.report_digest);
            let basis = &proposal.basis;
            basis.commits.iter().map(of_commit).chain(basis.bit_votes.iter().map(of_vote)).chain([own]).collect()
        }
        Message::Reveal(_) | Message::Wish(_) | Message::Certificate(_) | Message::Misbehaviour(_) => Vec::new(),
    }
}
