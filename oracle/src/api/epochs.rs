//! `/v1/epochs`: what became of an epoch, its verdicts and its report.

use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::report::Setting;
use assay_proto::rest::{Acceptance, CertifiedReport, LedgerDocument, VerdictsPage};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;
use super::load::{self, Epoch};
use super::page::{self, Asked, Page, Segments};
use crate::store::AcceptedEpoch;

/// The newest certified epochs.
#[derive(Serialize)]
pub(super) struct Certified {
    epochs: Vec<u64>,
}

/// What became of an epoch.
#[derive(Serialize)]
pub(super) struct Summary {
    epoch: u64,
    state: State_,
    times: Option<Times>,
    /// None until the report is certified.
    report: Option<ReportSummary>,
    /// None until the chain finally accepted it.
    accepted: Option<Acceptance>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum State_ {
    /// It has not begun.
    Future,
    /// Its measurements are not revealed yet.
    Measuring,
    /// Revealed, without a certificate at this node.
    Closing,
    /// Certified.
    Certified,
    /// Accepted by the chain, finally.
    Accepted,
}

/// Unix ms, by the epoch's own parameters.
#[derive(Serialize)]
struct Times {
    start_ms: u64,
    end_ms: u64,
    commit_deadline_ms: u64,
    reveal_deadline_ms: u64,
    /// From then on everything of the epoch may be read.
    readable_ms: u64,
    sign_deadline_ms: u64,
    valid_until_s: u64,
}

impl From<&Setting> for Times {
    fn from(setting: &Setting) -> Self {
        let (end_ms, deadlines) = (setting.end_ms(), &setting.params.deadlines);
        Self {
            start_ms: setting.start_ms(),
            end_ms,
            commit_deadline_ms: end_ms.saturating_add(deadlines.commit_ms),
            reveal_deadline_ms: end_ms.saturating_add(deadlines.reveal_ms),
            readable_ms: load::reveals_due_ms(setting),
            sign_deadline_ms: end_ms.saturating_add(deadlines.sign_ms),
            valid_until_s: setting.valid_until_s(),
        }
    }
}

#[derive(Serialize)]
struct ReportSummary {
    digest: Hash32,
    view: u64,
    secure: bool,
    /// Positions of the signers in the committee set.
    signer_bits: Vec<usize>,
    /// Their ids, while the node knows the epoch's committee.
    signers: Option<Vec<OracleId>>,
    signed_weight: Option<u64>,
    total_weight: Option<u64>,
    verdicts: usize,
    paid_oracles: Vec<OracleId>,
    #[serde(with = "assay_core::amount")]
    reward_total: u128,
    #[serde(with = "assay_core::amount")]
    slash_total: u128,
}

impl ReportSummary {
    fn new(epoch: &Epoch, setting: Option<&Setting>) -> Self {
        let outcome = epoch.outcome();
        let signer_bits: Vec<usize> = epoch.certificate().signer_bits().collect();
        let id = |setting: &Setting, bit: &usize| setting.members.get(*bit).map(|member| member.oracle);
        let signers: Option<Vec<OracleId>> = setting.and_then(|setting| signer_bits.iter().map(|bit| id(setting, bit)).collect());
        Self {
            digest: epoch.digest(),
            view: outcome.report.view,
            secure: outcome.report.seed_secure,
            signed_weight: setting.and_then(|setting| Some(setting.weight_of(signers.as_ref()?))),
            total_weight: setting.map(Setting::total_weight),
            signer_bits,
            signers,
            verdicts: outcome.verdicts.len(),
            paid_oracles: outcome.paid_oracles.iter().copied().collect(),
            reward_total: outcome.report.reward_total,
            slash_total: outcome.report.slash_total,
        }
    }
}

impl From<AcceptedEpoch> for Acceptance {
    fn from(accepted: AcceptedEpoch) -> Self {
        let AcceptedEpoch { digest, tx_hash, block_number, gas_used, .. } = accepted;
        Self { digest, tx_hash, block_number, gas_used }
    }
}

/// `/v1/epochs`
pub(super) async fn list(State(state): State<ApiState>, asked: Asked) -> Result<Json<Certified>, ApiError> {
    let limit = asked.only(&["limit"])?.limit()?;
    let mut epochs = state.store.certified_epochs(u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    epochs.retain(|epoch| state.loader.check_revealed(*epoch).is_ok());
    Ok(Json(Certified { epochs }))
}

/// `/v1/epochs/{e}`
pub(super) async fn summary(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<Summary>, ApiError> {
    asked.only(&[])?;
    let number = page::epoch(&number)?;
    let setting = state.view.setting(number);
    let Some(known) = &setting else {
        return certified(&state, number, None).await.map(Json);
    };
    let now_ms = state.view.now_ms();
    if state.loader.check_revealed(number).is_err() {
        let stage = if now_ms < known.start_ms() { State_::Future } else { State_::Measuring };
        return Ok(Json(Summary { epoch: number, state: stage, times: Some(known.as_ref().into()), report: None, accepted: None }));
    }
    if state.store.outcome(number).await?.is_none() {
        return closing(&state, number, known).await.map(Json);
    }
    certified(&state, number, Some(known)).await.map(Json)
}

/// Revealed, and without a certificate here. The chain may have accepted one all the same.
async fn closing(state: &ApiState, epoch: u64, setting: &Setting) -> Result<Summary, ApiError> {
    let accepted = state.store.accepted(epoch).await?;
    let stage = if accepted.is_some() { State_::Accepted } else { State_::Closing };
    Ok(Summary { epoch, state: stage, times: Some(setting.into()), report: None, accepted: accepted.map(Into::into) })
}

async fn certified(state: &ApiState, number: u64, setting: Option<&Setting>) -> Result<Summary, ApiError> {
    let epoch = state.loader.epoch(number).await?;
    let accepted = state.store.accepted(number).await?;
    Ok(Summary {
        epoch: number,
        state: if accepted.is_some() { State_::Accepted } else { State_::Certified },
        times: setting.map(Into::into),
        report: Some(ReportSummary::new(&epoch, setting)),
        accepted: accepted.map(Into::into),
    })
}

/// `/v1/epochs/{e}/verdicts`
pub(super) async fn verdicts(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<VerdictsPage>, ApiError> {
    let asked = asked.only(&["after", "limit"])?;
    let (number, after, limit) = (page::epoch(&number)?, asked.after()?, asked.limit()?);
    let epoch = state.loader.epoch(number).await?;
    let page = Page::cut(epoch.outcome().verdicts.iter(), |verdict| verdict.provider, after, limit);
    let items = page.items.into_iter().cloned().collect();
    Ok(Json(VerdictsPage { epoch: number, report_digest: epoch.digest(), items, next: page.next }))
}

/// `/v1/epochs/{e}/report`
pub(super) async fn report(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<CertifiedReport>, ApiError> {
    asked.only(&[])?;
    let number = page::epoch(&number)?;
    let epoch = state.loader.epoch(number).await?;
    let accepted = state.store.accepted(number).await?.map(Into::into);
    Ok(Json(CertifiedReport::new(epoch.certificate(), accepted)))
}

/// `/v1/epochs/{e}/ledger`
pub(super) async fn ledger(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<LedgerDocument>, ApiError> {
    asked.only(&[])?;
    let epoch = state.loader.epoch(page::epoch(&number)?).await?;
    Ok(Json(epoch.outcome().into()))
}
