//! Availability: whether a minimal call is answered at all, retries included.

use super::{counted, good_rtt_us};
use crate::challenge::schedule::{PairSecret, SlotTerms};
use crate::challenge::{Answer, AnswerError, Asked, Challenge, ChallengeKind, Checked, Kind};
use crate::observation::Counts;
use crate::params::{Class, PPM, Params};
use crate::transcript::Transcript;
use crate::verdict::{Dimension, Objective, Rule};

/// The kind. One ground: not answered.
#[derive(Clone, Copy, Debug)]
pub struct Availability;

/// The right answer: BLAKE3 `keyed_hash(child, "availability")`.
pub fn echo(challenge: &Challenge) -> [u8; 32] {
    *blake3::keyed_hash(&challenge.child, b"availability").as_bytes()
}

impl ChallengeKind for Availability {
    fn kind(&self) -> Kind {
        Kind::AVAILABILITY
    }

    fn name(&self) -> &'static str {
        "availability"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 0)
    }

    fn derive(&self, secret: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64> {
        let mean_us = slot.params.probing.availability_mean_ms.saturating_mul(1_000);
        slot.poisson(&mut secret.stream(self.kind(), 0), mean_us)
    }

    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
        match answer.samples.is_empty() {
            true => Ok(Checked::all_or_nothing(answer.payload == echo(asked.challenge))),
            false => Err(AnswerError::Count { got: answer.samples.len(), asked: 0 }),
        }
    }

    fn summarise(&self, _: &Params, _: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts {
        let probes = counted(transcripts).count() as u64;
        let bad = counted(transcripts).filter(|probe| good_rtt_us(probe).is_none()).count() as u64;
        Counts { kind: self.kind(), scheduled, counted: probes, bad: vec![bad], readings: vec![] }
    }

    fn objectives(&self, class: &Class) -> Vec<Objective> {
        let allowed_ppm = PPM.saturating_sub(class.availability_ppm);
        vec![Objective { dimension: Dimension::AVAILABILITY, ground: 0, allowed_ppm, minimum: 1, design_effect_milli: None, rule: Rule::Rate }]
    }
}
