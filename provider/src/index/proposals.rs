//! Replicas that are announced and not complete.

use assay_core::hash::Hash32;

use super::{Index, OwnedClaim, decode, encode, read_hash, small, tag_key_id};
use crate::error::StoreError;

impl Index {
    /// Writes a proposal down; a repeated one stays as it is.
    pub async fn propose(&self, hash: &Hash32, owned: &OwnedClaim, now_s: i64) -> Result<(), StoreError> {
        let statement = "INSERT INTO proposal (claim_hash, blocks, signed_claim, proposed_at, tag_key_id) VALUES (?, ?, ?, ?, ?) \
                         ON CONFLICT (claim_hash) DO UPDATE SET proposed_at = excluded.proposed_at";
        sqlx::query(statement)
            .bind(&hash.0[..])
            .bind(small(owned.claim.blocks, "blocks")?)
            .bind(encode(owned))
            .bind(now_s)
            .bind(tag_key_id(&owned.claim))
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

    /// Blocks that are claimed, proposed or kept after a release; and those of them that have tags.
    pub async fn reserved_blocks(&self) -> Result<(u64, u64), StoreError> {
        let statement = "SELECT coalesce(sum(blocks), 0), coalesce(sum(iif(tag_key_id IS NULL, 0, blocks)), 0) FROM ( \
                             SELECT blocks, tag_key_id FROM claim \
                             UNION ALL SELECT blocks, tag_key_id FROM proposal \
                             UNION ALL SELECT blocks, tag_key_id FROM released WHERE removed = 0)";
        let (blocks, tagged): (i64, i64) = sqlx::query_as(statement).fetch_one(&self.pool).await?;
        Ok((blocks.cast_unsigned(), tagged.cast_unsigned()))
    }
}
