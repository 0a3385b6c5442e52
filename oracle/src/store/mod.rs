//! What a node must not lose. Each method is one whole use case and one transaction; when it returns, the data survives a crash.

mod audits;
mod claims;
mod sqlite;

use std::borrow::Cow;

use assay_core::claim::ClaimSet;
use assay_core::epoch::Offence;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::report::{Outcome, StoredDigest};
use assay_daemon::sqlite::remedy;
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

pub use audits::{AuditStore, ClaimAge, ClaimVersion, PLANS_KEPT_EPOCHS, Plan, Planned, ProviderAge, Samples, Tally};
pub use sqlite::SqliteStore;

/// A claim set that was of use in none of so many epochs is forgotten.
pub const CLAIMS_KEPT_EPOCHS: u64 = 64;

/// Why the store failed. Bad requests are impossible by type; what is left is the disk or our own bug.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened, read or written.
    #[error("database {path}: {source}; {}", remedy(code(source).as_deref()))]
    Database {
        /// The file.
        path: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Another node keeps its data beside it.
    #[error("database {path} is used by another node; stop that node, or give this one a data_dir of its own")]
    Held {
        /// The file.
        path: String,
    },
    /// The lock beside it could not be taken.
    #[error("{path}: {source}; give this user write permission in data_dir")]
    Lock {
        /// The lock file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its schema is not this version's.
    #[error("database {path}: {source}; it was written by another version of assay-oracle: use that version, or restore a backup")]
    Schema {
        /// The file.
        path: String,
        /// What the migrator says.
        source: MigrateError,
    },
    /// A row does not parse.
    #[error("database {path} holds a malformed {what}: restore a backup, and keep the file for the developers")]
    Malformed {
        /// The file.
        path: String,
        /// Which document.
        what: &'static str,
    },
}

impl StoreError {
    /// A migration that the database failed is the database's trouble, not another version's schema.
    fn migration(path: String, source: MigrateError) -> Self {
        match source {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => Self::Database { path, source },
            source => Self::Schema { path, source },
        }
    }
}

/// SQLite's result code.
fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

/// An input of the committee protocol as it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredInput {
    /// Unix ms of the first arrival.
    pub received_ms: u64,
    /// The encoded message.
    pub message: Vec<u8>,
}

/// One bundle of transcripts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidenceBundle {
    /// BLAKE3 of the bytes.
    pub digest: Hash32,
    /// Epoch.
    pub epoch: u64,
    /// Slot.
    pub slot: u32,
    /// Whom it is about.
    pub provider: ProviderId,
    /// Encoded transcripts.
    pub bundle: Vec<u8>,
}

/// A certified epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertifiedEpoch {
    /// The encoded certificate.
    pub certificate: Vec<u8>,
    /// Everything under the report's roots.
    pub outcome: Outcome,
}

/// What the chain says of an epoch's report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptedEpoch {
    /// Epoch.
    pub epoch: u64,
    /// Report digest.
    pub digest: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Block number.
    pub block_number: u64,
    /// Gas of the transaction.
    pub gas_used: u64,
}

/// A proof that a member broke the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredProof {
    /// Epoch.
    pub epoch: u64,
    /// Of whom.
    pub oracle: OracleId,
    /// Of what.
    pub offence: Offence,
    /// The encoded message.
    pub proof: Vec<u8>,
}

/// The node's memory. Writes are durable and atomic when they return, in the order of the calls; the caller retries nothing.
#[async_trait]
pub trait Store: AuditStore + Send + Sync {
    /// Appends an input. `false` if this very message is stored already: the first arrival time stays.
    async fn append_input(&self, epoch: u64, received_ms: u64, message: &[u8]) -> Result<bool, StoreError>;
    /// All inputs of an epoch in order of arrival.
    async fn inputs(&self, epoch: u64) -> Result<Vec<StoredInput>, StoreError>;
    /// The inputs of an epoch that are no larger than this, in order of arrival.
    async fn small_inputs(&self, epoch: u64, max_bytes: usize) -> Result<Vec<StoredInput>, StoreError>;
    /// Stores a bundle of transcripts; storing it twice changes nothing.
    async fn put_evidence(&self, evidence: &EvidenceBundle) -> Result<(), StoreError>;
    /// A bundle by its digest.
    async fn evidence(&self, digest: &Hash32) -> Result<Option<EvidenceBundle>, StoreError>;
    /// All bundles of an epoch about one provider, by slot and order of storing.
    async fn evidence_about(&self, epoch: u64, provider: ProviderId) -> Result<Vec<EvidenceBundle>, StoreError>;
    /// Keeps a claim set for this epoch and [`CLAIMS_KEPT_EPOCHS`] more; sets whose time is over are forgotten in the same step, unless they
    /// are the ones that providers' next sets are compared with. Keeping it again only prolongs it.
    async fn put_claims(&self, epoch: u64, claims: &ClaimSet) -> Result<(), StoreError>;
    /// The claim set with this root, if it is kept.
    async fn claims(&self, root: &Hash32) -> Result<Option<ClaimSet>, StoreError>;
    /// Digest and length of all bundles of an epoch about one provider, in the same order, without their bytes.
    async fn evidence_list(&self, epoch: u64, provider: ProviderId) -> Result<Vec<(Hash32, u64)>, StoreError>;
    /// Keeps a report that is about to be signed; keeping it twice changes nothing.
    async fn put_candidate(&self, outcome: &Outcome) -> Result<(), StoreError>;
    /// A report that was signed here or certified, by the digest that the contract keeps.
    async fn reported(&self, epoch: u64, digest: &StoredDigest) -> Result<Option<Outcome>, StoreError>;
    /// Stores a certified epoch; the latest certificate of an epoch stays.
    async fn put_outcome(&self, epoch: u64, certified: &CertifiedEpoch) -> Result<(), StoreError>;
    /// A certified epoch.
    async fn outcome(&self, epoch: u64) -> Result<Option<CertifiedEpoch>, StoreError>;
    /// Epochs with a certified report, descending, at most `limit`.
    async fn certified_epochs(&self, limit: u32) -> Result<Vec<u64>, StoreError>;
    /// Records what the chain accepted, once it is final.
    async fn put_accepted(&self, accepted: &AcceptedEpoch) -> Result<(), StoreError>;
    /// What the chain accepted for an epoch.
    async fn accepted(&self, epoch: u64) -> Result<Option<AcceptedEpoch>, StoreError>;
    /// Keeps a proof of misbehaviour; the first of its kind, member and epoch stays.
    async fn put_proof(&self, proof: &StoredProof) -> Result<(), StoreError>;
    /// All proofs of an epoch, by oracle and offence.
    async fn proofs(&self, epoch: u64) -> Result<Vec<StoredProof>, StoreError>;
}
