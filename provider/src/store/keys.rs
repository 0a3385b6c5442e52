//! Tag keys and their powers.

use std::sync::Arc;

use assay_core::claim::MAX_TAG_KEYS;
use assay_core::compact::{Powers, TagKey};
use assay_core::hash::Hash32;
use bytes::Bytes;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::Store;
use crate::error::StoreError;
use crate::tag_keys::check_powers;

impl Store {
    /// Takes a key and its powers. Repeating it is harmless, and mends a damaged file.
    pub async fn put_tag_key(&self, key: TagKey, powers: Bytes) -> Result<(), StoreError> {
        let id = key.id();
        if self.has_tag_key(&id).await? {
            return Ok(());
        }
        let (checked, bytes) = (key.clone(), powers.clone());
        self.compute(move || check_powers(&checked, &bytes)).await??;
        let _writing = self.writing.lock().await;
        self.make_room_for_key(&id).await?;
        let (keys, kept) = (Arc::clone(&self.tag_keys), key.clone());
        let checksum = spawn_blocking(move || keys.keep(&kept, &powers)).await??;
        self.index.put_tag_key(&key, &checksum).await
    }

    /// Whether the key is known and its powers are whole.
    pub(super) async fn has_tag_key(&self, id: &Hash32) -> Result<bool, StoreError> {
        let Some((_, Some(checksum))) = self.index.tag_key(id).await? else { return Ok(false) };
        let (keys, id) = (Arc::clone(&self.tag_keys), *id);
        spawn_blocking(move || keys.is_whole(&id, &checksum)).await?
    }

    /// Keys that nothing names make room for those that somebody needs: anybody may put one.
    async fn make_room_for_key(&self, id: &Hash32) -> Result<(), StoreError> {
        if self.index.tag_key(id).await?.is_some() || self.index.count_tag_keys().await?.0 < MAX_TAG_KEYS {
            return Ok(());
        }
        for unnamed in self.index.forget_unnamed_tag_keys().await? {
            let keys = Arc::clone(&self.tag_keys);
            spawn_blocking(move || keys.remove(&unnamed)).await??;
        }
        match self.index.count_tag_keys().await?.0 < MAX_TAG_KEYS {
            true => Ok(()),
            false => Err(StoreError::TooManyTagKeys),
        }
    }

    /// A key and its powers.
    pub async fn powers(&self, id: Hash32) -> Result<(TagKey, Arc<Powers>), StoreError> {
        let (key, checksum) = self.index.tag_key(&id).await?.ok_or(StoreError::NoTagKey(id))?;
        let checksum = checksum.ok_or(StoreError::NoTagKey(id))?;
        let keys = Arc::clone(&self.tag_keys);
        let powers = spawn_blocking(move || keys.powers(&id, &checksum)).await??;
        Ok((key, powers))
    }

    /// After the loss of the index: files of powers are checked like new ones.
    pub(super) async fn recover_tag_keys(&self) -> Result<(), StoreError> {
        let keys = Arc::clone(&self.tag_keys);
        let mut candidates = self.index.tag_keys_without_powers().await?;
        candidates.extend(spawn_blocking(move || keys.list()).await??);
        for key in candidates {
            if self.has_tag_key(&key.id()).await? {
                continue;
            }
            let (keys, checked) = (Arc::clone(&self.tag_keys), key.clone());
            match self.compute(move || keys.check_again(&checked)).await?? {
                Some(checksum) => self.index.put_tag_key(&key, &checksum).await?,
                None => warn!(id = %key.id(), "the powers of a tag key are damaged or gone: let its owner put the key again"),
            }
        }
        Ok(())
    }
}
