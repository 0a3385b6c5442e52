//! `/v1/epochs/{e}/evidence` and `/v1/evidence/{digest}`: the transcripts as they are stored, here or at another oracle.

use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_proto::rest::{BundleRef, EvidenceList};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};
use super::view::Bundles;

/// The bundle's bytes. Whether an unrevealed bundle exists is a secret too: it answers like an unknown one.
pub(super) async fn bundle(State(state): State<ApiState>, Segments(digest): Segments<String>, asked: Asked) -> Result<Response, ApiError> {
    let asked = asked.only(&["oracle", "epoch", "provider"])?;
    let digest = page::digest(&digest)?;
    let found = match other_oracle(&state, &asked)? {
        None => own_bundle(&state, &digest).await?,
        Some(oracle) => {
            let (epoch, provider) = (asked.required("epoch")?, ProviderId(asked.required("provider")?));
            let bundles = fetched(&state, oracle, epoch, provider).await?;
            bundles.iter().find(|bundle| digest_of(bundle) == digest).cloned()
        }
    };
    let bundle = found.ok_or_else(|| ApiError::not_found("no evidence with this digest, or its epoch is not revealed yet"))?;
    let headers = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, bundle).into_response())
}

async fn own_bundle(state: &ApiState, digest: &Hash32) -> Result<Option<Bytes>, ApiError> {
    let stored = state.store.evidence(digest).await?;
    let Some(evidence) = stored.filter(|evidence| state.loader.check_revealed(evidence.epoch).is_ok()) else { return Ok(None) };
    match digest_of(&evidence.bundle) == *digest {
        true => Ok(Some(evidence.bundle.into())),
        false => Err(ApiError::internal(format!("evidence {digest} does not hash to its digest: the database is damaged"))),
    }
}

fn digest_of(bundle: &[u8]) -> Hash32 {
    blake3::hash(bundle).into()
}

/// The oracle that is asked for, unless it is this one.
fn other_oracle(state: &ApiState, asked: &Asked) -> Result<Option<OracleId>, ApiError> {
    Ok(asked.oracle()?.filter(|oracle| state.view.health().oracle != Some(*oracle)))
}

async fn fetched(state: &ApiState, oracle: OracleId, epoch: u64, provider: ProviderId) -> Result<Bundles, ApiError> {
    state.loader.check_revealed(epoch)?;
    let bundles = state.view.evidence_of(oracle, epoch, provider).await;
    bundles
        .ok_or_else(|| ApiError::unavailable("peer_unavailable", format!("oracle {oracle} does not give its evidence now")).retry_after(5))
}

/// `/v1/epochs/{e}/evidence/{provider}`: the digests of an oracle's bundles, by slot.
pub(super) async fn list(
    State(state): State<ApiState>,
    Segments((epoch, provider)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Json<EvidenceList>, ApiError> {
    let asked = asked.only(&["oracle"])?;
    let (epoch, provider) = (page::epoch(&epoch)?, ProviderId(page::id("a provider", &provider)?));
    state.loader.check_revealed(epoch)?;
    let (oracle, bundles) = match other_oracle(&state, &asked)? {
        Some(oracle) => {
            let bundles = fetched(&state, oracle, epoch, provider).await?;
            (oracle, bundles.iter().map(|b| BundleRef { digest: digest_of(b), bytes: b.len() as u64 }).collect())
        }
        None => {
            let me = state.view.health().oracle;
            let me = me.ok_or_else(|| ApiError::unavailable("starting", "this node is not registered yet").retry_after(5))?;
            let stored = state.store.evidence_list(epoch, provider).await?;
            (me, stored.into_iter().map(|(digest, bytes)| BundleRef { digest, bytes }).collect())
        }
    };
    Ok(Json(EvidenceList { epoch, provider, oracle, bundles }))
}
