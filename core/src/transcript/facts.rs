//! Facts: what transcripts prove against a provider, to everybody and without trust in the oracle.

use std::collections::BTreeSet;

use super::{Outcome, Transcript};
use crate::challenge::compact::CompactAnswer;
use crate::challenge::{Answer, Challenge, Kind};
use crate::claim::{ClaimProof, ClaimSet};
use crate::observation::{Evidence, Fact, Fault, PlacedClaim};

/// At most `limit` facts from signed storage answers: invalid samples before missing ones, then in ascending order of their digests.
///
/// The choice is a function of the transcripts alone, so that a restart reveals what was committed. Only transcripts that
/// [`super::judge`] made may come in here: it has checked the signatures. Those about another claim set are passed over.
pub fn facts_of(transcripts: &[Transcript], claims: &ClaimSet, limit: u32) -> Vec<Fact> {
    let root = claims.root();
    let is_about = |challenge: &Challenge| challenge.claim_root == root.hash && challenge.claim_blocks == root.blocks;
    let about = transcripts.iter().filter(|transcript| is_about(&transcript.challenge));
    let mut found: Vec<_> = about.flat_map(|transcript| faults_in(transcript, claims)).collect();
    found.sort_by_cached_key(|(fault, fact)| (*fault, fact.digest()));
    found.dedup_by(|(_, a), (_, b)| a == b);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    // A proof costs a pass over the whole set: only the chosen ones get theirs.
    found.into_iter().filter_map(|(_, fact)| with_proofs(fact, claims)).collect()
}

fn faults_in(transcript: &Transcript, claims: &ClaimSet) -> Vec<(Fault, Fact)> {
    let (Outcome::Checked(checked), Some(answer), Some(signature)) = (&transcript.outcome, &transcript.answer, transcript.signature) else {
        return Vec::new();
    };
    let challenge = &transcript.challenge;
    if challenge.kind != Kind::STORAGE {
        return Vec::new();
    }
    let compact = CompactAnswer::parse(&answer.payload).unwrap_or_default();
    let fact = |position: u32, evidence| Fact {
        challenge: challenge.clone(),
        position,
        payload: answer.payload.clone(),
        words: answer.sample_words(),
        evidence,
        signature,
    };
    let missing = checked.missing.iter().map(|position| (Fault::StorageMissing, fact(*position, Evidence::Missing)));
    let invalid = checked.invalid.iter().filter_map(|position| {
        let evidence = evidence_of(challenge, answer, &compact, usize::try_from(*position).ok()?, claims)?;
        Some((Fault::StorageInvalid, fact(*position, evidence)))
    });
    invalid.chain(missing).collect()
}

/// What shows that the sample at `position` is wrong, still without paths. Of the samples of one proof the first speaks for all.
fn evidence_of(challenge: &Challenge, answer: &Answer, compact: &CompactAnswer, position: usize, claims: &ClaimSet) -> Option<Evidence> {
    let samples = challenge.samples();
    let Some(group) = compact.group_of(position) else {
        let sample = samples.get(position)?;
        let before = (0..position).filter(|before| !compact.covered().has(*before)).count();
        let slice = answer.samples.get(before)?.clone()?;
        return Some(Evidence::Slice { slice, place: unproven(claims, claims.index_of_block(sample.block))? });
    };
    if group.positions.iter().next() != Some(position) {
        return None;
    }
    let indices: BTreeSet<_> =
        group.positions.iter().filter_map(|position| Some(claims.index_of_block(samples.get(position)?.block))).collect();
    let places: Option<Vec<_>> = indices.into_iter().map(|index| unproven(claims, index)).collect();
    Some(Evidence::Compact { key: claims.tag_key(&group.key)?.to_bytes(), places: places? })
}

fn unproven(claims: &ClaimSet, index: usize) -> Option<PlacedClaim> {
    claims.claims().nth(index).map(|claim| PlacedClaim { claim: claim.clone(), proof: ClaimProof::default() })
}

fn with_proofs(mut fact: Fact, claims: &ClaimSet) -> Option<Fact> {
    let places = match &mut fact.evidence {
        Evidence::Missing => &mut [][..],
        Evidence::Slice { place, .. } => std::slice::from_mut(place),
        Evidence::Compact { places, .. } => places,
    };
    for place in places {
        place.proof = claims.proof(claims.index_of(&place.claim.hash())?)?;
    }
    Some(fact)
}
