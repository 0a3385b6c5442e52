//! What is known about the disk.

use std::sync::atomic::Ordering;

use assay_core::hash::Hash32;
use tracing::error;

use super::{Store, now_s};
use crate::error::StoreError;
use crate::index::Block;

/// What reading blocks showed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Damaged or gone.
    pub damaged: Vec<Block>,
    /// Read whole.
    pub whole: Vec<Block>,
}

impl Store {
    /// Keeps the list of damaged blocks up to date. A failure is logged: no answer waits for the list.
    pub async fn note(&self, found: Found) {
        let is_listed = self.damaged.load(Ordering::Relaxed) > 0;
        if found.damaged.is_empty() && !is_listed {
            return;
        }
        if let Err(error) = self.try_note(found).await {
            error!(%error, "the list of damaged blocks cannot be written");
        }
    }

    /// Blocks that are known to be damaged or gone.
    pub async fn damaged_blocks(&self) -> Result<u64, StoreError> {
        // Another process may have looked: `assay-provider scrub`.
        self.count_damaged().await?;
        Ok(self.damaged.load(Ordering::Relaxed))
    }

    /// Whether a claim is answered for by this replica.
    pub async fn holds(&self, root: &Hash32) -> Result<bool, StoreError> {
        Ok(!self.is_unused(root).await?)
    }

    async fn try_note(&self, found: Found) -> Result<(), StoreError> {
        self.index.note_blocks(&found.damaged, &found.whole, now_s()).await?;
        self.count_damaged().await
    }

    pub(super) async fn forget_damage(&self, root: &Hash32) -> Result<(), StoreError> {
        self.index.forget_damage(root).await?;
        self.count_damaged().await
    }

    async fn count_damaged(&self) -> Result<(), StoreError> {
        self.damaged.store(self.index.count_damaged().await?, Ordering::Relaxed);
        Ok(())
    }
}
