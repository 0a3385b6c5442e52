//! From an upload to a signed claim set, and what brings the index up to the log.

use std::sync::Arc;

use assay_core::claim::{Claim, ClaimSet, SignedClaimSet};
use assay_core::compact::Name;
use assay_core::hash::Hash32;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::{Store, now_s};
use crate::check::TagTerms;
use crate::error::StoreError;
use crate::index::OwnedClaim;
use crate::log::{Change, Entry};

impl Store {
    /// Checks a complete replica, keeps it, and signs the claim set that holds it. Gives the newest set.
    pub async fn commit(self: &Arc<Self>, claim_hash: Hash32) -> Result<SignedClaimSet, StoreError> {
        if let Some(set) = self.set_with(&claim_hash).await? {
            return Ok(set);
        }
        let (_in_use, owned) = self.use_proposal(claim_hash).await?;
        let terms = self.tag_terms(&owned.claim).await?;
        self.reclaim(&claim_hash, &owned.claim).await?;
        let (files, claim) = (self.files.clone(), owned.claim.clone());
        spawn_blocking(move || files.check(&claim_hash, &claim, terms.as_ref())).await??;

        let _writing = self.writing.lock().await;
        self.catch_up().await?;
        self.expect_claimable(&claim_hash, &owned.claim).await?;
        let signed = self.add(claim_hash, owned).await?;
        let files = self.files.clone();
        // The claim stands. What is left over is dropped at the next start if it cannot be now.
        if let Err(error) = spawn_blocking(move || files.discard(&claim_hash)).await? {
            warn!(claim = %claim_hash, %error, "the rest of an upload cannot be removed");
        }
        Ok(signed)
    }

    /// The newest set, when the claim stands.
    async fn set_with(&self, claim_hash: &Hash32) -> Result<Option<SignedClaimSet>, StoreError> {
        let _writing = self.writing.lock().await;
        self.catch_up().await?;
        match self.index.claim(claim_hash).await? {
            Some(_) => Ok(Some(self.index.newest().await?.ok_or(StoreError::Damaged("claim_set"))?)),
            None => Ok(None),
        }
    }

    async fn tag_terms(&self, claim: &Claim) -> Result<Option<TagTerms>, StoreError> {
        if claim.tag_key_id.is_zero() {
            return Ok(None);
        }
        let (key, powers) = self.powers(claim.tag_key_id).await?;
        Ok(Some(TagTerms { key, powers, name: Name::of(claim, self.domain.provider) }))
    }

    async fn add(&self, claim_hash: Hash32, owned: OwnedClaim) -> Result<SignedClaimSet, StoreError> {
        let sequence = self.next_sequence().await?;
        let mut claims = self.index.claims(sequence).await?;
        claims.push(owned.claim.clone());
        let set = self.with_keys(claims).await?;
        let (files, claim) = (self.files.clone(), owned.claim.clone());
        spawn_blocking(move || files.keep(&claim_hash, &claim)).await??;
        let (root, tag_key) = (owned.claim.root, set.tag_key(&owned.claim.tag_key_id).cloned());
        let signed = self.sign(sequence, &set, Change::Added { owned, tag_key }).await?;
        info!(claim = %claim_hash, %root, sequence, "replica stored");
        Ok(signed)
    }

    /// Signs the next version: into the log, then into the index. Only then may it leave.
    pub(super) async fn sign(&self, sequence: u64, set: &Arc<ClaimSet>, change: Change) -> Result<SignedClaimSet, StoreError> {
        let signed = SignedClaimSet::sign(&self.domain, sequence, set, &self.key)?;
        let entry = Entry { set: signed.clone(), change };
        let (log, written) = (self.log.clone(), entry.clone());
        spawn_blocking(move || log.append(&written)).await??;
        self.index.apply(&entry).await?;
        self.cache(Arc::clone(set));
        Ok(signed)
    }

    pub(super) async fn next_sequence(&self) -> Result<u64, StoreError> {
        Ok(self.index.newest().await?.map_or(0, |set| set.sequence).saturating_add(1))
    }

    /// Applies what stands in the log and not yet in the index. The caller holds `writing`.
    pub(super) async fn catch_up(&self) -> Result<u64, StoreError> {
        let mut applied = 0;
        loop {
            let (log, sequence) = (self.log.clone(), self.next_sequence().await?);
            let Some(entry) = spawn_blocking(move || log.read(sequence)).await?? else { return Ok(applied) };
            entry.expect_domain(&self.domain)?;
            self.index.apply(&entry).await?;
            applied += 1;
        }
    }

    /// At the start: the index and the log say the same, whichever of them a crash or a loss left behind.
    pub(super) async fn recover(&self) -> Result<(), StoreError> {
        self.backfill_log().await?;
        let applied = self.catch_up().await?;
        let log = self.log.clone();
        let (last, next) = (spawn_blocking(move || log.last()).await??, self.next_sequence().await?);
        if last >= next {
            return Err(StoreError::LogGap(next));
        }
        if applied > 0 {
            self.expect_consistent().await?;
            self.forget_removed().await?;
            self.recover_tag_keys().await?;
            info!(applied, sequence = next - 1, "the index was brought up to the log of claim sets");
        }
        Ok(())
    }

    /// For an index that is older than the log.
    async fn backfill_log(&self) -> Result<(), StoreError> {
        let newest = self.next_sequence().await?.saturating_sub(1);
        let log = self.log.clone();
        let last = spawn_blocking(move || log.last()).await??;
        for sequence in last.saturating_add(1)..=newest {
            let set = self.index.set(sequence).await?.ok_or(StoreError::Damaged("claim_set"))?;
            // A version of which the index alone knows is one that only added something: releases came with the log.
            let owned = self.index.added_in(sequence).await?.ok_or(StoreError::LogGap(sequence))?;
            let tag_key = self.index.tag_key(&owned.claim.tag_key_id).await?.map(|(key, _)| key);
            let (log, entry) = (self.log.clone(), Entry { set, change: Change::Added { owned, tag_key } });
            spawn_blocking(move || log.append(&entry)).await??;
        }
        Ok(())
    }

    /// The claims of the newest version have the root that was signed.
    async fn expect_consistent(&self) -> Result<(), StoreError> {
        let Some(newest) = self.index.newest().await? else { return Ok(()) };
        let claims = self.index.claims(newest.sequence).await?;
        let set = spawn_blocking(move || ClaimSet::new(claims)).await??;
        match set.root() == newest.root {
            true => Ok(()),
            false => Err(StoreError::Damaged("claims")),
        }
    }

    /// Released claims whose data was removed before the index was lost: they must not be answered for as if it were kept.
    async fn forget_removed(&self) -> Result<(), StoreError> {
        for kept in self.index.kept().await? {
            if !self.files.replica(&kept.owned.claim.root).exists() {
                self.index.purge_one(&kept.owned.claim.hash(), now_s()).await?;
            }
        }
        Ok(())
    }
}
