//! The kinds of protocol version 1, one module each.

pub mod availability;
pub mod bandwidth;
pub mod latency;
pub mod locality;
pub mod storage;

use super::Stream;
use super::schedule::SlotTerms;
use crate::transcript::{Outcome, Transcript};

/// Draws of a time before one inside a bandwidth window is taken all the same.
const DRAWS: usize = 16;

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

/// A time in the slot, uniform, and apart from the panel's bandwidth windows as far as that can be had.
fn apart_from_windows(stream: &mut Stream, slot: &SlotTerms<'_>) -> u64 {
    let mut at_us = stream.below(slot.slot_us());
    for _ in 1..DRAWS {
        if !slot.is_in_window(at_us) {
            break;
        }
        at_us = stream.below(slot.slot_us());
    }
    at_us
}
