//! Storage: possession of randomly drawn blocks, by slices or compact proofs, signed by the provider, so that a wrong answer is a fact.

use super::apart_from_windows;
use crate::challenge::schedule::{PairSecret, SlotTerms};
use crate::challenge::{Answer, AnswerError, Asked, ChallengeKind, Checked, Kind, check_storage};
use crate::observation::Counts;
use crate::params::{Class, Params};
use crate::transcript::{Outcome, Transcript};
use crate::verdict::{Dimension, Objective, Rule};

/// Samples of one audit (c in the detection bound `1 − (1 − f)^c`).
pub const STORAGE_SAMPLES: u32 = 30;
/// Share of audits that may stay unanswered, ppm.
const ALLOWED_SILENT_PPM: u64 = 50_000;

/// How many of the positions were drawn: extra blocks are the oracle's choice and count for nothing.
fn drawn(positions: &[u32]) -> u64 {
    positions.iter().filter(|position| **position < STORAGE_SAMPLES).count() as u64
}

/// The kind. Counts are drawn samples; a silent audit has silent samples only. Grounds: invalid, missing, silent.
#[derive(Clone, Copy, Debug)]
pub struct Storage;

impl Storage {
    /// Index of the ground "signed and wrong".
    pub const INVALID: usize = 0;
    /// Index of the ground "signed as missing".
    pub const MISSING: usize = 1;
    /// Index of the ground "no valid signed answer in time".
    pub const SILENT: usize = 2;
}

impl ChallengeKind for Storage {
    fn kind(&self) -> Kind {
        Kind::STORAGE
    }

    fn name(&self) -> &'static str {
        "storage"
    }

    fn chunks(&self) -> u32 {
        STORAGE_SAMPLES
    }

    fn is_signed(&self) -> bool {
        true
    }

    fn weight(&self, _: &Class) -> u64 {
        u64::from(STORAGE_SAMPLES)
    }

    fn arity(&self) -> (usize, usize) {
        (3, 0)
    }

    /// Uniform over the slot, apart from the windows as far as that can be had.
    fn derive(&self, secret: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64> {
        let mut stream = secret.stream(self.kind(), 0);
        (0..slot.params.probing.storage_audits_per_slot).map(|_| apart_from_windows(&mut stream, slot)).collect()
    }

    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
        if asked.challenge.chunks != STORAGE_SAMPLES {
            return Err(AnswerError::Challenge);
        }
        check_storage(asked, answer)
    }

    fn summarise(&self, _: &Params, _: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts {
        let samples = u64::from(STORAGE_SAMPLES);
        let (mut counted, mut invalid, mut missing, mut silent) = (0u64, 0u64, 0u64, 0u64);
        for audit in transcripts {
            match &audit.outcome {
                Outcome::Checked(checked) => {
                    invalid = invalid.saturating_add(drawn(&checked.invalid));
                    missing = missing.saturating_add(drawn(&checked.missing));
                }
                Outcome::Silent => silent = silent.saturating_add(samples),
                Outcome::OracleError(_) => continue,
            }
            counted = counted.saturating_add(samples);
        }
        Counts { kind: self.kind(), scheduled, counted, bad: vec![invalid, missing, silent], readings: vec![] }
    }

    /// Facts decide; beside them silence is a rate like any other. The samples of one audit are silent together: they count as one.
    fn objectives(&self, _: &Class) -> Vec<Objective> {
        vec![Objective {
            dimension: Dimension::STORAGE,
            ground: Self::SILENT,
            allowed_ppm: ALLOWED_SILENT_PPM,
            minimum: 1,
            design_effect_milli: Some(u64::from(STORAGE_SAMPLES).saturating_mul(1_000)),
            rule: Rule::Facts,
        }]
    }
}
