//! Locality: a chain of dependent reads. Where each read lies follows from what the one before it gave, so whoever fetches the data from
//! elsewhere pays a round trip for each of them, and whoever has it at hand pays none.
//!
//! A score for people: it says how far the data is from the machine that answers, as far as one clock can tell. A regional relay on fast disks
//! and an honest slow disk look alike. So no class promises anything about it, and it never costs anybody anything.

use super::{apart_from_windows, counted, good_rtt_us};
use crate::challenge::schedule::{PairSecret, SlotTerms};
use crate::challenge::{Answer, AnswerError, Asked, Challenge, ChallengeKind, Checked, Kind, Sample, Stream, claims_of, sample_holds};
use crate::observation::Counts;
use crate::params::{Class, Params};
use crate::replica::CHUNKS_PER_BLOCK;
use crate::slice::Slice;
use crate::transcript::Transcript;
use crate::verdict::Objective;

/// Reads of a chain.
pub const READS: usize = 16;

/// The kind. One ground: the chain did not come whole and in time. Readings: shortest and median time of whole chains, µs.
#[derive(Clone, Copy, Debug)]
pub struct Locality;

/// Walks the chain: `read` gives the chunk of a sample, or what became of it. Ends early behind the first sample that is missing.
///
/// The first sample follows from the challenge's seed, every later one from the chunk before it: keyed BLAKE3 with the seed as key, so that no
/// part of a chunk can be left away.
pub fn walk<E>(challenge: &Challenge, mut read: impl FnMut(&Sample) -> Result<Option<Slice>, E>) -> Result<Vec<Option<Slice>>, E> {
    let mut slices = Vec::with_capacity(READS);
    let mut link = challenge.seed().0;
    for _ in 0..READS {
        let Some(sample) = step(challenge, &link) else { break };
        let slice = read(&sample)?;
        let is_missing = match &slice {
            Some(slice) => {
                link = next_link(challenge, slice);
                false
            }
            None => true,
        };
        slices.push(slice);
        if is_missing {
            break;
        }
    }
    Ok(slices)
}

fn step(challenge: &Challenge, link: &[u8; 32]) -> Option<Sample> {
    let mut stream = Stream::new(&[b"assay.locality.v1", link]);
    let block = (challenge.claim_blocks > 0).then(|| stream.below(challenge.claim_blocks))?;
    Some(Sample { block, chunk: u32::try_from(stream.below(CHUNKS_PER_BLOCK)).ok()? })
}

fn next_link(challenge: &Challenge, slice: &Slice) -> [u8; 32] {
    *blake3::keyed_hash(&challenge.seed().0, &slice.chunk).as_bytes()
}

impl ChallengeKind for Locality {
    fn kind(&self) -> Kind {
        Kind::LOCALITY
    }

    fn name(&self) -> &'static str {
        "locality"
    }

    fn needs_claims(&self) -> bool {
        true
    }

    fn arity(&self) -> (usize, usize) {
        (1, 2)
    }

    /// Once in a slot, apart from the windows.
    fn derive(&self, secret: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64> {
        vec![apart_from_windows(&mut secret.stream(self.kind(), 0), slot)]
    }

    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
        let (claims, challenge) = (claims_of(asked)?, asked.challenge);
        if !answer.payload.is_empty() || answer.samples.iter().flatten().any(|slice| !slice.fits()) {
            return Err(AnswerError::Payload);
        }
        let mut given = answer.samples.iter();
        let mut checked = Checked { valid: 0, invalid: vec![], missing: vec![] };
        let walked = walk(challenge, |sample| {
            let slice = given.next().ok_or(AnswerError::Count { got: answer.samples.len(), asked: READS })?;
            let position = checked.valid;
            match slice {
                None => checked.missing.push(position),
                // What stands behind a wrong chunk is worth nothing.
                Some(slice) if !sample_holds(sample, slice, claims) => checked.invalid.push(position),
                Some(_) => checked.valid = checked.valid.saturating_add(1),
            }
            Ok(slice.clone().filter(|_| checked.invalid.is_empty()))
        })?;
        match given.next() {
            Some(_) if checked.all_valid() => Err(AnswerError::Count { got: answer.samples.len(), asked: walked.len() }),
            _ => Ok(checked),
        }
    }

    fn summarise(&self, _: &Params, _: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts {
        let counted: Vec<Option<u64>> = counted(transcripts).map(good_rtt_us).collect();
        let bad = counted.iter().filter(|rtt_us| rtt_us.is_none()).count() as u64;
        let total = counted.len() as u64;
        let mut whole_us: Vec<u64> = counted.into_iter().flatten().collect();
        whole_us.sort_unstable();
        let at = |index: usize| whole_us.get(index).copied().unwrap_or(0);
        Counts { kind: self.kind(), scheduled, counted: total, bad: vec![bad], readings: vec![at(0), at(whole_us.len() / 2)] }
    }

    fn objectives(&self, _: &Class) -> Vec<Objective> {
        Vec::new()
    }
}
