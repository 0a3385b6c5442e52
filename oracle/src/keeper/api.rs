//! Ledgers from APIs that are not trusted: one counts when the finalized chain accepted its report, and everything in it stands under that.

use assay_chain::AcceptedReport;
use assay_core::ids::Address;
use assay_core::report::Outcome;
use assay_proto::rest::LedgerDocument;

use crate::rest::{ApiError, Apis, Asked, Failure, MAX_LEDGER_BYTES};

/// The ledger behind an accepted report, from the first API that tells the truth.
pub(super) async fn ledger(apis: &Apis, epoch: u64, accepted: &AcceptedReport, token: &Address) -> Result<Asked<Outcome>, ApiError> {
    apis.first("the ledger", async |api| {
        let document = api.document(&format!("/v1/epochs/{epoch}/ledger"), MAX_LEDGER_BYTES).await?;
        check(document, epoch, accepted, token).map_err(|how| Failure::Lie(format!("its ledger of epoch {epoch} {how}")))
    })
    .await
}

/// Believes nothing but the digest that the finalized chain keeps.
fn check(document: LedgerDocument, epoch: u64, accepted: &AcceptedReport, token: &Address) -> Result<Outcome, &'static str> {
    let outcome = document.into_outcome().map_err(|_| "contradicts itself")?;
    if outcome.report.epoch != epoch || !accepted.digest.is_of(&outcome.report.digest()) {
        return Err("comes with another report than the finalized chain accepted");
    }
    match outcome.supports(&outcome.report, token) {
        true => Ok(outcome),
        false => Err("does not stand under the report that the finalized chain accepted"),
    }
}
