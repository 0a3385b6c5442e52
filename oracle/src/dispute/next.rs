//! What a convicted report asks for next.

use assay_chain::{BlockTag, ChainError, Client, SignersCourt, SubmittedReport, calls};
use assay_core::ids::{Address, OracleId};

/// What one transaction slashes at most: a few million gas.
pub(crate) const MOST_SIGNERS: u64 = 64;

/// What is due for a convicted report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Nobody opened the review yet.
    Open,
    /// The review runs until this time, unix seconds.
    Wait(u64),
    /// The owner called the slash off.
    Cancelled,
    /// The review is over, and these signers are not slashed yet.
    Slash(Vec<OracleId>),
    /// All who signed are slashed.
    Done,
}

impl Next {
    /// As of a block; whether the review is over is decided by that block's time.
    pub(crate) async fn of(client: &Client, court: &SignersCourt, submitted: &SubmittedReport, at: BlockTag) -> Result<Self, ChainError> {
        let report = &submitted.report;
        let review = match court.review(&report.digest(), at).await? {
            None => return Ok(Self::Open),
            Some(review) if review.cancelled => return Ok(Self::Cancelled),
            Some(review) => review,
        };
        if client.block(at).await?.timestamp_s < review.until_s {
            return Ok(Self::Wait(review.until_s));
        }
        let set = client.set_oracles(report.set_epoch).await?;
        let mut left = Vec::new();
        for oracle in submitted.signer_bits().filter_map(|bit| set.get(bit)) {
            if !court.is_punished(*oracle, report.epoch, at).await? {
                left.push(*oracle);
            }
        }
        Ok(if left.is_empty() { Self::Done } else { Self::Slash(left) })
    }

    /// Calldata for the signers' court; none while there is nothing to send.
    pub(crate) fn calls(&self, submitted: &SubmittedReport, convicted_by: &Address) -> Vec<Vec<u8>> {
        match self {
            Self::Open => vec![calls::open_review(&submitted.report, convicted_by)],
            Self::Slash(left) => left.chunks(MOST_SIGNERS as usize).map(|_| calls::slash_signers(submitted, MOST_SIGNERS)).collect(),
            Self::Wait(_) | Self::Cancelled | Self::Done => Vec::new(),
        }
    }
}
