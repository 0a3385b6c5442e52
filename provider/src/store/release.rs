//! Claims that their owners give up.

use assay_core::claim::{Claim, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::secp::{self, Signature65};
use tokio::task::spawn_blocking;
use tracing::info;

use super::{Store, now_s};
use crate::error::StoreError;
use crate::log::Change;

impl Store {
    /// Until when the data of a claim released at `released_at` is kept, unix seconds.
    pub(crate) fn kept_until(&self, released_at: i64) -> i64 {
        released_at.saturating_add_unsigned(self.limits.release_grace_s)
    }

    /// Signs a claim set without the claim, at its owner's word. Gives the newest set, and until when the data is kept (unix seconds).
    pub async fn release(&self, claim_hash: Hash32, signature: Signature65) -> Result<(SignedClaimSet, i64), StoreError> {
        let _writing = self.writing.lock().await;
        self.catch_up().await?;
        let released_at = match self.index.claim(&claim_hash).await? {
            Some(owned) => {
                self.expect_owner(&owned.claim, &claim_hash, &signature)?;
                let (sequence, at_s) = (self.next_sequence().await?, now_s());
                let mut claims = self.index.claims(sequence).await?;
                claims.retain(|claim| claim.root != owned.claim.root);
                let set = self.with_keys(claims).await?;
                self.sign(sequence, &set, Change::Released { owned, signature, at_s }).await?;
                info!(claim = %claim_hash, sequence, "claim released by its owner");
                self.released.notify_one();
                at_s
            }
            None => {
                let released = self.index.released(&claim_hash).await?.ok_or(StoreError::NotClaimed(claim_hash))?;
                self.expect_owner(&released.owned.claim, &claim_hash, &signature)?;
                released.released_at
            }
        };
        let newest = self.index.newest().await?.ok_or(StoreError::Damaged("claim_set"))?;
        Ok((newest, self.kept_until(released_at)))
    }

    fn expect_owner(&self, claim: &Claim, claim_hash: &Hash32, signature: &Signature65) -> Result<(), StoreError> {
        match secp::recover(&self.domain.release_digest(claim_hash), signature) == Ok(claim.owner) {
            true => Ok(()),
            false => Err(StoreError::ReleaseSignature(claim.owner)),
        }
    }

    /// Removes the data of claims that were released long enough ago. First it is written down that nothing is answered for them any more,
    /// so that a crash in between leaves files behind and no claim without its data.
    ///
    /// Answers that began before are given time to end.
    pub async fn purge_due(&self) -> Result<(), StoreError> {
        self.purge_settled(self.answer_time_s()).await
    }

    /// As [`Self::purge_due`], while nobody is answered.
    pub(super) async fn purge_before_serving(&self) -> Result<(), StoreError> {
        self.purge_settled(0).await
    }

    fn answer_time_s(&self) -> u64 {
        self.limits.challenge_timeout_ms.div_ceil(1000).saturating_add(1)
    }

    async fn purge_settled(&self, settled_s: u64) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let before = now_s().saturating_sub_unsigned(self.limits.release_grace_s);
        if self.index.purge(before, now_s()).await? > 0 {
            self.forget_cached_sets();
        }
        for claim in self.index.to_remove(now_s().saturating_sub_unsigned(settled_s)).await? {
            self.remove_files(&claim).await?;
            self.index.removed(&claim.hash()).await?;
            info!(claim = %claim.hash(), root = %claim.root, "the data of a released claim is removed");
        }
        Ok(())
    }

    /// Removes what no other claim needs.
    async fn remove_files(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut users = self.index.kept_on(&claim.root).await?.into_iter().map(|kept| kept.owned.claim).collect::<Vec<_>>();
        if let Some(hash) = self.index.claim_on(&claim.root).await? {
            users.extend(self.index.claim(&hash).await?.map(|owned| owned.claim));
        }
        let (files, root) = (self.files.clone(), claim.root);
        if users.is_empty() {
            spawn_blocking(move || files.remove(&root)).await??;
            self.forget_damage(&root).await?;
        } else if users.iter().all(|user| user.tag_key_id.is_zero()) {
            spawn_blocking(move || files.remove_tags(&root)).await??;
        }
        Ok(())
    }

    /// When there is something to remove next, unix seconds; `None` while nothing is kept.
    pub async fn next_purge(&self) -> Result<Option<i64>, StoreError> {
        let removal = self.index.oldest_purged().await?.map(|at| at.saturating_add_unsigned(self.answer_time_s()));
        let purge = self.index.oldest_kept().await?.map(|at| self.kept_until(at));
        Ok(removal.into_iter().chain(purge).min())
    }

    /// Waits for the next release.
    pub async fn next_release(&self) {
        self.released.notified().await;
    }
}
