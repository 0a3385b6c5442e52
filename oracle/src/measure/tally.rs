//! From an epoch's transcripts to what they say of every object: when it was proven, and how many clean samples there are.
//!
//! An epoch's tally is stored beside its observations, before anything of them leaves, and folded into the records when everybody's reveal
//! is due: at the very time at which the interface for readers opens the epoch ([`reveals_due_ms`]). Folded earlier, a reader would learn
//! from a clean count that grows, or falls to zero, what this oracle is about to reveal; whoever copies its observations needs no more.
//! An epoch that was not committed to, because we were not there when it was compiled, is never revealed, and leaves no tally either.

use std::collections::{BTreeMap, BTreeSet};

use assay_core::challenge::{Checked, Kind};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::ids::ProviderId;
use assay_core::report::Setting;
use assay_core::transcript::{Outcome, Transcript};
use tracing::warn;

use super::Measurer;
use crate::api::reveals_due_ms;
use crate::clock::now_ms;
use crate::store::{Samples, StoreError, Tally};

/// What our own audits of one epoch showed of a provider with these claims. Other transcripts are passed over: what the whole panel watches
/// was drawn for another epoch, or by somebody else.
pub(super) fn tally(setting: &Setting, provider: ProviderId, claims: &ClaimSet, transcripts: &[Transcript]) -> Tally {
    let root = claims.root();
    let mut counted = Counted { claims, total: Samples::default(), by_claim: BTreeMap::new() };
    let mut seen = BTreeSet::new();
    let mut audits: Vec<(u64, &Transcript, &Checked)> = transcripts.iter().filter_map(|audit| answered(setting, audit)).collect();
    audits.sort_by_key(|(at_ms, audit, _)| (*at_ms, audit.challenge.slot, audit.challenge.index));
    for (at_ms, audit, checked) in audits {
        let challenge = &audit.challenge;
        let is_about = challenge.epoch == setting.epoch && challenge.claim_root == root.hash && challenge.claim_blocks == root.blocks;
        if is_about && seen.insert((challenge.oracle, challenge.slot, challenge.index)) {
            counted.add(at_ms, audit, checked);
        }
    }
    let claims = counted.by_claim.values().map(|(claim, samples)| (claim.hash(), *samples)).collect();
    Tally { provider, root: root.hash, total: counted.total, claims }
}

/// A storage audit that was answered, and when. Of a later ask it is only known that it was not before the slot of the first: what is proven
/// is never said to be proven later than it was.
fn answered<'a>(setting: &Setting, audit: &'a Transcript) -> Option<(u64, &'a Transcript, &'a Checked)> {
    let Outcome::Checked(checked) = &audit.outcome else { return None };
    if audit.challenge.kind != Kind::STORAGE {
        return None;
    }
    let slot_ms = u64::from(audit.challenge.slot).saturating_mul(setting.params.slot_ms);
    let within_us = audit.scheduled_at_us.saturating_add(audit.slip_us).saturating_add(audit.rtt_us.unwrap_or(0));
    Some((setting.start_ms().saturating_add(slot_ms).saturating_add(within_us / 1_000), audit, checked))
}

struct Counted<'a> {
    claims: &'a ClaimSet,
    total: Samples,
    /// By the claim's place in the set.
    by_claim: BTreeMap<usize, (&'a Claim, Samples)>,
}

impl Counted<'_> {
    /// Clean samples first: a fault ends what is counted for its object and for the provider. Extra blocks prove an object, and convict
    /// their provider, but nobody drew them: they are not among the samples that a bound rests on.
    fn add(&mut self, at_ms: u64, audit: &Transcript, checked: &Checked) {
        let bad: BTreeSet<u32> = checked.invalid.iter().chain(&checked.missing).copied().collect();
        let samples = || (0u32..).zip(audit.challenge.samples());
        for (position, sample) in samples().filter(|(position, _)| !bad.contains(position)) {
            let is_drawn = u64::from(position < audit.challenge.chunks);
            self.note(sample.block, |samples| {
                samples.last_proven_ms = samples.last_proven_ms.max(Some(at_ms));
                samples.clean = samples.clean.saturating_add(is_drawn);
            });
        }
        for (_, sample) in samples().filter(|(position, _)| bad.contains(position)) {
            self.note(sample.block, |samples| {
                samples.clean = 0;
                samples.bad = samples.bad.saturating_add(1);
            });
        }
    }

    /// Of the provider, and of the claim that holds the block.
    fn note(&mut self, block: u64, change: impl Fn(&mut Samples)) {
        let Some((claim, _)) = self.claims.locate(block) else { return };
        let (_, of_claim) = self.by_claim.entry(self.claims.index_of_block(block)).or_insert((claim, Samples::default()));
        change(of_claim);
        change(&mut self.total);
    }
}

impl Measurer {
    /// Stores an epoch's tallies. Compiling the epoch again changes nothing.
    pub(super) async fn keep_tallies(&self, setting: &Setting, tallies: &[Tally]) -> Result<(), StoreError> {
        self.store.put_tallies(setting.epoch, reveals_due_ms(setting), tallies).await
    }

