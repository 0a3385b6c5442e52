//! What is known about the disk: damaged blocks, and the runs that look for them.

use assay_core::hash::Hash32;
use serde::Serialize;

use super::{Index, read_hash, small};
use crate::error::StoreError;

/// A block of a stored replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Block {
    /// The replica's root.
    pub root: Hash32,
    /// The block's number in the replica.
    pub block: u64,
}

/// One read of everything that is stored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrubRun {
    /// Its number.
    pub id: i64,
    /// Unix seconds.
    pub started_at: i64,
    /// Unix seconds; `None` while it is under way.
    pub finished_at: Option<i64>,
    /// Blocks read.
    pub blocks: u64,
    /// Blocks of them that are damaged or gone.
    pub damaged_blocks: u64,
    /// Blocks that the system could not read, which says nothing of the data.
    pub unreadable_blocks: u64,
    /// The replica that is being read.
    pub at_root: Option<Hash32>,
    /// The block of it that comes next.
    pub at_block: u64,
}

type RunRow = (i64, i64, Option<i64>, i64, i64, i64, Option<Vec<u8>>, i64);

const RUNS: &str = "SELECT id, started_at, finished_at, blocks, damaged_blocks, unreadable_blocks, at_root, at_block FROM scrub_run";

impl Index {
    /// Puts blocks on the list of damaged ones and takes others off it.
    pub async fn note_blocks(&self, damaged: &[Block], whole: &[Block], now_s: i64) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for Block { root, block } in damaged {
            sqlx::query("INSERT INTO damaged VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(&root.0[..])
                .bind(small(*block, "block")?)
                .bind(now_s)
                .execute(&mut *transaction)
                .await?;
        }
        for Block { root, block } in whole {
            sqlx::query("DELETE FROM damaged WHERE root = ? AND block = ?")
                .bind(&root.0[..])
                .bind(small(*block, "block")?)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How many blocks are on the list.
    pub async fn count_damaged(&self) -> Result<u64, StoreError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM damaged").fetch_one(&self.pool).await?;
        Ok(count.cast_unsigned())
    }

    /// The first blocks on the list, each with the time it was found.
    pub async fn damaged(&self, limit: u32) -> Result<Vec<(Block, i64)>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as("SELECT root, block, found_at FROM damaged ORDER BY root, block LIMIT ?")
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|(root, block, at)| Ok((Block { root: read_hash(&root)?, block: block.cast_unsigned() }, at))).collect()
    }

    /// Takes a replica that is gone by right off the list.
    pub async fn forget_damage(&self, root: &Hash32) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM damaged WHERE root = ?").bind(&root.0[..]).execute(&self.pool).await?;
        Ok(())
    }

    /// Begins a run.
    pub async fn begin_scrub(&self, now_s: i64) -> Result<ScrubRun, StoreError> {
        let done = sqlx::query("INSERT INTO scrub_run (started_at) VALUES (?)").bind(now_s).execute(&self.pool).await?;
        Ok(ScrubRun { id: done.last_insert_rowid(), started_at: now_s, ..ScrubRun::default() })
    }

    /// Writes down how far a run is.
    pub async fn save_scrub(&self, run: &ScrubRun) -> Result<(), StoreError> {
        let statement = "UPDATE scrub_run SET finished_at = ?, blocks = ?, damaged_blocks = ?, unreadable_blocks = ?, at_root = ?, at_block = ? \
                         WHERE id = ?";
        sqlx::query(statement)
            .bind(run.finished_at)
            .bind(small(run.blocks, "blocks")?)
            .bind(small(run.damaged_blocks, "blocks")?)
            .bind(small(run.unreadable_blocks, "blocks")?)
            .bind(run.at_root.map(|root| root.0.to_vec()))
            .bind(small(run.at_block, "block")?)
            .bind(run.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The newest runs, the newest first.
    pub async fn scrubs(&self, limit: u32) -> Result<Vec<ScrubRun>, StoreError> {
        let statement = format!("{RUNS} ORDER BY id DESC LIMIT ?");
        let rows: Vec<RunRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(limit).fetch_all(&self.pool).await?;
        rows.into_iter().map(read_run).collect()
    }

    /// When the last complete run ended, unix seconds.
    pub async fn scrubbed_at(&self) -> Result<Option<i64>, StoreError> {
        let (at,): (Option<i64>,) = sqlx::query_as("SELECT max(finished_at) FROM scrub_run").fetch_one(&self.pool).await?;
        Ok(at)
    }
}

fn read_run((id, started_at, finished_at, blocks, damaged, unreadable, at_root, at_block): RunRow) -> Result<ScrubRun, StoreError> {
    Ok(ScrubRun {
        id,
        started_at,
        finished_at,
        blocks: blocks.cast_unsigned(),
        damaged_blocks: damaged.cast_unsigned(),
        unreadable_blocks: unreadable.cast_unsigned(),
        at_root: at_root.map(|root| read_hash(&root)).transpose()?,
        at_block: at_block.cast_unsigned(),
    })
}
