//! [`Store`] on SQLite: one writer connection, `synchronous=FULL`, WAL, one process.

mod audits;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assay_core::claim::ClaimSet;
use assay_core::epoch::Offence;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::report::{Outcome, StoredDigest};
use assay_daemon::persistence::{Write, durable};
use assay_daemon::sqlite;
use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, query};
use tokio::time::Instant;

use super::{AcceptedEpoch, CLAIMS_KEPT_EPOCHS, CertifiedEpoch, EvidenceBundle, Store, StoreError, StoredInput, StoredProof, claims};

/// The node's database file.
#[derive(Clone)]
pub struct SqliteStore {
    path: String,
    pool: SqlitePool,
    /// WAL lets several processes write side by side; two nodes on one file would mix their epochs.
    _lock: Arc<File>,
}

/// A restart may overlap a little with the process that ends.
const LOCK_WAIT: Duration = Duration::from_secs(1);

impl SqliteStore {
    /// Opens or creates the file, brings its schema up to this version, and keeps other nodes out until the store is dropped.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let lock = Arc::new(lock(path).await?);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let database = |source| StoreError::Database { path: shown.clone(), source };
        let pool = sqlite::pool_options().max_connections(1).connect_with(options).await.map_err(&database)?;
        sqlx::migrate!("../migrations/sqlite").run(&pool).await.map_err(|source| StoreError::migration(shown.clone(), source))?;
        // A file that can only be read opens like any other: without this its first write fails in the middle of an epoch.
        query("DELETE FROM inputs WHERE FALSE").execute(&pool).await.map_err(&database)?;
        Ok(Self { path: shown, pool, _lock: lock })
    }

    /// The pool, for the transaction outbox that shares the file.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    async fn write(&self, kind: Write, query: Query<'_, Sqlite, SqliteArguments>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await.map_err(|error| self.failed(error))?;
        let done = query.execute(&mut *tx).await.map_err(|error| self.failed(error))?;
        // What is stored already passes no point.
        let committed = if done.rows_affected() > 0 { durable(kind, tx.commit()).await } else { tx.commit().await };
        committed.map_err(|error| self.failed(error))
    }

    fn malformed(&self, what: &'static str) -> StoreError {
        StoreError::Malformed { path: self.path.clone(), what }
    }

    fn hash(&self, bytes: &[u8]) -> Result<Hash32, StoreError> {
        Hash32::from_slice(bytes).ok_or_else(|| self.malformed("digest"))
    }

    fn bundle(&self, row: &SqliteRow) -> Result<EvidenceBundle, StoreError> {
        Ok(EvidenceBundle {
            digest: self.hash(row.get(0))?,
            epoch: unsigned(row.get(1)),
            slot: u32::try_from(row.get::<i64, _>(2)).map_err(|_| self.malformed("slot"))?,
            provider: ProviderId(unsigned(row.get(3))),
            bundle: row.get(4),
        })
    }
}

