//! The SQLite index: proposals, claims and every signed version of the claim set.

use std::path::Path;
use std::time::Duration;

use assay_core::claim::{Claim, ClaimDomain, ClaimRoot, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::secp::Signature65;
use assay_proto::provider::v1 as wire;
use prost::Message;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

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
    /// Opens, creates and migrates.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
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

    /// Writes a proposal down; a repeated one stays as it is.
    pub async fn propose(&self, hash: &Hash32, owned: &OwnedClaim, now_s: i64) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO proposal VALUES (?, ?, ?, ?) ON CONFLICT (claim_hash) DO UPDATE SET proposed_at = excluded.proposed_at")
            .bind(&hash.0[..])
            .bind(small(owned.claim.blocks, "blocks")?)
            .bind(encode(owned))
            .bind(now_s)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A proposal.
    pub async fn proposal(&self, hash: &Hash32) -> Result<Option<OwnedClaim>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT signed_claim FROM proposal WHERE claim_hash = ?").bind(&hash.0[..]).fetch_optional(&self.pool).await?;
        row.map(|(bytes,)| decode(&bytes)).transpose()
    }

    /// Proposals that were announced before `before_s` and not since.
    pub async fn stale_proposals(&self, before_s: i64) -> Result<Vec<(Hash32, OwnedClaim)>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT claim_hash, signed_claim FROM proposal WHERE proposed_at < ?")
            .bind(before_s)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|(hash, bytes)| Ok((read_hash(&hash)?, decode(&bytes)?))).collect()
    }

    /// Forgets a proposal.
    pub async fn forget_proposal(&self, hash: &Hash32) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM proposal WHERE claim_hash = ?").bind(&hash.0[..]).execute(&self.pool).await?;
        Ok(())
    }

    /// Blocks that are claimed or proposed.
    pub async fn reserved_blocks(&self) -> Result<u64, StoreError> {
        let (blocks,): (i64,) =
            sqlx::query_as("SELECT coalesce((SELECT sum(blocks) FROM claim), 0) + coalesce((SELECT sum(blocks) FROM proposal), 0)")
                .fetch_one(&self.pool)
                .await?;
        Ok(blocks.cast_unsigned())
    }

    /// The hash of the claim on a replica.
    pub async fn claim_on(&self, root: &Hash32) -> Result<Option<Hash32>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT claim_hash FROM claim WHERE root = ?").bind(&root.0[..]).fetch_optional(&self.pool).await?;
        row.map(|(hash,)| read_hash(&hash)).transpose()
    }

    /// A claim by its hash.
    pub async fn claim(&self, hash: &Hash32) -> Result<Option<OwnedClaim>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT signed_claim FROM claim WHERE claim_hash = ?").bind(&hash.0[..]).fetch_optional(&self.pool).await?;
        row.map(|(bytes,)| decode(&bytes)).transpose()
    }

    /// In one transaction: the proposal becomes a claim and the new set is written down.
    pub async fn commit(&self, hash: &Hash32, owned: &OwnedClaim, set: &SignedClaimSet) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO claim_set VALUES (?, ?, ?, ?, ?)")
            .bind(small(set.sequence, "sequence")?)
            .bind(&set.root.hash.0[..])
            .bind(small(set.root.blocks, "blocks")?)
            .bind(small(set.count, "count")?)
            .bind(&set.signature.0[..])
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO claim VALUES (?, ?, ?, ?, ?)")
            .bind(&hash.0[..])
            .bind(&owned.claim.root.0[..])
            .bind(small(owned.claim.blocks, "blocks")?)
            .bind(encode(owned))
            .bind(small(set.sequence, "sequence")?)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM proposal WHERE claim_hash = ?").bind(&hash.0[..]).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
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

    /// The version that has this root.
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

    /// All claims of a version, in no particular order.
    pub async fn claims(&self, sequence: u64) -> Result<Vec<Claim>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT signed_claim FROM claim WHERE first_sequence <= ?")
            .bind(small(sequence, "sequence")?)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|(bytes,)| Ok(decode(&bytes)?.claim)).collect()
    }

    /// One page of a version in ascending order of the hashes.
    pub async fn claims_page(&self, sequence: u64, offset: u64, limit: u32) -> Result<Vec<OwnedClaim>, StoreError> {
        let rows: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT signed_claim FROM claim WHERE first_sequence <= ? ORDER BY claim_hash LIMIT ? OFFSET ?")
                .bind(small(sequence, "sequence")?)
                .bind(i64::from(limit))
                .bind(small(offset, "offset")?)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(bytes,)| decode(&bytes)).collect()
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

fn read_set((sequence, root, blocks, count, signature): SetRow) -> Result<SignedClaimSet, StoreError> {
    Ok(SignedClaimSet {
        sequence: sequence.cast_unsigned(),
        root: ClaimRoot { hash: read_hash(&root)?, blocks: blocks.cast_unsigned() },
        count: count.cast_unsigned(),
        signature: Signature65::from_slice(&signature).map_err(|_| StoreError::Damaged("signature"))?,
    })
}
