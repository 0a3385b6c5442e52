//! `/v1/providers/{id}/storage`: what this oracle's own audits show of a provider's objects.

use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_proto::rest::{StorageDocument, StoredObject, loss_upper_bound_ppm};
use axum::Json;
use axum::extract::State;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};
use crate::store::{ClaimAge, ProviderAge, Samples, StoreError};

/// `/v1/providers/{id}/storage`
pub(super) async fn storage(
    State(state): State<ApiState>,
    Segments(id): Segments<String>,
    asked: Asked,
) -> Result<Json<StorageDocument>, ApiError> {
    let asked = asked.only(&["after", "limit"])?;
    let (provider, after, limit) = (ProviderId(page::id("a provider", &id)?), asked.offset()?, asked.limit()?);
    let age = state.store.provider_age(provider).await?;
    let is_registered = || state.view.latest_providers().iter().any(|info| info.terms.provider == provider);
    if age.is_none() && !is_registered() {
        return Err(ApiError::not_found(format!("provider {provider} is not registered")));
    }
    if let Some(ProviderAge { epoch, .. }) = age {
        // Records hold no epoch before its reveals are due. A clock that went back is no reason to show them.
        state.loader.check_revealed(epoch)?;
    }
    let set = claims_of(&state, age).await?;
    let (proven, oldest_ms) = state.store.oldest_proof(provider).await?;
    let (count, samples) = (set.len() as u64, age.map(|age| age.samples).unwrap_or_default());
    let objects = objects(&state, provider, set.claims().skip(after).take(limit)).await?;
    let end = after.saturating_add(objects.len());
    Ok(Json(StorageDocument {
        provider,
        oracle: state.view.health().oracle,
        epoch: age.map(|age| age.epoch),
        claim_root: age.map(|age| age.root),
        clean_samples: samples.clean,
        loss_upper_bound_ppm: loss_upper_bound_ppm(samples.clean),
        last_proven_at_ms: samples.last_proven_ms,
        oldest_age_ms: oldest_ms.filter(|_| proven >= count).map(|at_ms| state.view.now_ms().saturating_sub(at_ms)),
        never_proven: count.saturating_sub(proven),
        count,
        next: (end < set.len() && !objects.is_empty()).then_some(end as u64),
        objects,
    }))
}

/// The claim set of the newest revealed epoch: whether a later one is in use would be told too early.
async fn claims_of(state: &ApiState, age: Option<ProviderAge>) -> Result<ClaimSet, StoreError> {
    match age.filter(|age| !age.root.is_zero()) {
        Some(age) => Ok(state.store.claims(&age.root).await?.unwrap_or_default()),
        None => Ok(ClaimSet::default()),
    }
}

async fn objects(state: &ApiState, provider: ProviderId, page: impl Iterator<Item = &Claim>) -> Result<Vec<StoredObject>, StoreError> {
    let page: Vec<(Hash32, &Claim)> = page.map(|claim| (claim.hash(), claim)).collect();
    let (Some((first, _)), Some((last, _))) = (page.first(), page.last()) else { return Ok(Vec::new()) };
    let ages = state.store.claim_ages(provider, first, last).await?;
    Ok(page.iter().map(|(hash, claim)| object(*hash, claim, &samples_of(&ages, hash))).collect())
}

fn samples_of(ages: &[ClaimAge], claim: &Hash32) -> Samples {
    let found = ages.binary_search_by_key(claim, |age| age.claim).ok().and_then(|at| ages.get(at));
    found.map(|age| age.samples).unwrap_or_default()
}

fn object(hash: Hash32, claim: &Claim, samples: &Samples) -> StoredObject {
    StoredObject {
        claim: hash,
        object_id: claim.object_id,
        replica_index: claim.replica_index,
        blocks: claim.blocks,
        tag_key_id: claim.tag_key_id,
        last_proven_at_ms: samples.last_proven_ms,
        clean_samples: samples.clean,
        loss_upper_bound_ppm: loss_upper_bound_ppm(samples.clean),
    }
}
