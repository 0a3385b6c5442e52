//! What a provider's claim set may lack that the one before had: claims that their owners released, and no others.
//!
//! A provider that lost an object would like to drop it from its claims before an audit finds out. A set that lacks claims without their
//! owners' signatures is treated like one that is not served: there are no claims, and every audit is silent.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_challenger::link::{Link, LinkError, RELEASES_PAGE, Released};
use assay_core::claim::{Claim, ClaimDomain, ClaimSet, MAX_CLAIMS};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::secp;

use super::Measurer;
use crate::store::{ClaimVersion, StoreError};

/// Claims that left, by their hashes, with the owners who have to have released them.
type Gone = BTreeMap<Hash32, Address>;

/// Why a claim set is not in use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It was not served.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What it is compared with cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It lacks claims that nobody released.
    #[error("the claim set lacks {left} claims that their owners did not release")]
    Vanished {
        /// How many.
        left: usize,
    },
}

/// Takes the released ones out. A signature that is not the owner's ends it: nothing that follows would be better.
fn take_released(domain: &ClaimDomain, gone: &mut Gone, page: &[Released]) -> Result<(), Refused> {
    for Released { claim, signature, .. } in page {
        let hash = claim.hash();
        let Some(owner) = gone.get(&hash) else { continue };
        if secp::recover(&domain.release_digest(&hash), signature) != Ok(*owner) {
            return Err(Refused::Vanished { left: gone.len() });
        }
        gone.remove(&hash);
    }
    Ok(())
}

fn gone(previous: &ClaimSet, next: &ClaimSet) -> Gone {
    let hashed = previous.claims().map(|claim: &Claim| (claim.hash(), claim.owner));
    hashed.filter(|(hash, _)| next.index_of(hash).is_none()).collect()
}

impl Measurer {
    /// Whether a provider's set of claims may follow the last one that we accepted; if it is that one, or the first, it may.
    ///
    /// Without a link nothing can be asked: then a set that lacks claims is refused.
    pub(super) async fn check_releases(
        &self,
        provider: ProviderId,
        version: &ClaimVersion,
        claims: &Arc<ClaimSet>,
        link: Option<&Link>,
    ) -> Result<(), Refused> {
        let Some(previous) = self.store.accepted_claims(provider).await? else { return Ok(()) };
        // An epoch that is set up after its successor: its set was compared with the one before, or is older than what we know.
        if previous.root == version.root || previous.root.is_zero() || previous.epoch > version.epoch {
            return Ok(());
        }
        let Some(before) = self.store.claims(&previous.root).await? else { return Ok(()) };
        let next = claims.clone();
        // A million claims take seconds to hash, and as many signatures minutes to recover: not on a thread that probes.
        let blocking = tokio::task::spawn_blocking(move || gone(&before, &next));
        let gone = blocking.await.map_err(|_| Refused::Vanished { left: 0 })?;
        match (gone.is_empty(), link) {
            (true, _) => Ok(()),
            (false, None) => Err(Refused::Vanished { left: gone.len() }),
            (false, Some(link)) => self.ask_for_releases(provider, previous.sequence, gone, link).await,
        }
    }

    /// Reads the releases after a version until none is missing. At most as many as there can be claims are read.
    async fn ask_for_releases(&self, provider: ProviderId, mut after: u64, mut gone: Gone, link: &Link) -> Result<(), Refused> {
        let domain = ClaimDomain { chain_id: self.signer.instance().chain_id, provider_registry: self.provider_registry, provider };
        for _ in 0..MAX_CLAIMS / RELEASES_PAGE {
            let page = link.releases(after).await?;
            let is_last = page.len() < RELEASES_PAGE;
            after = page.last().map_or(after, |last| last.sequence);
            let checked = tokio::task::spawn_blocking(move || take_released(&domain, &mut gone, &page).map(|()| gone));
            gone = checked.await.map_err(|_| Refused::Vanished { left: 0 })??;
            if gone.is_empty() {
                return Ok(());
            }
            if is_last {
                break;
            }
        }
        Err(Refused::Vanished { left: gone.len() })
    }
}
