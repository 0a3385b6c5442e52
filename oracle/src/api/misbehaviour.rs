//! `/v1/epochs/{e}/misbehaviour`: proofs that members broke the protocol.

use assay_core::ids::OracleId;
use assay_proto::rest::{ProofList, ProofRef};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};

/// `/v1/epochs/{e}/misbehaviour`
pub(super) async fn list(
    State(state): State<ApiState>,
    Segments(epoch): Segments<String>,
    asked: Asked,
) -> Result<Json<ProofList>, ApiError> {
    asked.only(&[])?;
    let epoch = page::epoch(&epoch)?;
    state.loader.check_revealed(epoch)?;
    let proofs = state.store.proofs(epoch).await?;
    let items = proofs.into_iter().map(|held| ProofRef { oracle: held.oracle, offence: held.offence, bytes: held.proof.len() as u64 });
    Ok(Json(ProofList { epoch, items: items.collect() }))
}

/// `/v1/epochs/{e}/misbehaviour/{oracle}/{offence}`: the proof as it is passed on.
pub(super) async fn proof(
    State(state): State<ApiState>,
    Segments((epoch, oracle, offence)): Segments<(String, String, String)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    asked.only(&[])?;
    let (epoch, oracle) = (page::epoch(&epoch)?, OracleId(page::id("an oracle", &oracle)?));
    state.loader.check_revealed(epoch)?;
    let proofs = state.store.proofs(epoch).await?;
    let held = proofs.into_iter().find(|held| held.oracle == oracle && held.offence.name() == offence);
    let held = held.ok_or_else(|| ApiError::not_found("this node holds no such proof; /v1/epochs/{epoch}/misbehaviour lists them"))?;
    Ok(([(header::CONTENT_TYPE, "application/x-protobuf")], held.proof).into_response())
}
