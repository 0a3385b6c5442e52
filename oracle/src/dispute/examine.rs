//! Whether a report is wrong: this node's arithmetic first, then the court's own word.

use assay_chain::{AggregationCourt, BlockTag, ChainError, Client, Mismatch};
use assay_core::report::{OpenedReport, Report, Setting, VerdictCase};
use tracing::warn;

/// A parent is looked for so many epochs before its child.
const LOOK_BACK: u64 = 64;

/// A verdict that the court finds wrong.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    /// What the court is shown.
    pub(crate) case: VerdictCase,
    /// What it finds.
    pub(crate) mismatch: Mismatch,
}

/// The first verdict, ascending by provider, that the court finds wrong; `None` when all stand. A case that the court does not take is
/// passed over.
pub(crate) async fn first_wrong(court: &AggregationCourt, opened: &OpenedReport, setting: &Setting) -> Result<Option<Wrong>, ChainError> {
    for case in opened.doubtful(setting) {
        match court.mismatch_of(opened.report(), &case).await {
            Ok(Some(mismatch)) => return Ok(Some(Wrong { case, mismatch })),
            Ok(None) => {}
            Err(ChainError::Refused { reason, .. }) => {
                let provider = case.judged.verdict.provider;
                warn!(epoch = opened.report().epoch, %provider, reason, "the court does not take a verdict that is not ours");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The epoch of an accepted report's parent on the newest block: 0, which nobody looks at, for the first report; `None` when the parent is
/// not on the chain.
pub(crate) async fn parent_epoch(client: &Client, report: &Report) -> Result<Option<u64>, ChainError> {
    if report.parent_digest.is_zero() {
        return Ok(Some(0));
    }
    for epoch in (report.epoch.saturating_sub(LOOK_BACK)..report.epoch).rev() {
        if let Some(accepted) = client.accepted_report(epoch, BlockTag::Latest).await? {
            return Ok(accepted.digest.is_of(&report.parent_digest).then_some(epoch));
        }
    }
    Ok(None)
}
