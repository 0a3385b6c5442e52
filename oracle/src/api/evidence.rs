//! `/v1/epochs/{e}/evidence` and `/v1/evidence/{digest}`: the transcripts as they are stored.

use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};

/// The bundle's bytes. Whether an unrevealed bundle exists is a secret too: it answers like an unknown one.
pub(super) async fn bundle(State(state): State<ApiState>, Segments(digest): Segments<String>, asked: Asked) -> Result<Response, ApiError> {
    asked.only(&[])?;
    let digest = page::digest(&digest)?;
    let stored = state.store.evidence(&digest).await?;
    let readable = stored.filter(|evidence| state.loader.check_revealed(evidence.epoch).is_ok());
    let evidence = readable.ok_or_else(|| ApiError::not_found("no evidence with this digest, or its epoch is not revealed yet"))?;
    if Hash32::from(blake3::hash(&evidence.bundle)) != digest {
        return Err(ApiError::internal(format!("evidence {digest} does not hash to its digest: the database is damaged")));
    }
    let headers = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, evidence.bundle).into_response())
}

/// Where the transcripts of one provider's epoch lie.
#[derive(Serialize)]
pub(super) struct Evidence {
    epoch: u64,
    provider: ProviderId,
    bundles: Vec<BundleRef>,
}

#[derive(Serialize)]
struct BundleRef {
    digest: Hash32,
    slot: u32,
    bytes: usize,
}

/// `/v1/epochs/{e}/evidence/{provider}`: the digests of this oracle's bundles, by slot.
pub(super) async fn list(
    State(state): State<ApiState>,
    Segments((epoch, provider)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Json<Evidence>, ApiError> {
    asked.only(&[])?;
    let (epoch, provider) = (page::epoch(&epoch)?, ProviderId(page::id("a provider", &provider)?));
    state.loader.check_revealed(epoch)?;
    let stored = state.store.evidence_about(epoch, provider).await?;
    let bundles = stored.iter().map(|e| BundleRef { digest: e.digest, slot: e.slot, bytes: e.bundle.len() }).collect();
    Ok(Json(Evidence { epoch, provider, bundles }))
}
