//! The kinds of protocol version 1, one module each.

pub mod availability;
pub mod bandwidth;
pub mod latency;
pub mod storage;

use crate::transcript::{Outcome, Transcript};

/// The round trip of an answer in which everything verified.
fn good_rtt_us(transcript: &Transcript) -> Option<u64> {
    match &transcript.outcome {
        Outcome::Checked(checked) if checked.all_valid() => transcript.rtt_us,
        _ => None,
    }
}

/// Transcripts that count: the oracle's own losses do not.
fn counted<'a>(transcripts: &'a [&'a Transcript]) -> impl Iterator<Item = &'a Transcript> {
    transcripts.iter().copied().filter(|transcript| !matches!(transcript.outcome, Outcome::OracleError(_)))
}
