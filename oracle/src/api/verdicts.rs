//! `/v1/verdicts` and `/v1/slashes`: one provider's epoch, with the proof that a contract opens.

use assay_core::abi::Words;
use assay_core::challenge::Challenge;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::merkle;
use assay_core::observation::Fault;
use assay_core::report::Report;
use assay_core::verdict::Verdict;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;
use super::load::Epoch;
use super::page::{self, Asked, Segments};
use assay_proto::rest::Acceptance;

/// A Merkle leaf: the words that are hashed, and the hash.
#[derive(Serialize)]
pub(super) struct Leaf {
    /// Solidity types, in order.
    types: &'static [&'static str],
    /// The ABI words, in the same order.
    words: Vec<Hash32>,
    /// `keccak(keccak(words))`.
    pub(super) hash: Hash32,
}

impl Leaf {
    pub(super) fn new(types: &'static [&'static str], words: &Words) -> Self {
        let parts = words.as_bytes().chunks_exact(32).filter_map(Hash32::from_slice).collect();
        Self { types, words: parts, hash: merkle::leaf(words) }
    }
}

/// A verdict and its proof under `resultRoot`.
#[derive(Serialize)]
pub(super) struct ProvenVerdict {
    verdict: Verdict,
    leaf: Leaf,
    proof: Vec<Hash32>,
    report_digest: Hash32,
    #[serde(flatten)]
    context: Option<Context>,
}

/// What `?claim=1` leaves out.
#[derive(Serialize)]
struct Context {
    report: Report,
    panel: Vec<OracleId>,
    accepted: Option<Acceptance>,
}

/// A slash, in the order of `executeSlash`.
#[derive(Serialize)]
pub(super) struct ProvenSlash {
    report: Report,
    provider_id: ProviderId,
    reason: u8,
    description: &'static str,
    facts_root: Hash32,
    /// Of a slash for silence: the challenge, which the provider may still answer on the chain.
    challenge: Option<Challenge>,
    #[serde(with = "assay_core::amount")]
    amount: u128,
    proof: Vec<Hash32>,
    leaf: Leaf,
    report_digest: Hash32,
    accepted: Option<Acceptance>,
}

const RESULT_TYPES: &[&str] = &["uint64", "uint64", "uint8", "uint32", "uint256", "uint256", "bytes32"];
const SLASH_TYPES: &[&str] = &["uint64", "uint64", "uint8", "bytes32", "uint256"];

fn result_leaf(verdict: &Verdict) -> Leaf {
    let words = Words::new()
        .with(&verdict.provider)
        .with(&verdict.epoch)
        .with(&(verdict.outcome as u8))
        .with(&verdict.multiplier_ppm)
        .with(&verdict.reward)
        .with(&verdict.slash)
        .with(&verdict.dimensions_word());
    Leaf::new(RESULT_TYPES, &words)
}

fn parse(provider: &str, epoch: &str) -> Result<(ProviderId, u64), ApiError> {
    Ok((ProviderId(page::id("a provider", provider)?), page::epoch(epoch)?))
}

fn not_judged(provider: ProviderId, epoch: u64) -> ApiError {
    ApiError::not_found(format!("epoch {epoch} has no verdict on provider {provider}"))
}

/// `/v1/verdicts/{provider}/{epoch}`
pub(super) async fn verdict(
    State(state): State<ApiState>,
    Segments((provider, number)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Json<ProvenVerdict>, ApiError> {
    let bare = asked.only(&["claim"])?.flag("claim")?;
    let (provider, number) = parse(&provider, &number)?;
    let epoch = state.loader.epoch(number).await?;
    let verdict = epoch.verdict(provider).ok_or_else(|| not_judged(provider, number))?;
    let leaf = result_leaf(verdict);
    let proof = epoch.prove_result(&leaf.hash)?;
    let context = match bare {
        true => None,
        false => Some(Context {
            report: epoch.outcome().report.clone(),
            panel: epoch.outcome().panels.get(&provider).cloned().unwrap_or_default(),
            accepted: state.store.accepted(number).await?.map(Into::into),
        }),
    };
    Ok(Json(ProvenVerdict { verdict: verdict.clone(), leaf, proof, report_digest: epoch.digest(), context }))
}

fn silenced(epoch: &Epoch, provider: ProviderId) -> Option<Challenge> {
    epoch.outcome().ledger.watch.get(&provider).map(|watched| watched.challenge.clone())
}

/// `/v1/slashes/{provider}/{epoch}`
pub(super) async fn slash(
    State(state): State<ApiState>,
    Segments((provider, number)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Json<ProvenSlash>, ApiError> {
    asked.only(&[])?;
    let (provider_id, number) = parse(&provider, &number)?;
    let epoch = state.loader.epoch(number).await?;
    let verdict = epoch.verdict(provider_id).ok_or_else(|| not_judged(provider_id, number))?;
    let fault = verdict.slash_reason.ok_or_else(|| ApiError::not_found(format!("epoch {number} does not slash provider {provider_id}")))?;
    let (reason, facts_root, amount) = (fault.reason(), verdict.facts_root, verdict.slash);
    let words = Words::new().with(&provider_id).with(&number).with(&reason).with(&facts_root).with(&amount);
    let leaf = Leaf::new(SLASH_TYPES, &words);
    let proof = epoch.prove_slash(&leaf.hash)?;
    Ok(Json(ProvenSlash {
        report: epoch.outcome().report.clone(),
        provider_id,
        reason,
        description: fault.describe(),
        facts_root,
        challenge: (fault == Fault::StorageSilent).then(|| silenced(&epoch, provider_id)).flatten(),
        amount,
        proof,
        leaf,
        report_digest: epoch.digest(),
        accepted: state.store.accepted(number).await?.map(Into::into),
    }))
}
