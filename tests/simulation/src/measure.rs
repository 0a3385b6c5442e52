//! What oracles measure: true qualities of providers, seen with noise, under schedules drawn as in production.

use std::rc::Rc;

use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::kinds::storage::Storage;
use assay_core::challenge::schedule::vrf_message;
use assay_core::challenge::{Challenge, Kind, STORAGE_SAMPLES};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Counts, Observation, Reveal, SaltedObservation, Seeds, VerifiedReveal, Witness};
use assay_core::report::{Ledger, ProviderTerms, Setting};
use assay_core::transcript::PairSchedule;

use crate::prng::Prng;

/// How an oracle bends what it saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bend {
    /// It does not.
    Honest,
    /// Everything was bad, and slower than anything.
    AllBad,
    /// Everything was good, and faster than anything.
    AllGood,
    /// A storage challenge was never answered, and neither was the watched one.
    FalseSilence,
    /// It never asked and says so.
    Lazy,
}

/// An oracle's observations with the commit that they open.
#[derive(Clone)]
pub struct Measured {
    pub verified: Rc<VerifiedReveal>,
    pub commit: Commit,
}

/// Median round trip of a provider, before noise.
pub fn true_p50_us(terms: &ProviderTerms) -> u64 {
    20_000 + terms.provider.0 % 7 * 3_000
}

/// Measures the epoch: every provider whose panel the oracle is on.
pub fn measure(
    setting: &Setting,
    oracle: OracleId,
    key: &SecretKey,
    seeds: &Seeds,
    watch: Option<&Ledger>,
    prng: &mut Prng,
    bend: Bend,
) -> Option<Measured> {
    let vrfs: Vec<Signature> = (0..)
        .zip(&seeds.slots)
        .map(|(slot, seed)| key.sign(Domain::Vrf, &vrf_message(&setting.instance, setting.epoch, slot, seed)))
        .collect();
    let panels = setting.panels(&seeds.epoch);
    let (mut observations, mut struck) = (Vec::new(), Vec::new());
    for terms in &setting.providers {
        let panel = panels.of(terms.provider);
        if !panel.contains(&oracle) {
            continue;
        }
        let schedule = PairSchedule::new(setting, &panel, terms, oracle, seeds, &vrfs)?;
        let watched = watch.and_then(|ledger| ledger.watch.get(&terms.provider)).filter(|watched| !watched.is_slashed());
        let mut observation = Observation::empty(setting.kinds, setting.epoch, terms.provider, oracle);
        for counts in &mut observation.counts {
            counts.scheduled = schedule.scheduled(counts.kind);
            counts.counted = counts.scheduled;
            observe(counts, terms, prng, bend);
        }
        if let Some(watched) = watched {
            let digest = watched.challenge.digest();
            observation.witness = if bend == Bend::FalseSilence { Witness::Silent(digest) } else { Witness::Answered(digest) };
        }
        if bend == Bend::FalseSilence
            && let Some(challenge) = storage_challenge(&schedule)
        {
            observation.struck = challenge.digest();
            struck.push(challenge);
        }
        observations.push(SaltedObservation { observation, salt: prng.hash32() });
    }
    sealed(setting, Reveal { epoch: setting.epoch, oracle, seeds: seeds.clone(), observations, vrfs, facts: vec![], struck })
}

/// A reveal with the commit to it; none when it would be no valid reveal.
pub fn sealed(setting: &Setting, reveal: Reveal) -> Option<Measured> {
    let commit = commit_to(&reveal);
    let verified = reveal.verify(&commit, setting).ok()?;
    Some(Measured { verified: Rc::new(verified), commit })
}

pub fn commit_to(reveal: &Reveal) -> Commit {
    Commit {
        epoch: reveal.epoch,
        oracle: reveal.oracle,
        seeds: reveal.seeds.digest(),
        secure: reveal.seeds.secure,
        root: reveal.root(),
        leaf_count: reveal.observations.len() as u32,
        log_head: Hash32::ZERO,
    }
}

fn observe(counts: &mut Counts, terms: &ProviderTerms, prng: &mut Prng, bend: Bend) {
    let is_latency = counts.kind == Kind::LATENCY_ECHO || counts.kind == Kind::LATENCY_BLOCK;
    if is_latency && counts.counted > 0 {
        let p50 = true_p50_us(terms) + prng.below(2_000);
        counts.readings = vec![p50, p50 + 20_000];
        counts.bad[2] = prng.below(3).min(counts.counted);
    }
    match bend {
        Bend::AllBad => {
            counts.bad.iter_mut().for_each(|bad| *bad = counts.counted);
            if counts.kind == Kind::STORAGE {
                // Invalid and missing are facts, which nobody can invent.
                counts.bad = vec![0, 0, counts.counted];
            }
            if is_latency {
                counts.readings = vec![10_000_000, 20_000_000];
            }
        }
        Bend::AllGood => {
            counts.bad.iter_mut().for_each(|bad| *bad = 0);
            if is_latency {
                counts.readings = vec![1, 1];
            }
        }
        Bend::FalseSilence if counts.kind == Kind::STORAGE => {
            counts.bad[Storage::SILENT] = u64::from(STORAGE_SAMPLES).min(counts.counted);
        }
        Bend::Lazy => {
            counts.counted = 0;
            counts.bad.iter_mut().for_each(|bad| *bad = 0);
            counts.readings.iter_mut().for_each(|reading| *reading = 0);
        }
        Bend::FalseSilence | Bend::Honest => {}
    }
}

fn storage_challenge(schedule: &PairSchedule) -> Option<Challenge> {
    let challenges = schedule.slots().iter().flat_map(|slot| slot.challenges());
    challenges.map(|(_, challenge)| challenge).find(|challenge| challenge.kind == Kind::STORAGE)
}
