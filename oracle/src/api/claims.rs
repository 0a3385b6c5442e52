//! `/v1/claims/{root}`: claim sets, by the root that the chain names.

use std::collections::BTreeSet;

use assay_core::claim::ClaimSet;
use assay_proto::rest::ClaimsPage;
use axum::Json;
use axum::extract::State;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};

/// `/v1/claims/{root}`. Claims are public: every provider serves its own.
pub(super) async fn claims(
    State(state): State<ApiState>,
    Segments(root): Segments<String>,
    asked: Asked,
) -> Result<Json<ClaimsPage>, ApiError> {
    let asked = asked.only(&["after", "limit"])?;
    let (root, after, limit) = (page::digest(&root)?, asked.offset()?, asked.limit()?);
    let set = match root.is_zero() {
        true => Some(ClaimSet::default()),
        false => state.store.claims(&root).await?,
    };
    let set = set.ok_or_else(|| ApiError::not_found("this node drew no challenges from a claim set with this root"))?;
    let items: Vec<_> = set.claims().skip(after).take(limit).cloned().collect();
    let end = after.saturating_add(items.len());
    let next = (end < set.len() && !items.is_empty()).then_some(end as u64);
    let named: BTreeSet<_> = items.iter().map(|claim| claim.tag_key_id).collect();
    let tag_keys = named.iter().filter_map(|id| set.tag_key(id)).map(|key| key.to_bytes().into()).collect();
    Ok(Json(ClaimsPage { root: set.root(), count: set.len() as u64, items, tag_keys, next }))
}
