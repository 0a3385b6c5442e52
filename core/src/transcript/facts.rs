//! Facts: what transcripts prove against a provider, to everybody and without trust in the oracle.

use super::{Outcome, Transcript};
use crate::challenge::{Kind, Sample};
use crate::claim::{ClaimProof, ClaimSet};
use crate::observation::{Fact, Fault};

/// At most `limit` facts from signed storage answers: invalid samples before missing ones, then in ascending order of their digests.
///
/// The choice is a function of the transcripts alone, so that a restart reveals what was committed. Only transcripts that
/// [`super::judge`] made may come in here: it has checked the signatures.
pub fn facts_of(transcripts: &[Transcript], claims: &ClaimSet, limit: u32) -> Vec<Fact> {
    let mut found: Vec<_> = transcripts.iter().flat_map(|transcript| faults_in(transcript, claims)).collect();
    found.sort_by_cached_key(|(fault, fact)| (*fault, fact.digest()));
    found.dedup_by(|(_, a), (_, b)| a == b);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    // A proof costs a pass over the whole set: only the chosen ones get theirs.
    found.into_iter().filter_map(|(_, fact)| with_proof(fact, claims)).collect()
}

fn faults_in(transcript: &Transcript, claims: &ClaimSet) -> Vec<(Fault, Fact)> {
    let (Outcome::Checked(checked), Some(answer), Some(signature)) = (&transcript.outcome, &transcript.answer, transcript.signature)
    else {
        return Vec::new();
    };
    let challenge = &transcript.challenge;
    if challenge.kind != Kind::STORAGE {
        return Vec::new();
    }
    let samples = challenge.samples();
    let words = answer.sample_words();
    let invalid = checked.invalid.iter().map(|position| (Fault::StorageInvalid, *position));
    let missing = checked.missing.iter().map(|position| (Fault::StorageMissing, *position));
    invalid
        .chain(missing)
        .filter_map(|(fault, position)| {
            let at = usize::try_from(position).ok()?;
            let (claim, _) = claims.locate(samples.get(at)?.block)?;
            let fact = Fact {
                challenge: challenge.clone(),
                position,
                words: words.clone(),
                slice: answer.samples.get(at)?.clone(),
                claim: claim.clone(),
                proof: ClaimProof::default(),
                signature,
            };
            Some((fault, fact))
        })
        .collect()
}

fn with_proof(fact: Fact, claims: &ClaimSet) -> Option<Fact> {
    let at = usize::try_from(fact.position).ok()?;
    let Sample { block, .. } = *fact.challenge.samples().get(at)?;
    let proof = claims.proof(claims.index_of_block(block))?;
    Some(Fact { proof, ..fact })
}
