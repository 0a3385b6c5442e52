//! Tag keys.

use std::collections::BTreeSet;

use assay_core::compact::TagKey;
use assay_core::hash::Hash32;

use super::{Index, read_hash};
use crate::error::StoreError;

/// Ids that a claim, a proposal or a kept claim names.
const NAMED: &str = "SELECT tag_key_id FROM claim WHERE tag_key_id IS NOT NULL UNION SELECT tag_key_id FROM proposal \
                     WHERE tag_key_id IS NOT NULL UNION SELECT tag_key_id FROM released WHERE tag_key_id IS NOT NULL";

impl Index {
    /// A tag key, and the checksum of its powers when they are here.
    pub async fn tag_key(&self, id: &Hash32) -> Result<Option<(TagKey, Option<Hash32>)>, StoreError> {
        let row: Option<(Vec<u8>, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT key, checksum FROM tag_key WHERE id = ?").bind(&id.0[..]).fetch_optional(&self.pool).await?;
        row.map(|(key, checksum)| Ok((read_key(&key)?, checksum.map(|sum| read_hash(&sum)).transpose()?))).transpose()
    }

    /// The keys with these ids, as far as they are known.
    pub async fn tag_keys(&self, ids: BTreeSet<Hash32>) -> Result<Vec<TagKey>, StoreError> {
        let mut keys = Vec::with_capacity(ids.len());
        for id in ids {
            keys.extend(self.tag_key(&id).await?.map(|(key, _)| key));
        }
        Ok(keys)
    }

    /// Writes a key down whose powers are here.
    pub async fn put_tag_key(&self, key: &TagKey, checksum: &Hash32) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO tag_key VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET checksum = excluded.checksum")
            .bind(&key.id().0[..])
            .bind(&key.to_bytes()[..])
            .bind(&checksum.0[..])
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keys that are known, and those that are named; both by their number.
    pub async fn count_tag_keys(&self) -> Result<(usize, usize), StoreError> {
        let statement = format!("SELECT (SELECT count(*) FROM tag_key), (SELECT count(*) FROM ({NAMED}))");
        let (known, named): (i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_one(&self.pool).await?;
        Ok((usize::try_from(known).unwrap_or(usize::MAX), usize::try_from(named).unwrap_or(usize::MAX)))
    }

    /// Whether a claim or a proposal names this key.
    pub async fn is_named(&self, id: &Hash32) -> Result<bool, StoreError> {
        let statement = format!("SELECT EXISTS (SELECT 1 FROM ({NAMED}) WHERE tag_key_id = ?)");
        let (found,): (bool,) = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(&id.0[..]).fetch_one(&self.pool).await?;
        Ok(found)
    }

    /// Forgets the keys that nothing names, and tells which.
    pub async fn forget_unnamed_tag_keys(&self) -> Result<Vec<Hash32>, StoreError> {
        let statement = format!("DELETE FROM tag_key WHERE id NOT IN ({NAMED}) RETURNING id");
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_all(&self.pool).await?;
        rows.into_iter().map(|(id,)| read_hash(&id)).collect()
    }

    /// Keys whose powers are not here.
    pub async fn tag_keys_without_powers(&self) -> Result<Vec<TagKey>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT key FROM tag_key WHERE checksum IS NULL").fetch_all(&self.pool).await?;
        rows.into_iter().map(|(key,)| read_key(&key)).collect()
    }
}

fn read_key(bytes: &[u8]) -> Result<TagKey, StoreError> {
    TagKey::from_bytes(bytes).map_err(|_| StoreError::Damaged("tag_key"))
}