    /// Folds every epoch whose reveals are due, also those that an earlier run of this process left. What fails is tried again the next time.
    pub async fn fold(&self) {
        if let Err(error) = self.store.fold_tallies(now_ms()).await {
            warn!(%error, "what audits showed is not up to date; it is tried again after the next epoch");
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_core::challenge::{Challenge, STORAGE_SAMPLES};
    use assay_core::hash::Hash32;

    use super::super::compile::tests::transcript;
    use super::super::extra::tests::{claims, setting};
    use super::*;

    fn audit(set: &ClaimSet, index: u32, extra: Vec<u64>, invalid: Vec<u32>, missing: Vec<u32>) -> Transcript {
        let valid = STORAGE_SAMPLES + extra.len() as u32 - (invalid.len() + missing.len()) as u32;
        let mut audit = transcript(index, Outcome::Checked(Checked { valid, invalid, missing }));
        audit.challenge = Challenge {
            epoch: setting().epoch,
            kind: Kind::STORAGE,
            claim_root: set.root().hash,
            claim_blocks: set.root().blocks,
            chunks: STORAGE_SAMPLES,
            extra,
            ..audit.challenge
        };
        audit.rtt_us = Some(2_000);
        audit
    }

    fn claim_of(set: &ClaimSet, audit: &Transcript, position: usize) -> Hash32 {
        set.locate(audit.challenge.samples()[position].block).unwrap().0.hash()
    }

    #[test]
    fn clean_samples_are_counted_of_the_provider_and_of_each_object() {
        let set = claims(3);
        let audits = [audit(&set, 1, vec![], vec![], vec![]), audit(&set, 2, vec![], vec![], vec![])];
        let seen = tally(&setting(), ProviderId(6), &set, &audits);
        assert_eq!((seen.total.clean, seen.total.bad, seen.root), (60, 0, set.root().hash));
        assert_eq!(seen.claims.values().map(|samples| samples.clean).sum::<u64>(), 60);
        let at_ms = setting().start_ms() + 4 * setting().params.slot_ms + 2;
        assert_eq!(seen.total.last_proven_ms, Some(at_ms), "slot 4, answered after 2 ms");
        assert_eq!(tally(&setting(), ProviderId(6), &set, &[]).total, Samples::default());
    }

    // Defence: `position < chunks` in `add`. Without it an oracle that asks for the same block ten times tells of a bound that nothing supports.
    #[test]
    fn extra_blocks_prove_an_object_and_count_for_no_bound() {
        let set = claims(3);
        let with = audit(&set, 1, vec![0; 10], vec![], vec![]);
        let first = claim_of(&set, &with, 30);
        let seen = tally(&setting(), ProviderId(6), &set, std::slice::from_ref(&with));
        assert_eq!(seen.total.clean, 30);
        let drawn = (0..30).filter(|position| claim_of(&set, &with, *position) == first).count() as u64;
        assert_eq!(seen.claims[&first].clean, drawn);
        assert!(seen.claims[&first].last_proven_ms.is_some());
    }

    #[test]
    fn a_fault_ends_the_count_of_its_object_and_of_the_provider() {
        let set = claims(40);
        let mut audits = vec![audit(&set, 1, vec![], vec![], vec![]), audit(&set, 2, vec![], vec![3], vec![7])];
        let seen = tally(&setting(), ProviderId(6), &set, &audits);
        assert_eq!((seen.total.clean, seen.total.bad), (0, 2));
        let (invalid, missing) = (claim_of(&set, &audits[1], 3), claim_of(&set, &audits[1], 7));
        assert!([invalid, missing].iter().all(|claim| seen.claims[claim].clean == 0 && seen.claims[claim].bad >= 1));
        assert!(seen.claims.values().any(|samples| samples.clean > 0), "other objects keep theirs");
        let mut later = audit(&set, 3, vec![], vec![], vec![]);
        later.scheduled_at_us = 1_000_000;
        audits.insert(0, later);
        assert_eq!(tally(&setting(), ProviderId(6), &set, &audits).total.clean, 30, "in order of time, not of storing");
        let extra = audit(&set, 4, vec![0], vec![], vec![30]);
        assert_eq!(tally(&setting(), ProviderId(6), &set, &[extra]).total.bad, 1, "whoever lacks an extra block lacks data");
    }

    #[test]
    fn what_is_not_an_own_audit_of_this_epoch_and_set_is_passed_over() {
        let set = claims(3);
        let own = audit(&set, 1, vec![], vec![], vec![]);
        let twice = [own.clone(), Transcript { strike: 1, ..own.clone() }];
        assert_eq!(tally(&setting(), ProviderId(6), &set, &twice).total.clean, 30, "one answer a challenge");
        let mut others = vec![own.clone(), own.clone(), own.clone(), own];
        others[0].challenge.epoch -= 1;
        others[1].challenge.kind = Kind::LATENCY_BLOCK;
        others[2].challenge.claim_root = Hash32([9; 32]);
        others[3].outcome = Outcome::Silent;
        assert_eq!(tally(&setting(), ProviderId(6), &set, &others).total, Samples::default());
    }
}
