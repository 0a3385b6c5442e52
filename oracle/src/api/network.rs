//! `/v1/network` and `/v1/epochs/{e}/beacon`: what an auditor starts from.

use assay_proto::rest::{BeaconRound, BeaconRounds, Network};
use axum::Json;
use axum::extract::State;
use futures::stream::{self, StreamExt};
use tokio::sync::Semaphore;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};

/// Rounds asked for at once.
const CONCURRENT_ROUNDS: usize = 8;

/// `/v1/network`
pub(super) async fn network(State(state): State<ApiState>, asked: Asked) -> Result<Json<Network>, ApiError> {
    asked.only(&[])?;
    Ok(Json(state.view.network()))
}

static TURN: Semaphore = Semaphore::const_new(1);

/// `/v1/epochs/{e}/beacon`
pub(super) async fn beacon(
    State(state): State<ApiState>,
    Segments(epoch): Segments<String>,
    asked: Asked,
) -> Result<Json<BeaconRounds>, ApiError> {
    asked.only(&[])?;
    let epoch = page::epoch(&epoch)?;
    state.loader.check_revealed(epoch)?;
    // Genesis and parameters never change: any setting tells the times.
    let known = state.view.setting(epoch).or_else(|| state.view.setting(state.view.health().epoch));
    let known = known.ok_or_else(|| ApiError::unavailable("starting", "the node has not read the chain yet; try again").retry_after(5))?;
    let params = &known.params;
    let start_ms = known.genesis_s.saturating_mul(1_000).saturating_add(epoch.saturating_mul(params.epoch_ms()));
    let slots = (0..params.slots).map(|slot| start_ms.saturating_add(u64::from(slot).saturating_mul(params.slot_ms)));
    let times: Vec<u64> = std::iter::once(start_ms).chain(slots).collect();
    // One reader at a time: the relays' patience is needed for the node's own seeds.
    let _turn = TURN.acquire().await.map_err(|_| ApiError::internal("the node is stopping"))?;
    let rounds: Vec<_> = stream::iter(times).map(|at_ms| state.view.round_at(at_ms)).buffered(CONCURRENT_ROUNDS).collect().await;
    let document = |(number, round): (u64, Option<assay_core::beacon::Round>)| BeaconRound {
        round: number,
        signature: round.map(|round| round.signature.to_compressed().into()),
    };
    let rounds: Option<Vec<_>> = rounds.into_iter().map(|round| round.map(document)).collect();
    let rounds = rounds.ok_or_else(|| ApiError::internal("the beacon has no round for this epoch"))?;
    Ok(Json(BeaconRounds { epoch, rounds }))
}