/// Takes the lock of the file's directory entry: `node.lock` beside `node.sqlite`.
async fn lock(database: &Path) -> Result<File, StoreError> {
    let path = database.with_extension("lock");
    let failed = |source| StoreError::Lock { path: path.display().to_string(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let given_up = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() >= given_up => {
                return Err(StoreError::Held { path: database.display().to_string() });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_WAIT / 20).await,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Counters are stored as SQLite's signed integers; a CHECK keeps them non-negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    async fn append_input(&self, epoch: u64, received_ms: u64, message: &[u8]) -> Result<bool, StoreError> {
        let digest = blake3::hash(message);
        let result =
            query("INSERT INTO inputs (epoch, received_ms, digest, message) VALUES (?, ?, ?, ?) ON CONFLICT (epoch, digest) DO NOTHING")
                .bind(signed(epoch))
                .bind(signed(received_ms))
                .bind(digest.as_bytes().as_slice())
                .bind(message)
                .execute(&self.pool)
                .await
                .map_err(|error| self.failed(error))?;
        Ok(result.rows_affected() == 1)
    }

    async fn inputs(&self, epoch: u64) -> Result<Vec<StoredInput>, StoreError> {
        let rows = query("SELECT received_ms, message FROM inputs WHERE epoch = ? ORDER BY sequence")
            .bind(signed(epoch))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| StoredInput { received_ms: unsigned(row.get(0)), message: row.get(1) }).collect())
    }

    async fn small_inputs(&self, epoch: u64, max_bytes: usize) -> Result<Vec<StoredInput>, StoreError> {
        let rows = query("SELECT received_ms, message FROM inputs WHERE epoch = ? AND length(message) <= ? ORDER BY sequence")
            .bind(signed(epoch))
            .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| StoredInput { received_ms: unsigned(row.get(0)), message: row.get(1) }).collect())
    }

    async fn put_evidence(&self, evidence: &EvidenceBundle) -> Result<(), StoreError> {
        let row =
            query("INSERT INTO evidence (digest, epoch, slot, provider, bundle) VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING")
                .bind(evidence.digest.as_bytes().as_slice())
                .bind(signed(evidence.epoch))
                .bind(i64::from(evidence.slot))
                .bind(signed(evidence.provider.0))
                .bind(&evidence.bundle);
        self.write(Write::EVIDENCE, row).await
    }

    async fn evidence(&self, digest: &Hash32) -> Result<Option<EvidenceBundle>, StoreError> {
        let row = query("SELECT digest, epoch, slot, provider, bundle FROM evidence WHERE digest = ?")
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        row.as_ref().map(|row| self.bundle(row)).transpose()
    }

    async fn evidence_about(&self, epoch: u64, provider: ProviderId) -> Result<Vec<EvidenceBundle>, StoreError> {
        let rows =
            query("SELECT digest, epoch, slot, provider, bundle FROM evidence WHERE epoch = ? AND provider = ? ORDER BY slot, rowid")
                .bind(signed(epoch))
                .bind(signed(provider.0))
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| self.bundle(row)).collect()
    }

    async fn evidence_list(&self, epoch: u64, provider: ProviderId) -> Result<Vec<(Hash32, u64)>, StoreError> {
        let rows = query("SELECT digest, length(bundle) FROM evidence WHERE epoch = ? AND provider = ? ORDER BY slot, rowid")
            .bind(signed(epoch))
            .bind(signed(provider.0))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| Ok((self.hash(row.get(0))?, unsigned(row.get(1))))).collect()
    }

    async fn put_claims(&self, epoch: u64, claims: &ClaimSet) -> Result<(), StoreError> {
        let failed = |error| self.failed(error);
        let root = claims.root();
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let prolonged = query("UPDATE claim_sets SET epoch = max(epoch, ?) WHERE root = ? AND blocks = ?")
            .bind(signed(epoch))
            .bind(root.hash.as_bytes().as_slice())
            .bind(signed(root.blocks))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if prolonged.rows_affected() == 0 {
            query("INSERT INTO claim_sets (root, blocks, epoch, claims) VALUES (?, ?, ?, ?)")
                .bind(root.hash.as_bytes().as_slice())
                .bind(signed(root.blocks))
                .bind(signed(epoch))
                .bind(claims::encode(claims))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        query("DELETE FROM claim_sets WHERE epoch < ? AND root NOT IN (SELECT root FROM accepted_claims)")
            .bind(signed(epoch.saturating_sub(CLAIMS_KEPT_EPOCHS)))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn claims(&self, root: &Hash32) -> Result<Option<ClaimSet>, StoreError> {
        let row = query("SELECT claims FROM claim_sets WHERE root = ?")
            .bind(root.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let Some(row) = row else { return Ok(None) };
        let bytes: Vec<u8> = row.get(0);
        // A million claims take seconds to hash: not on a thread that probes.
        let set = tokio::task::spawn_blocking(move || claims::decode(&bytes)).await.ok().flatten();
        set.filter(|set| set.root().hash == *root).map(Some).ok_or_else(|| self.malformed("claim set"))
    }

    async fn put_candidate(&self, outcome: &Outcome) -> Result<(), StoreError> {
        let text = serde_json::to_string(outcome).map_err(|_| self.malformed("outcome"))?;
        let row = query("INSERT INTO candidates (digest, epoch, outcome) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING")
            .bind(outcome.ledger.digest.as_bytes().as_slice())
            .bind(signed(outcome.report.epoch))
            .bind(text);
        self.write(Write::CANDIDATE, row).await
    }

    async fn reported(&self, epoch: u64, digest: &StoredDigest) -> Result<Option<Outcome>, StoreError> {
        let rows = query(
            "SELECT digest, outcome FROM candidates WHERE epoch = ?1 UNION ALL SELECT digest, outcome FROM outcomes WHERE epoch = ?1",
        )
        .bind(signed(epoch))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        let found = rows.iter().find(|row| Hash32::from_slice(row.get(0)).is_some_and(|full| digest.is_of(&full)));
        found.map(|row| serde_json::from_str(row.get(1)).map_err(|_| self.malformed("outcome"))).transpose()
    }

    async fn put_outcome(&self, epoch: u64, certified: &CertifiedEpoch) -> Result<(), StoreError> {
        let outcome = serde_json::to_string(&certified.outcome).map_err(|_| self.malformed("outcome"))?;
        let row = query(
            "INSERT INTO outcomes (epoch, digest, certificate, outcome) VALUES (?, ?, ?, ?)
             ON CONFLICT (epoch) DO UPDATE SET digest = excluded.digest, certificate = excluded.certificate, outcome = excluded.outcome",
        )
        .bind(signed(epoch))
        .bind(certified.outcome.ledger.digest.as_bytes().as_slice())
        .bind(&certified.certificate)
        .bind(outcome);
        self.write(Write::OUTCOME, row).await
    }

    async fn outcome(&self, epoch: u64) -> Result<Option<CertifiedEpoch>, StoreError> {
        let row = query("SELECT certificate, outcome FROM outcomes WHERE epoch = ?")
            .bind(signed(epoch))
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        row.map(|row| {
            let outcome = serde_json::from_str(row.get(1)).map_err(|_| self.malformed("outcome"))?;
            Ok(CertifiedEpoch { certificate: row.get(0), outcome })
        })
        .transpose()
    }

    async fn certified_epochs(&self, limit: u32) -> Result<Vec<u64>, StoreError> {
        let rows = query("SELECT epoch FROM outcomes ORDER BY epoch DESC LIMIT ?")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| unsigned(row.get(0))).collect())
    }

    async fn put_accepted(&self, accepted: &AcceptedEpoch) -> Result<(), StoreError> {
        let row = query(
            "INSERT INTO accepted (epoch, digest, tx_hash, block_number, gas_used) VALUES (?, ?, ?, ?, ?) ON CONFLICT (epoch) DO NOTHING",
        )
        .bind(signed(accepted.epoch))
        .bind(accepted.digest.as_bytes().as_slice())
        .bind(accepted.tx_hash.as_bytes().as_slice())
        .bind(signed(accepted.block_number))
        .bind(signed(accepted.gas_used));
        self.write(Write::ACCEPTED, row).await
    }

    async fn accepted(&self, epoch: u64) -> Result<Option<AcceptedEpoch>, StoreError> {
        let row = query("SELECT digest, tx_hash, block_number, gas_used FROM accepted WHERE epoch = ?")
            .bind(signed(epoch))
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        row.map(|row| {
            Ok(AcceptedEpoch {
                epoch,
                digest: self.hash(row.get(0))?,
                tx_hash: self.hash(row.get(1))?,
                block_number: unsigned(row.get(2)),
                gas_used: unsigned(row.get(3)),
            })
        })
        .transpose()
    }

    async fn put_proof(&self, proof: &StoredProof) -> Result<(), StoreError> {
        query(
            "INSERT INTO misbehaviour (epoch, oracle, offence, proof) VALUES (?, ?, ?, ?) ON CONFLICT (epoch, oracle, offence) DO NOTHING",
        )
        .bind(signed(proof.epoch))
        .bind(signed(proof.oracle.0))
        .bind(proof.offence.name())
        .bind(&proof.proof)
        .execute(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn proofs(&self, epoch: u64) -> Result<Vec<StoredProof>, StoreError> {
        let rows = query("SELECT oracle, offence, proof FROM misbehaviour WHERE epoch = ? ORDER BY oracle, offence")
            .bind(signed(epoch))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let proof = |row: &SqliteRow| {
            let name: &str = row.get(1);
            let offence = Offence::ALL.into_iter().find(|offence| offence.name() == name).ok_or_else(|| self.malformed("offence"))?;
            Ok(StoredProof { epoch, oracle: OracleId(unsigned(row.get(0))), offence, proof: row.get(2) })
        };
        rows.iter().map(proof).collect()
    }
}
