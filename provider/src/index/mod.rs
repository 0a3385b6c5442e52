//! The SQLite index: proposals, claims, every signed version of the claim set, and what is known about the disk.
//!
//! Of claims it holds nothing that the log of claim sets does not hold too ([`crate::log`]).

mod claims;
mod health;
mod keys;
mod proposals;

pub use claims::ReleasedClaim;
pub use health::{Block, ScrubRun};

use std::path::Path;
use std::time::Duration;

use assay_core::claim::{Claim, ClaimDomain, ClaimRoot, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::secp::Signature65;
use assay_daemon::sqlite;
use assay_proto::provider::v1 as wire;
use prost::Message;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};

use crate::error::StoreError;

/// The index. A write is durable when its call returns.
#[derive(Clone, Debug)]
pub struct Index {
    pool: SqlitePool,
}

/// A claim with its owner's signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedClaim {
    /// The claim.
    pub claim: Claim,
    /// By its owner (`assay.claim.v1`).
    pub signature: Signature65,
}

type SetRow = (i64, Vec<u8>, i64, i64, Vec<u8>);

impl Index {
    /// Waits for writes under way and closes the file. Nothing can be asked afterwards.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Opens, creates and migrates.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = sqlite::pool_options().max_connections(4).connect_with(options).await?;
        sqlx::migrate!("../migrations/provider").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Binds the index to a provider, or checks that it is bound to this one.
    pub async fn bind(&self, domain: &ClaimDomain) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO identity VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(small(domain.provider.0, "provider_id")?)
            .bind(small(domain.chain_id, "chain_id")?)
            .bind(&domain.provider_registry.0[..])
            .execute(&self.pool)
            .await?;
        let (provider, chain_id, registry): (i64, i64, Vec<u8>) =
            sqlx::query_as("SELECT provider_id, chain_id, provider_registry FROM identity").fetch_one(&self.pool).await?;
        let (provider, chain_id) = (provider.cast_unsigned(), chain_id.cast_unsigned());
        let same = provider == domain.provider.0 && chain_id == domain.chain_id && registry == domain.provider_registry.0;
        match same {
            true => Ok(()),
            false => Err(StoreError::OtherIdentity { provider, chain_id }),
        }
    }

    /// The newest signed set.
    pub async fn newest(&self) -> Result<Option<SignedClaimSet>, StoreError> {
        let row: Option<SetRow> =
            sqlx::query_as("SELECT sequence, root, blocks, count, signature FROM claim_set ORDER BY sequence DESC LIMIT 1")
                .fetch_optional(&self.pool)
                .await?;
        row.map(read_set).transpose()
    }

    /// One signed set.
    pub async fn set(&self, sequence: u64) -> Result<Option<SignedClaimSet>, StoreError> {
        let row: Option<SetRow> = sqlx::query_as("SELECT sequence, root, blocks, count, signature FROM claim_set WHERE sequence = ?")
            .bind(small(sequence, "sequence")?)
            .fetch_optional(&self.pool)
            .await?;
        row.map(read_set).transpose()
    }

    /// The newest version that has this root.
    pub async fn sequence_of(&self, root: &ClaimRoot) -> Result<Option<u64>, StoreError> {
        let Ok(blocks) = i64::try_from(root.blocks) else { return Ok(None) };
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT sequence FROM claim_set WHERE root = ? AND blocks = ? ORDER BY sequence DESC LIMIT 1")
                .bind(&root.hash.0[..])
                .bind(blocks)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(sequence,)| sequence.cast_unsigned()))
    }
}

/// SQLite's integers have 63 bits.
pub fn small(value: u64, name: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::TooLarge(name))
}

fn encode(owned: &OwnedClaim) -> Vec<u8> {
    wire::SignedClaim::new(&owned.claim, &owned.signature).encode_to_vec()
}

fn decode(bytes: &[u8]) -> Result<OwnedClaim, StoreError> {
    let message = wire::SignedClaim::decode(bytes).map_err(|_| StoreError::Damaged("signed_claim"))?;
    let (claim, signature) = message.parse().map_err(|_| StoreError::Damaged("signed_claim"))?;
    Ok(OwnedClaim { claim, signature })
}

fn read_hash(bytes: &[u8]) -> Result<Hash32, StoreError> {
    Hash32::from_slice(bytes).ok_or(StoreError::Damaged("hash"))
}

fn read_signature(bytes: &[u8]) -> Result<Signature65, StoreError> {
    Signature65::from_slice(bytes).map_err(|_| StoreError::Damaged("signature"))
}

/// As the tables keep it.
fn tag_key_id(claim: &Claim) -> Option<Vec<u8>> {
    Some(claim.tag_key_id).filter(|id| !id.is_zero()).map(|id| id.0.to_vec())
}

fn read_set((sequence, root, blocks, count, signature): SetRow) -> Result<SignedClaimSet, StoreError> {
    Ok(SignedClaimSet {
        sequence: sequence.cast_unsigned(),
        root: ClaimRoot { hash: read_hash(&root)?, blocks: blocks.cast_unsigned() },
        count: count.cast_unsigned(),
        signature: read_signature(&signature)?,
    })
}
