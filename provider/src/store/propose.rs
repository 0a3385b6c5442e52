//! Announcing replicas, and dropping those that nobody went on with.

use std::sync::PoisonError;
use std::time::Duration;

use assay_core::claim::{Claim, MAX_TAG_KEYS};
use assay_core::compact::Name;
use assay_core::hash::Hash32;
use assay_core::replica::BLOCK_BYTES;
use assay_core::secp;
use tokio::task::spawn_blocking;
use tracing::info;

use super::{Store, now_s};
use crate::error::StoreError;
use crate::files::upload_bytes;
use crate::index::{OwnedClaim, small};
use crate::replica::TAG_RECORD_BYTES;

/// How far a proposal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that are there.
    pub received_bytes: u64,
    /// Whether the claim stands.
    pub committed: bool,
    /// Whether the claim's tag key has to be put before the commit.
    pub needs_tag_key: bool,
}

impl Store {
    /// Takes or finds a proposal.
    pub async fn propose(&self, owned: OwnedClaim) -> Result<Progress, StoreError> {
        let claim = &owned.claim;
        claim.check()?;
        small(upload_bytes(claim), "replica")?;
        let hash = claim.hash();
        if secp::recover(&self.domain.claim_digest(&hash), &owned.signature) != Ok(claim.owner) {
            return Err(StoreError::OwnerSignature(claim.owner));
        }
        if !self.limits.owners.is_empty() && !self.limits.owners.contains(&claim.owner) {
            return Err(StoreError::OwnerRefused(claim.owner));
        }
        let _writing = self.writing.lock().await;
        self.catch_up().await?;
        if self.index.claim(&hash).await?.is_some() {
            return Ok(Progress { received_bytes: upload_bytes(claim), committed: true, needs_tag_key: false });
        }
        self.expect_claimable(&hash, claim).await?;
        if self.index.proposal(&hash).await?.is_none() {
            self.expect_room(claim).await?;
        }
        self.index.propose(&hash, &owned, now_s()).await?;
        let needs_tag_key = !claim.tag_key_id.is_zero() && !self.has_tag_key(&claim.tag_key_id).await?;
        self.reclaim(&hash, claim).await?;
        let (files, claim) = (self.files.clone(), owned.claim);
        let received_bytes = spawn_blocking(move || files.received(&hash, &claim)).await??;
        Ok(Progress { received_bytes, committed: false, needs_tag_key })
    }

    /// Refuses what can never be committed, before anybody uploads it.
    pub(super) async fn expect_claimable(&self, hash: &Hash32, claim: &Claim) -> Result<(), StoreError> {
        if self.index.released(hash).await?.is_some() {
            return Err(StoreError::Released(*hash));
        }
        if self.index.claim_on(&claim.root).await?.is_some() {
            return Err(StoreError::RootTaken(claim.root));
        }
        if claim.tag_key_id.is_zero() {
            return Ok(());
        }
        let name = Name::of(claim, self.domain.provider);
        for kept in self.index.kept_on(&claim.root).await? {
            let earlier = &kept.owned.claim;
            if !earlier.tag_key_id.is_zero() && Name::of(earlier, self.domain.provider) != name {
                return Err(StoreError::KeptWithOtherTags { root: claim.root, until: self.kept_until(kept.released_at) });
            }
        }
        let (_, named) = self.index.count_tag_keys().await?;
        match named >= MAX_TAG_KEYS && !self.index.is_named(&claim.tag_key_id).await? {
            true => Err(StoreError::TooManyTagKeys),
            false => Ok(()),
        }
    }

    /// Brings bytes back that a crash left under their final name.
    pub(super) async fn reclaim(&self, hash: &Hash32, claim: &Claim) -> Result<(), StoreError> {
        if self.is_unused(&claim.root).await? {
            let (files, hash, claim) = (self.files.clone(), *hash, claim.clone());
            spawn_blocking(move || files.reclaim(&hash, &claim)).await??;
        }
        Ok(())
    }

    /// Whether no claim holds the replica and none is kept on it.
    pub(super) async fn is_unused(&self, root: &Hash32) -> Result<bool, StoreError> {
        Ok(self.index.claim_on(root).await?.is_none() && self.index.kept_on(root).await?.is_empty())
    }

    async fn expect_room(&self, claim: &Claim) -> Result<(), StoreError> {
        let tagged = if claim.tag_key_id.is_zero() { 0 } else { claim.blocks };
        let asked = disk_bytes(claim.blocks, tagged);
        for attempt in 0..2 {
            let (blocks, tagged) = self.index.reserved_blocks().await?;
            let free = self.limits.capacity_bytes.saturating_sub(disk_bytes(blocks, tagged));
            if asked <= free {
                return Ok(());
            }
            if attempt == 1 {
                return Err(StoreError::Capacity { asked, free });
            }
            self.drop_stale_proposals().await?;
        }
        Ok(())
    }

    pub(super) async fn drop_stale_proposals(&self) -> Result<(), StoreError> {
        let before = now_s().saturating_sub(self.limits.proposal_ttl_s.cast_signed());
        for (hash, owned) in self.index.stale_proposals(before).await? {
            if self.is_in_use(&hash) {
                continue;
            }
            let unused = self.is_unused(&owned.claim.root).await?;
            let files = self.files.clone();
            spawn_blocking(move || {
                if unused {
                    files.remove(&owned.claim.root)?;
                }
                files.discard(&hash)
            })
            .await??;
            self.index.forget_proposal(&hash).await?;
            info!(claim = %hash, "dropped an upload that nobody went on with");
        }
        Ok(())
    }

    /// Drops what was left of uploads of which the index knows nothing: it was lost, or a crash came between a commit and its cleaning up.
    pub(super) async fn drop_orphans(&self) -> Result<(), StoreError> {
        let (files, idle) = (self.files.clone(), Duration::from_secs(self.limits.proposal_ttl_s));
        for hash in spawn_blocking(move || files.idle_uploads(idle)).await?? {
            if self.index.proposal(&hash).await?.is_none() && !self.is_in_use(&hash) {
                let files = self.files.clone();
                spawn_blocking(move || files.discard(&hash)).await??;
            }
        }
        Ok(())
    }

    fn is_in_use(&self, hash: &Hash32) -> bool {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).contains(hash)
    }
}

/// What blocks take on the disk, without their outboard of four thousandths.
fn disk_bytes(blocks: u64, tagged: u64) -> u64 {
    blocks.saturating_mul(BLOCK_BYTES as u64).saturating_add(tagged.saturating_mul(TAG_RECORD_BYTES as u64))
}
