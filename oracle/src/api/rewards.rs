//! `/v1/rewards`: what somebody may claim, with the proof.

use assay_core::abi::Words;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::report::{Payee, Report, Standing};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};
use super::verdicts::Leaf;
use assay_proto::rest::Acceptance;

/// The arguments of `SlaSettlement.claim`, in order, and where they come from.
#[derive(Serialize)]
pub(super) struct Claim {
    report: Report,
    kind: u8,
    id: u64,
    recipient: Address,
    #[serde(with = "assay_core::amount")]
    cumulative: u128,
    proof: Vec<Hash32>,
    leaf: Leaf,
    token: Address,
    epoch: u64,
    report_digest: Hash32,
    accepted: Acceptance,
}

const REWARD_TYPES: &[&str] = &["uint8", "uint64", "address", "address", "uint256"];

fn parse(kind: &str, id: &str) -> Result<Payee, ApiError> {
    match kind {
        "provider" => Ok(Payee::Provider(ProviderId(page::id("a provider", id)?))),
        "oracle" => Ok(Payee::Oracle(OracleId(page::id("an oracle", id)?))),
        other => Err(ApiError::bad_request(format!("rewards go to a provider or an oracle, not to {other:?}"))),
    }
}

/// `/v1/rewards/{provider|oracle}/{id}`
pub(super) async fn reward(
    State(state): State<ApiState>,
    Segments((kind, id)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Json<Claim>, ApiError> {
    asked.only(&[])?;
    let payee = parse(&kind, &id)?;
    let newest = state.loader.newest_accepted().await?;
    let (epoch, accepted) = newest.ok_or_else(|| ApiError::not_found("no report that this node holds is accepted by the chain yet"))?;
    let ledger = &epoch.outcome().ledger;
    let standing = match payee {
        Payee::Provider(provider) => ledger.providers.get(&provider),
        Payee::Oracle(oracle) => ledger.oracles.get(&oracle),
    };
    let standing = standing.filter(|standing| standing.cumulative > 0);
    let Standing { cumulative, recipient, .. } =
        *standing.ok_or_else(|| ApiError::not_found(format!("{kind} {id} has earned nothing yet")))?;
    let report = epoch.outcome().report.clone();
    let token = token(&state, report.epoch)?;
    let (kind, id) = payee.kind_and_id();
    let words = Words::new().with(&kind).with(&id).with(&recipient).with(&token).with(&cumulative);
    let leaf = Leaf::new(REWARD_TYPES, &words);
    let proof = epoch.prove_reward(&token, &leaf.hash)?;
    let (number, report_digest) = (report.epoch, epoch.digest());
    Ok(Json(Claim { report, kind, id, recipient, cumulative, proof, leaf, token, epoch: number, report_digest, accepted: accepted.into() }))
}

/// The settlement's token never changes: any setting names it.
fn token(state: &ApiState, epoch: u64) -> Result<Address, ApiError> {
    let setting = state.view.setting(epoch).or_else(|| state.view.setting(state.view.health().epoch));
    let known = setting.map(|setting| setting.token);
    known.ok_or_else(|| ApiError::unavailable("starting", "the node has not read the chain yet; try again").retry_after(5))
}
