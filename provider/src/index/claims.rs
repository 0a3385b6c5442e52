//! Claims, those that were given up, and the step from one version of the set to the next.

use assay_core::claim::Claim;
use assay_core::hash::Hash32;
use assay_core::secp::Signature65;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use sqlx::{Sqlite, Transaction};

use super::{Index, OwnedClaim, decode, encode, read_hash, read_signature, small, tag_key_id};
use crate::error::StoreError;
use crate::log::{Change, Entry};

/// A claim that its owner gave up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleasedClaim {
    /// The claim.
    pub owned: OwnedClaim,
    /// By its owner (`assay.release.v1`).
    pub signature: Signature65,
    /// The first version without it.
    pub sequence: u64,
    /// When it was given up, unix seconds.
    pub released_at: i64,
    /// Since when nothing is answered for it.
    pub purged_at: Option<i64>,
}

impl ReleasedClaim {
    /// As it is listed for everybody.
    pub fn to_wire(&self) -> wire::Release {
        wire::Release {
            claim: Some(wire::SignedClaim::new(&self.owned.claim, &self.owned.signature)),
            signature: convert::wire_bytes(&self.signature.0),
            sequence: self.sequence,
        }
    }
}

type ReleasedRow = (Vec<u8>, Vec<u8>, i64, i64, Option<i64>);

const RELEASED: &str = "SELECT signed_claim, signature, last_sequence, released_at, purged_at FROM released";

/// Claims of version `?1`, each with its hash.
const OF_VERSION: &str = "SELECT claim_hash, signed_claim FROM claim WHERE first_sequence <= ?1 \
                          UNION ALL SELECT claim_hash, signed_claim FROM released WHERE first_sequence <= ?1 AND last_sequence >= ?1";

impl Index {
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

    /// The claim on the first replica behind `after` in the order of their roots; those that are kept after a release too.
    pub async fn next_replica(&self, after: &Hash32) -> Result<Option<Claim>, StoreError> {
        let statement = "SELECT signed_claim FROM (SELECT root, tag_key_id, signed_claim FROM claim \
                         UNION ALL SELECT root, tag_key_id, signed_claim FROM released WHERE purged_at IS NULL) \
                         WHERE root > ? ORDER BY root, tag_key_id IS NULL LIMIT 1";
        let row: Option<(Vec<u8>,)> = sqlx::query_as(statement).bind(&after.0[..]).fetch_optional(&self.pool).await?;
        row.map(|(bytes,)| Ok(decode(&bytes)?.claim)).transpose()
    }

    /// The claim on one replica, or one that is kept on it after a release.
    pub async fn replica_at(&self, root: &Hash32) -> Result<Option<Claim>, StoreError> {
        let statement = "SELECT signed_claim FROM (SELECT root, tag_key_id, signed_claim FROM claim \
                         UNION ALL SELECT root, tag_key_id, signed_claim FROM released WHERE purged_at IS NULL) \
                         WHERE root = ? ORDER BY tag_key_id IS NULL LIMIT 1";
        let row: Option<(Vec<u8>,)> = sqlx::query_as(statement).bind(&root.0[..]).fetch_optional(&self.pool).await?;
        row.map(|(bytes,)| Ok(decode(&bytes)?.claim)).transpose()
    }

    /// In one transaction: the next version of the set and what it changed.
    pub async fn apply(&self, entry: &Entry) -> Result<(), StoreError> {
        let set = &entry.set;
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO claim_set VALUES (?, ?, ?, ?, ?)")
            .bind(small(set.sequence, "sequence")?)
            .bind(&set.root.hash.0[..])
            .bind(small(set.root.blocks, "blocks")?)
            .bind(small(set.count, "count")?)
            .bind(&set.signature.0[..])
            .execute(&mut *transaction)
            .await?;
        match &entry.change {
            Change::Added { owned, tag_key } => {
                add(&mut transaction, set.sequence, owned).await?;
                if let Some(key) = tag_key {
                    sqlx::query("INSERT INTO tag_key (id, key) VALUES (?, ?) ON CONFLICT DO NOTHING")
                        .bind(&key.id().0[..])
                        .bind(&key.to_bytes()[..])
                        .execute(&mut *transaction)
                        .await?;
                }
            }
            Change::Released { owned, signature, at_s } => release(&mut transaction, set.sequence, owned, signature, *at_s).await?,
        }
        transaction.commit().await?;
        Ok(())
    }

