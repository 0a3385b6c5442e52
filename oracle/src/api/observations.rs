//! `/v1/epochs/{e}/observations`: everything a report is recomputed from.

use std::collections::BTreeMap;

use assay_core::abi::Words;
use assay_core::claim::{Claim, ClaimProof};
use assay_core::hash::Hash32;
use assay_core::challenge::Challenge;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::merkle;
use assay_core::observation::{Commit, Fact, Fault, Observation, Seeds, SignedCommit, VerifiedReveal};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ApiState;
use super::epochs::hex;
use super::error::ApiError;
use super::load::Epoch;
use super::page::{self, Asked, Segments};

/// Most observations on one page, whatever the limit: one observation is about a kilobyte.
const MAX_OBSERVATIONS: usize = 2_000;
/// Most facts on one page: one fact is about ten kilobytes.
const MAX_FACTS: usize = 200;

/// The included reveals, as far as this page's providers go.
#[derive(Serialize)]
pub(super) struct Observations {
    epoch: u64,
    report_digest: Hash32,
    data_digest: Hash32,
    /// Whether the reveals are exactly those under `data_digest`; otherwise this node lacks one.
    complete: bool,
    reveals: Vec<RevealPage>,
    /// `after` of the next page; none behind the last.
    next: Option<ProviderId>,
}

/// One oracle's reveal: its head in full, its observations and facts about the page's providers.
#[derive(Serialize)]
struct RevealPage {
    oracle: OracleId,
    commit: Commit,
    commit_digest: Hash32,
    commit_signature: String,
    seeds: Seeds,
    vrfs: Vec<String>,
    observations: Vec<Salted>,
    facts: Vec<FactJson>,
}

#[derive(Serialize)]
struct Salted {
    observation: Observation,
    salt: Hash32,
}

#[derive(Serialize)]
struct FactJson {
    digest: Hash32,
    fault: Fault,
    challenge: Challenge,
    position: u32,
    words: Vec<Hash32>,
    slice: Option<SliceJson>,
    claim: Claim,
    proof: ClaimProof,
    signature: String,
}

#[derive(Serialize)]
struct SliceJson {
    chunk: String,
    siblings: Vec<Hash32>,
}

impl FactJson {
    fn new(fact: &Fact, fault: Fault) -> Self {
        Self {
            digest: fact.digest(),
            fault,
            challenge: fact.challenge.clone(),
            position: fact.position,
            words: fact.words.clone(),
            slice: fact.slice.as_ref().map(|slice| SliceJson {
                chunk: hex(&slice.chunk),
                siblings: slice.siblings.iter().map(|sibling| Hash32(*sibling)).collect(),
            }),
            claim: fact.claim.clone(),
            proof: fact.proof.clone(),
            signature: hex(fact.signature.0),
        }
    }
}

impl RevealPage {
    fn new(signed: &SignedCommit, verified: &VerifiedReveal, range: &Range) -> Self {
        let reveal = &verified.reveal;
        let observations = reveal.observations.iter().filter(|salted| range.holds(salted.observation.provider));
        let facts = reveal.facts.iter().zip(&verified.faults).filter(|(fact, _)| range.holds(fact.challenge.provider));
        Self {
            oracle: reveal.oracle,
            commit: signed.commit,
            commit_digest: verified.commit_digest,
            commit_signature: hex(signed.signature.to_compressed()),
            seeds: reveal.seeds.clone(),
            vrfs: reveal.vrfs.iter().map(|vrf| hex(vrf.to_compressed())).collect(),
            observations: observations.map(|salted| Salted { observation: salted.observation.clone(), salt: salted.salt }).collect(),
            facts: facts.map(|(fact, fault)| FactJson::new(fact, *fault)).collect(),
        }
    }
}

/// The providers of a page: behind `after`, up to `last`.
struct Range {
    after: ProviderId,
    last: ProviderId,
    is_end: bool,
}

impl Range {
    /// As many whole providers as the limits allow, one at least.
    fn new(included: &[(SignedCommit, VerifiedReveal)], after: ProviderId, limit: usize) -> Self {
        let mut sizes: BTreeMap<ProviderId, (usize, usize)> = BTreeMap::new();
        for (_, verified) in included {
            for salted in &verified.reveal.observations {
                sizes.entry(salted.observation.provider).or_default().0 += 1;
            }
            for fact in &verified.reveal.facts {
                sizes.entry(fact.challenge.provider).or_default().1 += 1;
            }
        }
        let (mut last, mut observations, mut facts) = (after, 0, 0);
        let behind = sizes.into_iter().filter(|(provider, _)| *provider > after);
        for (taken, (provider, (more_observations, more_facts))) in behind.enumerate() {
            observations += more_observations;
            facts += more_facts;
            if taken > 0 && (taken >= limit || observations > MAX_OBSERVATIONS || facts > MAX_FACTS) {
                return Self { after, last, is_end: false };
            }
            last = provider;
        }
        Self { after, last, is_end: true }
    }

    fn holds(&self, provider: ProviderId) -> bool {
        provider > self.after && provider <= self.last
    }
}

/// The reveals that the report counts, ascending by oracle.
fn included(epoch: &Epoch, mut reveals: Vec<(SignedCommit, VerifiedReveal)>) -> Vec<(SignedCommit, VerifiedReveal)> {
    reveals.retain(|(_, verified)| epoch.outcome().paid_oracles.contains(&verified.reveal.oracle));
    reveals.sort_by_key(|(_, verified)| verified.reveal.oracle);
    reveals
}

fn data_digest(included: &[(SignedCommit, VerifiedReveal)]) -> Hash32 {
    let leaf = |verified: &VerifiedReveal| merkle::leaf(&Words::new().with(&verified.reveal.oracle).with(&verified.commit_digest));
    merkle::root(included.iter().map(|(_, verified)| leaf(verified)).collect())
}

/// `/v1/epochs/{e}/observations`
pub(super) async fn list(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<Observations>, ApiError> {
    let asked = asked.only(&["after", "limit"])?;
    let (number, after, limit) = (page::epoch(&number)?, asked.after()?, asked.limit()?);
    let epoch = state.loader.epoch(number).await?;
    let included = included(&epoch, state.view.reveals(number).await);
    let range = Range::new(&included, after, limit);
    let report = &epoch.outcome().report;
    Ok(Json(Observations {
        epoch: number,
        report_digest: epoch.digest(),
        data_digest: report.data_digest,
        complete: data_digest(&included) == report.data_digest,
        reveals: included.iter().map(|(signed, verified)| RevealPage::new(signed, verified, &range)).collect(),
        next: (!range.is_end).then_some(range.last),
    }))
}
