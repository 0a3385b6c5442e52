//! `/v1/epochs/{e}/misbehaviour`: proofs that members broke the protocol.

use assay_core::epoch::Offence;
use assay_core::ids::OracleId;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};

/// The proofs of an epoch that this node holds.
#[derive(Serialize)]
pub(super) struct Proofs {
    epoch: u64,
    items: Vec<ProofRef>,
}

/// One of them.
#[derive(Serialize)]
struct ProofRef {
    oracle: OracleId,
    offence: Offence,
    bytes: usize,
}

/// `/v1/epochs/{e}/misbehaviour`
pub(super) async fn list(State(state): State<ApiState>, Segments(epoch): Segments<String>, asked: Asked) -> Result<Json<Proofs>, ApiError> {
    asked.only(&[])?;
    let epoch = page::epoch(&epoch)?;
    state.loader.check_revealed(epoch)?;
    let proofs = state.store.proofs(epoch).await?;
    let items = proofs.into_iter().map(|held| ProofRef { oracle: held.oracle, offence: held.offence, bytes: held.proof.len() });
    Ok(Json(Proofs { epoch, items: items.collect() }))
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