    /// All claims of a version, in no particular order.
    pub async fn claims(&self, sequence: u64) -> Result<Vec<Claim>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(OF_VERSION).bind(small(sequence, "sequence")?).fetch_all(&self.pool).await?;
        rows.into_iter().map(|(_, bytes)| Ok(decode(&bytes)?.claim)).collect()
    }

    /// One page of a version in ascending order of the hashes.
    pub async fn claims_page(&self, sequence: u64, offset: u64, limit: u32) -> Result<Vec<OwnedClaim>, StoreError> {
        let statement = format!("SELECT * FROM ({OF_VERSION}) ORDER BY claim_hash LIMIT ?2 OFFSET ?3");
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(small(sequence, "sequence")?)
            .bind(i64::from(limit))
            .bind(small(offset, "offset")?)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|(_, bytes)| decode(&bytes)).collect()
    }

    /// What the version changed; for indexes that are older than the log. `None` when that version changed nothing or does not exist.
    pub async fn added_in(&self, sequence: u64) -> Result<Option<OwnedClaim>, StoreError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT signed_claim FROM claim WHERE first_sequence = ?")
            .bind(small(sequence, "sequence")?)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|(bytes,)| decode(&bytes)).transpose()
    }

    /// A claim that was given up, by its hash.
    pub async fn released(&self, hash: &Hash32) -> Result<Option<ReleasedClaim>, StoreError> {
        let statement = format!("{RELEASED} WHERE claim_hash = ?");
        let row: Option<ReleasedRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(&hash.0[..]).fetch_optional(&self.pool).await?;
        row.map(read_released).transpose()
    }

    /// Claims on a replica that were given up and are still answered for.
    pub async fn kept_on(&self, root: &Hash32) -> Result<Vec<ReleasedClaim>, StoreError> {
        let statement = format!("{RELEASED} WHERE root = ? AND purged_at IS NULL");
        let rows: Vec<ReleasedRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(&root.0[..]).fetch_all(&self.pool).await?;
        rows.into_iter().map(read_released).collect()
    }

    /// Releases after a version, in their order.
    pub async fn releases_after(&self, sequence: u64, limit: u32) -> Result<Vec<ReleasedClaim>, StoreError> {
        let statement = format!("{RELEASED} WHERE last_sequence >= ? ORDER BY last_sequence LIMIT ?");
        let rows: Vec<ReleasedRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(small(sequence, "after_sequence")?)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(read_released).collect()
    }

    /// Whether a version holds a claim whose data is not kept any more.
    pub async fn has_purged(&self, sequence: u64) -> Result<bool, StoreError> {
        let statement =
            "SELECT EXISTS (SELECT 1 FROM released WHERE first_sequence <= ?1 AND last_sequence >= ?1 AND purged_at IS NOT NULL)";
        let (found,): (bool,) = sqlx::query_as(statement).bind(small(sequence, "sequence")?).fetch_one(&self.pool).await?;
        Ok(found)
    }

    /// Says of every claim given up before `before_s` that nothing is answered for it any more. Tells how many that were.
    pub async fn purge(&self, before_s: i64, now_s: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("UPDATE released SET purged_at = ? WHERE purged_at IS NULL AND released_at <= ?")
            .bind(now_s)
            .bind(before_s)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }

    /// The same of one claim.
    pub async fn purge_one(&self, hash: &Hash32, now_s: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE released SET purged_at = ? WHERE claim_hash = ? AND purged_at IS NULL")
            .bind(now_s)
            .bind(&hash.0[..])
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Claims that are not answered for since `before_s` and whose files are still there.
    pub async fn to_remove(&self, before_s: i64) -> Result<Vec<Claim>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT signed_claim FROM released WHERE purged_at <= ? AND removed = 0")
            .bind(before_s)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|(bytes,)| Ok(decode(&bytes)?.claim)).collect()
    }

    /// The files of a claim are gone.
    pub async fn removed(&self, hash: &Hash32) -> Result<(), StoreError> {
        sqlx::query("UPDATE released SET removed = 1 WHERE claim_hash = ?").bind(&hash.0[..]).execute(&self.pool).await?;
        Ok(())
    }

    /// When the first of the kept claims was given up.
    pub async fn oldest_kept(&self) -> Result<Option<i64>, StoreError> {
        let (oldest,): (Option<i64>,) =
            sqlx::query_as("SELECT min(released_at) FROM released WHERE purged_at IS NULL").fetch_one(&self.pool).await?;
        Ok(oldest)
    }

    /// Since when the first of the claims is not answered for whose files are still there.
    pub async fn oldest_purged(&self) -> Result<Option<i64>, StoreError> {
        let (oldest,): (Option<i64>,) =
            sqlx::query_as("SELECT min(purged_at) FROM released WHERE removed = 0").fetch_one(&self.pool).await?;
        Ok(oldest)
    }

    /// Everything that was given up and is still answered for.
    pub async fn kept(&self) -> Result<Vec<ReleasedClaim>, StoreError> {
        let statement = format!("{RELEASED} WHERE purged_at IS NULL");
        let rows: Vec<ReleasedRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_all(&self.pool).await?;
        rows.into_iter().map(read_released).collect()
    }
}

