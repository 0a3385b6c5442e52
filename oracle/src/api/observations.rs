//! `/v1/epochs/{e}/proposal` and `/v1/epochs/{e}/observations`: everything a report is recomputed from.

use std::collections::BTreeMap;

use assay_core::ids::ProviderId;
use assay_proto::rest::{ObservationsPage, ProposalDocument, RevealDocument};
use axum::Json;
use axum::extract::State;

use super::ApiState;
use super::error::ApiError;
use super::page::{self, Asked, Segments};
use crate::closing::{OpenedCommit, data_digest};

/// Most observations on one page, whatever the limit: one observation is about a kilobyte.
const MAX_OBSERVATIONS: usize = 2_000;
/// Most facts on one page: one fact is about ten kilobytes.
const MAX_FACTS: usize = 200;

/// The providers of a page: behind `after`, up to `last`.
struct Range {
    after: ProviderId,
    last: ProviderId,
    is_end: bool,
}

impl Range {
    /// As many whole providers as the limits allow, one at least.
    fn new(included: &[OpenedCommit], after: ProviderId, limit: usize) -> Self {
        let mut sizes: BTreeMap<ProviderId, (usize, usize)> = BTreeMap::new();
        for opened in included {
            for salted in &opened.reveal.observations {
                sizes.entry(salted.observation.provider).or_default().0 += 1;
            }
            for fact in &opened.reveal.facts {
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

/// `/v1/epochs/{e}/proposal`
pub(super) async fn proposal(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<ProposalDocument>, ApiError> {
    asked.only(&[])?;
    let epoch = state.loader.epoch(page::epoch(&number)?).await?;
    let closing = state.loader.closing(&epoch).await?;
    let proposal = closing.proposal.as_ref();
    let proposal = proposal.ok_or_else(|| ApiError::not_found("this node holds the certificate and not the proposal; ask another"))?;
    Ok(Json(proposal.into()))
}

/// `/v1/epochs/{e}/observations`
pub(super) async fn list(
    State(state): State<ApiState>,
    Segments(number): Segments<String>,
    asked: Asked,
) -> Result<Json<ObservationsPage>, ApiError> {
    let asked = asked.only(&["after", "limit"])?;
    let (number, after, limit) = (page::epoch(&number)?, asked.after()?, asked.limit()?);
    let epoch = state.loader.epoch(number).await?;
    let closing = state.loader.closing(&epoch).await?;
    let included = &closing.reveals;
    let range = Range::new(included, after, limit);
    let reveals = included.iter().map(|o| RevealDocument::new(&o.signed, o.commit_digest, &o.reveal, |provider| range.holds(provider)));
    let report = &epoch.outcome().report;
    Ok(Json(ObservationsPage {
        epoch: number,
        report_digest: epoch.digest(),
        data_digest: report.data_digest,
        complete: data_digest(included) == report.data_digest,
        reveals: reveals.collect(),
        next: (!range.is_end).then_some(range.last),
    }))
}