async fn add(transaction: &mut Transaction<'_, Sqlite>, sequence: u64, owned: &OwnedClaim) -> Result<(), StoreError> {
    let hash = owned.claim.hash();
    let statement = "INSERT INTO claim (claim_hash, root, blocks, signed_claim, first_sequence, tag_key_id) VALUES (?, ?, ?, ?, ?, ?)";
    sqlx::query(statement)
        .bind(&hash.0[..])
        .bind(&owned.claim.root.0[..])
        .bind(small(owned.claim.blocks, "blocks")?)
        .bind(encode(owned))
        .bind(small(sequence, "sequence")?)
        .bind(tag_key_id(&owned.claim))
        .execute(&mut **transaction)
        .await?;
    sqlx::query("DELETE FROM proposal WHERE claim_hash = ?").bind(&hash.0[..]).execute(&mut **transaction).await?;
    Ok(())
}

async fn release(
    transaction: &mut Transaction<'_, Sqlite>,
    sequence: u64,
    owned: &OwnedClaim,
    signature: &Signature65,
    at_s: i64,
) -> Result<(), StoreError> {
    let hash = owned.claim.hash();
    let statement = "INSERT INTO released \
                     (claim_hash, root, blocks, signed_claim, first_sequence, last_sequence, tag_key_id, signature, released_at) \
                     SELECT claim_hash, root, blocks, signed_claim, first_sequence, ?, tag_key_id, ?, ? FROM claim WHERE claim_hash = ?";
    let moved = sqlx::query(statement)
        .bind(small(sequence.saturating_sub(1), "sequence")?)
        .bind(&signature.0[..])
        .bind(at_s)
        .bind(&hash.0[..])
        .execute(&mut **transaction)
        .await?;
    if moved.rows_affected() != 1 {
        return Err(StoreError::Damaged("a released claim is not there"));
    }
    sqlx::query("DELETE FROM claim WHERE claim_hash = ?").bind(&hash.0[..]).execute(&mut **transaction).await?;
    Ok(())
}

fn read_released((claim, signature, last_sequence, released_at, purged_at): ReleasedRow) -> Result<ReleasedClaim, StoreError> {
    Ok(ReleasedClaim {
        owned: decode(&claim)?,
        signature: read_signature(&signature)?,
        sequence: last_sequence.cast_unsigned().saturating_add(1),
        released_at,
        purged_at,
    })
}
